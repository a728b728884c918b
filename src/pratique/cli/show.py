"""`pratique show`: one bundle or admitted model in detail."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from pratique.cli.context import Context, pass_context, print_json
from pratique.cli.paths import NAME
from pratique.core.variants import NOT_PROVED

_MESSAGE = 200

if TYPE_CHECKING:
    from pratique.core.policy import Policy
    from pratique.flows.describe import Description


@click.command(epilog="Example:  pratique show sample --json")
@click.argument("reference", type=NAME)
@click.option(
    "--policy", "-p", type=NAME, default="strict", show_default=True, help="Name or file."
)
@click.option("--files", is_flag=True, help="List every file with its digest.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_context
def command(context: Context, *, reference: str, policy: str, files: bool, as_json: bool) -> None:
    """Show an admitted model (NAME, NAME@REV8 or bundle id) or the bundle at a path.

    Checks signatures; does not hash the model: see `verify` and `fsck`.
    """
    from pratique.flows.describe import describe
    from pratique.flows.enclave_policy import enclave_policy

    rules = enclave_policy(context.home, policy)
    found = describe(context.home, reference, policy=rules, now=datetime.now(UTC))
    if as_json:
        print_json("show", _json(found, rules))
        return
    _print(context, _rows(found, rules))
    if files:
        for file in found.document.files:
            click.echo(f"{file.sha256}  {file.path}")


def _json(found: "Description", policy: "Policy") -> dict[str, object]:
    document, statement = found.document, found.statement
    return {
        "bundle_id": found.bundle_id,
        "label": document.label,
        "names": list(found.names),
        "admitted_at": found.admitted_at,
        "source": document.source.model_dump(mode="json"),
        "commit_proof": document.commit_proof,
        **_commit(found, policy),
        "policy": document.policy.model_dump(mode="json"),
        "subject": document.subject,
        "signatures_hold": statement is not None,
        "refused": found.refused or None,
        "signers": [
            {"role": str(s.role), "person": s.person, "identity": str(s.identity)}
            for s in (statement.signers if statement else ())
        ],
        "approvals": [
            {
                "person": entry.signer.person,
                "expires": entry.approval.expires.isoformat(),
                "enclave": entry.approval.scope.enclave,
                "use": entry.approval.scope.use,
                "rungs": list(entry.approval.rungs),
                "reason": entry.approval.reason,
                "allowances": [a.model_dump(mode="json") for a in entry.approval.allowances],
            }
            for entry in (statement.approvals if statement else ())
        ],
        "tokenizer": found.tokenizer(),
        "variants": [variant.name for variant in document.variants],
        "foreign": [entry.pin.text for entry in document.foreign],
        "files": [{"path": f.path, "size": f.size, "sha256": f.sha256} for f in document.files],
    }


def _commit(found: "Description", policy: "Policy") -> dict[str, object]:
    """Who made the commit, when, why, and whether by a key that the policy lists."""
    commit, signature = found.commit(), found.commit_signature(policy)
    if commit is None or signature is None:
        return {"author": None, "date": None, "message": None, "commit_signature": None}
    return {
        "author": f"{commit.author.name} <{commit.author.email}>",
        "date": _date(commit.author.when),
        "message": commit.message,
        "commit_signature": {"state": signature.state.name.lower(), "key": signature.key or None},
    }


def _date(seconds: int) -> str:
    """A commit can claim any time: one that no calendar has is shown as it is written."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return f"{seconds} seconds after 1970"


def _print(context: Context, rows: list[tuple[str, str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from pratique.cli.verdict_text import plain

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, Text(plain(value)))
    context.out.print(table)


def _rows(found: "Description", policy: "Policy") -> list[tuple[str, str]]:
    document, statement = found.document, found.statement
    source = document.source
    rows = [
        ("label", document.label),
        ("bundle id", found.bundle_id),
        ("names", ", ".join(found.names) or "none"),
        ("source", source.repo or "a local directory"),
        ("commit", f"{source.commit or 'none'} (proof: {document.commit_proof})"),
    ]
    rows += _commit_rows(found, policy)
    rows += [("code of", entry.pin.text) for entry in document.foreign]
    rows.append(("policy", f"{document.policy.name} ({document.policy.digest[:16]})"))
    rows.append(("files", f"{len(document.files)}, {sum(f.size for f in document.files)} bytes"))
    if statement is None:
        rows.append(("signatures", f"NOT ACCEPTED: {found.refused}"))
    else:
        rows += [(str(s.role), f"{s.person}, {s.identity}") for s in statement.signers]
        rows += [
            (
                "approval",
                f"{e.signer.person} until {e.approval.expires:%Y-%m-%d}: {e.approval.reason}",
            )
            for e in statement.approvals
        ]
    if document.variants:
        names = ", ".join(variant.name for variant in document.variants)
        rows.append(("variants", f"{names} ({NOT_PROVED})"))
    rows += _tokenizers(found)
    return rows


def _commit_rows(found: "Description", policy: "Policy") -> list[tuple[str, str]]:
    said, signature = _commit(found, policy), found.commit_signature(policy)
    if signature is None:
        return []
    words = f"{signature.state.value} {signature.key}".strip()
    first_line = str(said["message"]).strip().split("\n", 1)[0]
    return [
        ("author", str(said["author"])),
        ("date", str(said["date"])),
        ("message", first_line[:_MESSAGE]),
        ("commit signature", words),
    ]


def _tokenizers(found: "Description") -> list[tuple[str, str]]:
    summary = found.tokenizer() or {}
    listed = summary.get("tokenizers")
    return [
        ("tokenizer", f"{one.get('family')}, {one.get('tokens')} tokens, {one.get('fingerprint')}")
        for one in (listed if isinstance(listed, list) else ())
        if isinstance(one, dict)
    ]

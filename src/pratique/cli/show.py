"""`pratique show`: one bundle or admitted model in detail."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from pratique.cli.context import Context, pass_context, print_json
from pratique.core.variants import NOT_PROVED

if TYPE_CHECKING:
    from pratique.flows.describe import Description


@click.command(epilog="Example:  pratique show sample --json")
@click.argument("reference")
@click.option("--policy", "-p", default="strict", show_default=True, help="Name or file.")
@click.option("--files", is_flag=True, help="List every file with its digest.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_context
def command(context: Context, *, reference: str, policy: str, files: bool, as_json: bool) -> None:
    """Show an admitted model (NAME, NAME@REV8 or bundle id) or the bundle at a path.

    Checks signatures; does not hash the model: see `verify` and `fsck`.
    """
    from pratique.flows.describe import describe
    from pratique.flows.enclave_policy import enclave_policy

    found = describe(
        context.home, reference, policy=enclave_policy(context.home, policy), now=datetime.now(UTC)
    )
    if as_json:
        print_json("show", _json(found))
        return
    _print(context, found, files=files)


def _json(found: "Description") -> dict[str, object]:
    document, statement, commit = found.document, found.statement, found.commit()
    return {
        "bundle_id": found.bundle_id,
        "label": document.label,
        "names": list(found.names),
        "admitted_at": found.admitted_at,
        "source": document.source.model_dump(mode="json"),
        "commit_proof": document.commit_proof,
        "author": f"{commit.author.name} <{commit.author.email}>" if commit else None,
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
        "files": [{"path": f.path, "size": f.size, "sha256": f.sha256} for f in document.files],
    }


def _print(context: Context, found: "Description", *, files: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from pratique.cli.verdict_text import plain

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _rows(found):
        table.add_row(name, Text(plain(value)))
    context.out.print(table)
    if files:
        for file in found.document.files:
            click.echo(f"{file.sha256}  {file.path}")


def _rows(found: "Description") -> list[tuple[str, str]]:
    document, statement, commit = found.document, found.statement, found.commit()
    source = document.source
    rows = [
        ("label", document.label),
        ("bundle id", found.bundle_id),
        ("names", ", ".join(found.names) or "none"),
        ("source", source.repo or "a local directory"),
        ("commit", f"{source.commit or 'none'} (proof: {document.commit_proof})"),
    ]
    if commit is not None:
        rows.append(("author", f"{commit.author.name} <{commit.author.email}>"))
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


def _tokenizers(found: "Description") -> list[tuple[str, str]]:
    summary = found.tokenizer() or {}
    listed = summary.get("tokenizers")
    return [
        ("tokenizer", f"{one.get('family')}, {one.get('tokens')} tokens, {one.get('fingerprint')}")
        for one in (listed if isinstance(listed, list) else ())
        if isinstance(one, dict)
    ]

"""`pratique verify`: check a bundle's signatures and every byte, where it lies."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pratique.cli.context import Context, pass_context, print_json
from pratique.cli.paths import NAME, PATH
from pratique.errors import PratiqueError

if TYPE_CHECKING:
    from pratique.admit.admitted import VerifiedBundle
    from pratique.attest.trustroot import TrustRoot
    from pratique.attest.values import Step


@click.command(epilog="Example:  pratique verify sample@0a1b2c3d.bundle")
@click.argument("bundle", type=PATH)
@click.option("--trust", "trust_dir", type=PATH, help="Use this trust instead of the home's.")
@click.option("--root-fingerprint", help="Which root --trust must have: 64 hex digits or 8 words.")
@click.option(
    "--as-of",
    "day",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="YYYY-MM-DD",
    help="Judge expiry as on this day, for audits; needs --trust with the set that held then.",
)
@click.option("--only", metavar="PATH", help="Check this file or folder of the payload alone.")
@click.option(
    "--policy", "-p", type=NAME, default="strict", show_default=True, help="Name or file."
)
@click.option("--json", "as_json", is_flag=True, help="Print each step as JSON.")
@pass_context
def command(
    context: Context,
    *,
    bundle: Path,
    trust_dir: Path | None,
    root_fingerprint: str | None,
    day: datetime | None,
    only: str | None,
    policy: str,
    as_json: bool,
) -> None:
    """Verify BUNDLE against a trust root: signatures, roles, every byte, the commit proof.

    Says whose root was used. A file that was changed, added, removed or renamed is named. With
    --as-of, an auditor asks whether it would have been accepted on a day in the past: nothing is
    admitted or served by that, and signatures without a timestamp may be younger than the day.
    """
    from pratique.admit.verify import verify_bundle, verify_part
    from pratique.cli.progress_bar import progress_bar
    from pratique.flows.enclave_policy import policy_under

    trust = _trust(context, trust_dir, root_fingerprint)
    rules = policy_under(trust, policy)
    steps: list[Step] = []
    now = _moment(day, trust_dir)
    verified = None
    try:
        with progress_bar(context) as progress:
            if only is None:
                verified = verify_bundle(
                    bundle, trust=trust, policy=rules, now=now, progress=progress, note=steps.append
                )
            else:
                verify_part(bundle, only, trust=trust, policy=rules, now=now, note=steps.append)
    except PratiqueError as error:
        if as_json:
            print_json("verify", _json(bundle, trust, steps, refused=error) | _asked(day))
        raise
    if day is not None:
        context.err.print(
            f"judged as of {day:%Y-%m-%d}; this says nothing about today", style="bold"
        )
    if as_json:
        print_json("verify", _json(bundle, trust, steps, verified=verified) | _asked(day))
        return
    _say(context, bundle, trust, steps, verified)


def _moment(day: datetime | None, trust_dir: Path | None) -> datetime:
    """The time to judge expiry by: now, or the end of a past day under the trust that held then."""
    from pratique.errors import UsageError

    now = datetime.now(UTC)
    if day is None:
        return now
    if trust_dir is None:
        raise UsageError(
            "--as-of needs --trust: the trust set that held on that day",
            hint="give the directory of that set, and its --root-fingerprint",
        )
    end = day.replace(hour=23, minute=59, second=59, tzinfo=UTC)
    if end.date() > now.date():
        raise UsageError(f"{day:%Y-%m-%d} is in the future", hint="give a past day")
    return min(end, now)


def _asked(day: datetime | None) -> dict[str, object]:
    return {"as_of": None if day is None else f"{day:%Y-%m-%d}"}


def _trust(context: Context, directory: Path | None, fingerprint: str | None) -> "TrustRoot":
    from pratique.attest.install import installed_trust, trust_from_directory
    from pratique.errors import UsageError

    if directory is not None:
        return trust_from_directory(directory, fingerprint)
    if fingerprint is not None:
        raise UsageError("--root-fingerprint needs --trust", hint="give --trust DIR with it")
    return installed_trust(context.home)


def _json(
    bundle: Path,
    trust: "TrustRoot",
    steps: "list[Step]",
    *,
    verified: "VerifiedBundle | None" = None,
    refused: PratiqueError | None = None,
) -> dict[str, object]:
    value: dict[str, object] = {
        "bundle": str(bundle),
        "verified": refused is None,
        "trust": {
            "enclave": trust.enclave,
            "root": trust.fingerprint,
            "source": trust.source,
            "as_of": trust.as_of.isoformat(),
        },
        "steps": [{"step": step.name, "detail": step.detail} for step in steps],
    }
    if refused is not None:
        value["refused"] = {"message": refused.message, "hint": refused.hint}
    if verified is not None:
        value |= _proof(verified)
    return value


def _proof(verified: "VerifiedBundle") -> dict[str, Any]:
    statement, document = verified.statement, verified.document
    return {
        "bundle_id": verified.bundle_id,
        "label": document.label,
        "repo": document.source.repo,
        "commit": document.source.commit,
        "commit_proof": document.commit_proof,
        "signers": [
            {
                "role": str(signer.role),
                "person": signer.person,
                "identity": str(signer.identity),
                "signed_at": signer.signed_at.isoformat() if signer.signed_at else None,
            }
            for signer in statement.signers
        ],
        "rungs": list(statement.rungs),
        "expires": statement.expires.isoformat() if statement.expires else None,
    }


def _say(
    context: Context,
    bundle: Path,
    trust: "TrustRoot",
    steps: "list[Step]",
    verified: "VerifiedBundle | None",
) -> None:
    from rich.markup import escape

    from pratique.cli.verdict_text import plain

    err = context.err
    for step in steps if context.verbose else ():
        err.print(f"  {escape(step.name)}: {escape(plain(step.detail))}")
    root = f"root {trust.fingerprint[:16]} of enclave {trust.enclave}, from {trust.source}"
    err.print(f"trust: {escape(plain(root))}")
    if verified is None:
        err.print(f"part of {escape(str(bundle))} is as signed; the rest was not looked at")
        return
    signers = ", ".join(f"{s.person} ({s.role})" for s in verified.statement.signers)
    err.print(f"signed by {escape(plain(signers))}")
    click.echo(f"{verified.document.label} {verified.bundle_id}")

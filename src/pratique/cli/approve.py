"""`pratique approve`: the second person's signature."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pratique.cli.context import Context, pass_context
from pratique.cli.paths import FILE, NAME, PATH
from pratique.cli.signing import Signing, signing_options
from pratique.core.variants import NOT_PROVED
from pratique.errors import UsageError

if TYPE_CHECKING:
    from pratique.attest.values import Approval
    from pratique.core.policy import Allowance
    from pratique.flows.approve import Terms

_RUNGS = ("auto", "device_map", "int8", "nf4")
_DAYS = re.compile(r"(\d{1,4})d\Z")


@click.command(
    epilog="Example:  pratique approve sample@0a1b2c3d.bundle --key approver.key --reason 'reviewed'"
)
@click.argument("bundle", type=PATH)
@signing_options
@click.option("--expires", default="90d", show_default=True, help="How long it holds, in days.")
@click.option("--enclave", default="*", show_default=True, help="Which enclave it is for.")
@click.option("--scope", "use", default="*", show_default=True, help="Which use it is for.")
@click.option("--reason", default="vetted again and accepted", show_default=True, help="Why.")
@click.option(
    "--rung", "rungs", multiple=True, type=click.Choice(_RUNGS), help="Permit these only."
)
@click.option(
    "--policy", "-p", type=NAME, default="strict", show_default=True, help="Name or file."
)
@click.option("--request", type=FILE, help="Write what is to be signed here; sign elsewhere.")
@click.option("--attach", type=FILE, help="Put a signature made elsewhere into BUNDLE.")
@click.option("-o", "--output", type=FILE, help="Where the signature of a request goes.")
@pass_context
def command(
    context: Context,
    *,
    bundle: Path,
    signing: Signing,
    expires: str,
    enclave: str,
    use: str,
    reason: str,
    rungs: tuple[str, ...],
    policy: str,
    request: Path | None,
    attach: Path | None,
    output: Path | None,
) -> None:
    """Vet BUNDLE again under the approver's POLICY and sign what is accepted.

    To sign on another machine: `approve BUNDLE --request FILE` here, `approve FILE --key KEY -o SIG`
    there (it shows what is signed), `approve BUNDLE --attach SIG` here.
    """
    from pratique.flows import approve, recording

    if attach is not None:
        click.echo(approve.attach_from_file(bundle, attach))
        return
    if bundle.is_file():
        approval = approve.read_request(bundle)
        _show(context, approval)
        target = output or bundle.with_suffix(".sig")
        signing.check()
        signer = signing.open()
        with recording.recording(context.make_home()) as write:
            around = write.approving(approval, signer.identity.subject)
            approve.write_signature(target, approval, signer, context.home, around=around)
        click.echo(target)
        return
    terms = _terms(policy, expires, enclave=enclave, use=use, reason=reason, rungs=rungs)
    if request is None:
        signing.check()
    approval = _vet(context, bundle, terms)
    if request is not None:
        approve.write_request(request, approval)
        click.echo(request)
        return
    signer = signing.open()
    with recording.recording(context.make_home()) as write:
        around = write.approving(approval, signer.identity.subject)
        attached = approve.sign_and_attach(bundle, approval, signer, context.home, around=around)
    click.echo(attached)


def _vet(context: Context, bundle: Path, terms: "Terms") -> "Approval":
    from pratique.cli.gate import local_gate
    from pratique.cli.progress_bar import progress_bar
    from pratique.cli.verdict_text import verdict_printer
    from pratique.flows.approve import vet_for_approval

    with progress_bar(context) as progress:
        approval = vet_for_approval(
            bundle,
            terms,
            local_gate(context, terms.policy),
            on_verdict=verdict_printer(context),
            progress=progress,
        )
    _show(context, approval)
    return approval


def _terms(
    policy: str, expires: str, *, enclave: str, use: str, reason: str, rungs: tuple[str, ...]
) -> "Terms":
    from pratique.attest.values import Scope
    from pratique.core.policy import RungName
    from pratique.flows.approve import Terms
    from pratique.formats.policy import load_policy

    match = _DAYS.match(expires)
    if not match or int(match[1]) == 0:
        raise UsageError(f"--expires {expires!r} is not a number of days", hint="write 90d")
    known: tuple[RungName, ...] = ("auto", "device_map", "int8", "nf4")
    return Terms(
        policy=load_policy(policy),
        reason=reason,
        now=datetime.now(UTC).replace(microsecond=0),
        valid_for=timedelta(days=int(match[1])),
        scope=Scope(enclave, use),
        rungs=tuple(rung for rung in known if rung in rungs) or None,
    )


def _accepted(allowance: "Allowance") -> str:
    """Which exception: of what, so that the approver sees what they answer for, and who wrote it."""
    what = allowance.foreign or f"{allowance.digest[:16]} {allowance.path or ''}".rstrip()
    return f"{allowance.check} {what}: {allowance.answer}"


def _show(context: Context, approval: "Approval") -> None:
    """Say what is about to be signed."""
    from rich.markup import escape

    from pratique.attest.words import spell
    from pratique.cli.verdict_text import plain

    rows = [
        ("approve", approval.name),
        ("bundle", f"{approval.bundle_id[:32]}  ({spell(approval.bundle_id, 4)})"),
        ("policy", f"{approval.policy.name} ({approval.policy.digest[:16]})"),
        ("until", f"{approval.expires:%Y-%m-%d}"),
        ("where", f"enclave {approval.scope.enclave}, use {approval.scope.use}"),
        ("rungs", ", ".join(approval.rungs)),
        *(("variant", f"{name} ({NOT_PROVED})") for name in approval.variants),
        *(("accepts", _accepted(a)) for a in approval.allowances),
    ]
    for name, value in rows:
        context.err.print(f"  {name:8} {escape(plain(value))}")

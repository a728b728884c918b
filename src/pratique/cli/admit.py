"""`pratique admit`: verify, vet again and take into the store."""

from datetime import UTC, datetime
from pathlib import Path

import click

from pratique.cli.context import Context, pass_context, print_json
from pratique.cli.paths import NAME, PATH


@click.command(epilog="Example:  pratique admit /media/usb/sample@0a1b2c3d.bundle")
@click.argument("bundle", type=PATH)
@click.option("--as", "alias", metavar="NAME", help="What to call it [its own name].")
@click.option("--rollback", metavar="REASON", help="Why the name goes back to an older commit.")
@click.option(
    "--policy", "-p", type=NAME, default="strict", show_default=True, help="Name or file."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_context
def command(
    context: Context,
    *,
    bundle: Path,
    alias: str | None,
    rollback: str | None,
    policy: str,
    as_json: bool,
) -> None:
    """Admit BUNDLE under the trust installed in the home; prints the name to serve it by.

    Verifies, copies into the store while hashing, and vets the stored bytes under POLICY. Until all
    of that has passed, nothing is admitted.
    """
    from rich.markup import escape

    from pratique.admit.admit import Naming
    from pratique.cli.gate import local_gate
    from pratique.cli.progress_bar import progress_bar
    from pratique.cli.verdict_text import plain
    from pratique.flows import recording
    from pratique.flows.admit import admit_and_vet
    from pratique.flows.enclave_policy import enclave_policy

    home = context.make_home()
    rules = enclave_policy(home, policy)
    err = context.err
    with recording.recording(home) as write, progress_bar(context) as progress:
        admitted = admit_and_vet(
            bundle,
            home,
            policy=rules,
            gate=local_gate(context, rules),
            naming=Naming(alias, rollback),
            now=datetime.now(UTC),
            progress=progress,
            note=lambda step: (
                err.print(f"  {escape(step.name)}: {escape(plain(step.detail))}")
                if context.verbose
                else None
            ),
            around=write.admitting,
        )
    if as_json:
        print_json(
            "admit",
            {
                "name": admitted.name,
                "label": admitted.label,
                "bundle_id": admitted.bundle_id,
                "rungs": list(admitted.permitted_rungs),
                "expires": admitted.expires.isoformat() if admitted.expires else None,
            },
        )
        return
    err.print(f"admitted {escape(admitted.label)}, bundle {admitted.bundle_id[:16]}")
    click.echo(admitted.name)

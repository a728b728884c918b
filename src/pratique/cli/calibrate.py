"""`pratique calibrate SNAPSHOT`: measure what a vetted model needs, before it is sealed."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pratique.cli.context import Context, pass_context, print_json
from pratique.cli.paths import NAME, PATH

if TYPE_CHECKING:
    from pratique.core.findings import Verdict


@click.command(
    epilog="Example:  pratique calibrate ~/.local/share/pratique/quarantine/ORG--NAME@SHA"
)
@click.argument("snapshot", type=PATH)
@click.option(
    "--policy", "-p", type=NAME, default="strict", show_default=True, help="Name or file."
)
@click.option(
    "--context",
    "context_length",
    type=click.IntRange(16),
    metavar="TOKENS",
    help="Longest prompt plus answer [the model's, at most 1024].",
)
@click.option("--parallel", type=click.IntRange(1, 64), help="Sequences that run together [4].")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@pass_context
def command(
    context: Context,
    snapshot: Path,
    *,
    policy: str,
    context_length: int | None,
    parallel: int | None,
    as_json: bool,
) -> None:
    """Vet SNAPSHOT, run it for a moment in the lock, and keep the measured memory with it.

    Only what the gate passes is loaded, and code of the model's own is never run. `seal` then carries
    the figure under the signature, and `fit` and `serve` use it. Prints the path of the figure.
    """
    from pratique.cli.gate import local_gate
    from pratique.cli.verdict_text import verdict_printer
    from pratique.core.calibration import CALIBRATION
    from pratique.flows import recording
    from pratique.flows.calibrating import CalibrateRequest, calibrate
    from pratique.formats.policy import load_policy

    rules = load_policy(policy)
    show = verdict_printer(context)
    with recording.recording(context.make_home()) as write:

        def judged(verdict: "Verdict") -> None:
            show(verdict)
            write(recording.vetting(verdict, rules))

        document = calibrate(
            CalibrateRequest(
                snapshot=snapshot, policy=rules, context=context_length, rows=parallel
            ),
            local_gate(context, rules),
            on_verdict=judged,
            on_note=(lambda note: context.err.print(note, markup=False))
            if context.verbose
            else None,
        )
    path = snapshot / "provenance" / CALIBRATION
    if as_json:
        print_json("calibrate", {"path": str(path), **document.model_dump(mode="json")})
        return
    run = document.measured
    context.err.print(
        f"{document.architecture} on rung {run.rung.value}, context {run.context}, "
        f"{run.rows} at once: {run.base // 2**20} MiB before, {run.loaded // 2**20} loaded, "
        f"{run.peak // 2**20} at the peak",
        markup=False,
        soft_wrap=True,
    )
    click.echo(str(path))

"""`pratique fit`: which rung of the ladder fits this machine, without loading anything."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pratique.cli.context import Context, pass_context, print_json
from pratique.cli.paths import NAME
from pratique.cli.runtime_options import runtime_options, wishes_of

if TYPE_CHECKING:
    from pratique.fit import LoadPlan, RungReport


@click.command(epilog="Example:  pratique fit sample --context 2048 --parallel 8")
@click.argument("name", type=NAME, metavar="NAME|DIR")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@runtime_options
@pass_context
def command(
    context: Context,
    *,
    name: str,
    as_json: bool,
    policy: str,
    rung: str | None,
    context_length: int | None,
    parallel: int | None,
    in_memory: bool,
) -> None:
    """Show what each rung would need here, and which one would be taken. Loads nothing.

    A directory is read as it is: nothing about it is verified.
    """
    from pratique.cli import load_decision

    wishes = wishes_of(rung, context_length, parallel, in_memory=in_memory)
    folder = Path(name)
    if folder.is_dir():
        planned = _of_directory(folder, wishes)
    else:
        from pratique.admit.load import open_admitted
        from pratique.flows.enclave_policy import enclave_policy
        from pratique.serve.session import plan_for

        home = context.make_home()
        rules = enclave_policy(home, policy)
        if rules.serve.weights == "sealed-copy":
            wishes = replace(wishes, sealed_copy=True)
        admitted = open_admitted(home, name, now=datetime.now(UTC), policy=rules)
        planned = plan_for(admitted, wishes, home=home)
    if as_json:
        print_json("fit", load_decision.as_json(planned))
        return
    _print(context, planned)


def _of_directory(folder: Path, wishes: object) -> "LoadPlan":
    from pratique.core.rungs import LADDER
    from pratique.fit import Demand, plan, read_machine, read_shape
    from pratique.fit.machine import read_gpus
    from pratique.formats.calibration import read_calibration
    from pratique.serve.measured import Runs, sealed_runs
    from pratique.serve.session import DEFAULT_CONTEXT, DEFAULT_ROWS, Wishes

    assert isinstance(wishes, Wishes)
    inner = folder / "model"
    model_dir = inner if (inner / "config.json").is_file() else folder
    payload = folder / "payload" / "model"
    if (payload / "config.json").is_file():
        model_dir = payload
    variants = {
        path.name: path
        for path in sorted((model_dir.parent / "variants").glob("*"))
        if (path / "config.json").is_file()
    }
    shape = read_shape(model_dir, variants=variants)
    longest = shape.context or DEFAULT_CONTEXT
    length = min(wishes.context or min(longest, DEFAULT_CONTEXT), longest)
    rows = wishes.rows or DEFAULT_ROWS
    rungs = (wishes.rung,) if wishes.rung else LADDER
    document = read_calibration(model_dir.parent / "provenance") if model_dir != folder else None
    runs = sealed_runs(document, document.subject) if document else Runs()
    return plan(
        shape,
        read_machine(gpus=read_gpus()),
        Demand(context=length, rows=rows, kv_tokens=rows * length),
        permitted=tuple(rung.value for rung in rungs),
        known=runs.known,
        sealed_copy=wishes.sealed_copy,
        notes=runs.notes,
    )


def _print(context: Context, planned: "LoadPlan") -> None:
    from rich.table import Table

    from pratique.cli.load_decision import decision_lines, measured_lines
    from pratique.core.variants import NOT_PROVED
    from pratique.fit.memory import MIB

    out = context.out
    for line in decision_lines(planned)[:2]:
        out.print(line, markup=False, soft_wrap=True)
    reports = [report for report in planned.rungs if report.prediction is not None]
    parts = [
        part
        for part in (
            "base",
            "weights",
            "cache",
            "activations",
            "logits",
            "grammars",
            "unpacked",
            "kernels",
            "loading",
            "copy",
            "measured",
        )
        if any(_costs(report).get(part, 0) >= MIB for report in reports)
    ]
    table = Table("", box=None, pad_edge=False)
    for name in ("rung", "device", "basis"):
        table.add_column(name, no_wrap=True, min_width=len("variant:int8") if name == "rung" else 0)
    for part in (*parts, "MiB needed", "MiB usable"):
        table.add_column(part, justify="right", overflow="fold")
    for report in reports:
        costs = _costs(report)
        table.add_row(
            "→" if report is planned.chosen else "",
            report.rung.value,
            report.device,
            report.basis.value,
            *(f"{costs.get(part, 0) / MIB:,.0f}" for part in parts),
            f"{sum(costs.values()) / MIB:,.0f}",
            f"{report.free / MIB:,.0f}",
        )
    out.print(table)
    for report in planned.rungs:
        verdict = report.reason if report.usable else f"skipped: {report.reason}"
        mark = f" ({NOT_PROVED})" if report.rung.converted and report.prediction else ""
        out.print(f"{report.rung.value}{mark}: {verdict}", markup=False, soft_wrap=True)
        for words in measured_lines(report):
            out.print(f"  {words}", markup=False, soft_wrap=True)
    for note in planned.notes:
        out.print(note, markup=False, soft_wrap=True)


def _costs(report: "RungReport") -> dict[str, int]:
    """The parts on the device that decides."""
    assert report.prediction is not None
    return report.prediction.host if report.device == "cpu" else report.prediction.device

"""How a load decision reads: every rung, its numbers, and why it was taken or not."""

from pratique.core.variants import NOT_PROVED
from pratique.fit import Basis
from pratique.fit.memory import MIB
from pratique.fit.plan import LoadPlan, RungReport

_BASIS = {Basis.SEALED: "sealed with the model", Basis.HERE: "measured here"}


def decision_lines(plan: LoadPlan) -> list[str]:
    """Return the decision as lines for a terminal."""
    shape, machine, demand = plan.shape, plan.machine, plan.demand
    weights = f"{_mib(shape.weights)} of weights ({shape.dtype})"
    free = f"{_mib(machine.free)} of {_mib(machine.total)} (limited by {machine.limited_by})"
    lines = [
        f"{shape.architecture}: {weights}, context {demand.context}, up to {demand.rows} at once",
        f"free memory: {free}, {machine.cpus} CPUs, {len(machine.gpus)} GPUs",
    ]
    chosen = plan.chosen
    for report in plan.rungs:
        mark = "→" if report is chosen else " "
        lines.append(f"{mark} {report.rung.value:<13} {_reason(report)}")
    lines += plan.notes
    return lines


def measured_lines(report: RungReport) -> list[str]:
    """Return what measured runs say of a rung's number, one line a run."""
    return [
        f"{_BASIS[known.basis]}: {known.measured.peak // MIB} MiB at the peak "
        f"(context {known.measured.context}, {known.measured.rows} at once, "
        f"cache of {known.measured.kv_tokens} tokens)"
        for known in report.measured.runs
    ]


def _reason(report: RungReport) -> str:
    if report.prediction is None or not report.usable:
        return f"skipped: {report.reason}"
    basis = "" if report.basis is Basis.COMPUTED else f", raised by a run {_BASIS[report.basis]}"
    parts = report.prediction.device if report.device != "cpu" else report.prediction.host
    shown = ", ".join(f"{name} {size // MIB}" for name, size in parts.items() if size >= MIB)
    total = sum(parts.values())
    mark = f", {NOT_PROVED}" if report.rung.converted else ""
    size = f"{_mib(total)} of {_mib(report.free)}"
    return f"{report.reason} ({report.device}{mark}): {size} ({shown}){basis}"


def _mib(size: int) -> str:
    return f"{size / MIB:,.1f} MiB" if size < 100 * MIB else f"{size // MIB:,} MiB"


def as_json(plan: LoadPlan) -> dict[str, object]:
    """Return the decision as plain values."""
    chosen = plan.chosen
    return {
        "architecture": plan.shape.architecture,
        "weights": plan.shape.weights,
        "dtype": plan.shape.dtype,
        "cache_bytes_per_token": plan.shape.bytes_per_token,
        "context": plan.demand.context,
        "parallel": plan.demand.rows,
        "machine": {
            "total": plan.machine.total,
            "free": plan.machine.free,
            "limited_by": plan.machine.limited_by,
            "cpus": plan.machine.cpus,
            "gpus": [
                {"index": g.index, "total": g.total, "free": g.free, "name": g.name}
                for g in plan.machine.gpus
            ],
        },
        "sealed_copy": plan.sealed_copy,
        "notes": list(plan.notes),
        "chosen": chosen.rung.value if chosen else None,
        "rungs": [
            {
                "rung": report.rung.value,
                "converted": report.rung.converted,
                "basis": report.basis.value,
                "measured": [
                    {"basis": known.basis.value, **known.measured.model_dump(mode="json")}
                    for known in report.measured.runs
                ],
                "usable": report.usable,
                "reason": report.reason,
                "device": report.device,
                "packed": report.packed,
                "free": report.free,
                "predicted": dict(report.prediction.host) if report.prediction else None,
                "predicted_device": dict(report.prediction.device)
                if report.prediction and report.device != "cpu"
                else None,
                "kv_tokens": report.demand.kv_tokens if report.demand else None,
            }
            for report in plan.rungs
        ],
    }

"""How a load decision reads: every rung, its numbers, and why it was taken or not."""

from pratique.fit.memory import MIB
from pratique.fit.plan import LoadPlan, RungReport


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
    return lines


def _reason(report: RungReport) -> str:
    if report.prediction is None or not report.usable:
        return f"skipped: {report.reason}"
    parts = report.prediction.device if report.device != "cpu" else report.prediction.host
    shown = ", ".join(f"{name} {size // MIB}" for name, size in parts.items() if size >= MIB)
    total = sum(parts.values())
    return f"{report.reason} ({report.device}): {_mib(total)} of {_mib(report.free)} ({shown})"


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
        "chosen": chosen.rung.value if chosen else None,
        "rungs": [
            {
                "rung": report.rung.value,
                "usable": report.usable,
                "reason": report.reason,
                "device": report.device,
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

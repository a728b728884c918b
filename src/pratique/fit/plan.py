"""Which rung: the first that is permitted, fits what is free, and helps on this device.

A rung that would cost more memory than the one before it is never tried: made on a CPU, 8-bit and
4-bit weights hold the original beside the copy while they load. The plan keeps every rung with its
number and its reason, chosen or not, so that a load decision can be read and repeated.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pratique.core.rungs import LADDER, Rung
from pratique.fit.machine import Machine
from pratique.fit.memory import MIB, Calibration, Demand, Prediction, predict
from pratique.fit.shape import ModelShape

_SPARE: Final = 0.03
_SPARE_LEAST: Final = 128 * MIB
"""What is left free for the gateway and for what was not foreseen."""


@dataclass(frozen=True, slots=True)
class RungReport:
    """One rung: whether it can be used here, why not, and what it would cost."""

    rung: Rung
    usable: bool
    reason: str
    device: str
    prediction: Prediction | None = None
    free: int = 0
    demand: Demand | None = None
    resident: int | None = None


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """All rungs in order; `chosen` is the first usable one, or None."""

    shape: ModelShape
    machine: Machine
    demand: Demand
    rungs: tuple[RungReport, ...]

    @property
    def chosen(self) -> RungReport | None:
        """The first usable rung."""
        return next((report for report in self.rungs if report.usable), None)

    def after(self, lost: Collection[Rung]) -> RungReport | None:
        """The first usable rung that was not lost."""
        return next((r for r in self.rungs if r.usable and r.rung not in lost), None)


def plan(
    shape: ModelShape,
    machine: Machine,
    demand: Demand,
    *,
    permitted: Sequence[str] = tuple(LADDER),
    calibration: Calibration | None = None,
) -> LoadPlan:
    """Judge every rung. `permitted` are rung names in the order in which they may be tried."""
    order = [Rung(name) for name in permitted]
    order += [rung for rung in LADDER if rung not in order]
    reports = []
    for rung in order:
        if rung.value not in permitted:
            reports.append(
                RungReport(rung, usable=False, reason=_not_permitted(shape, rung), device="-")
            )
        elif machine.gpus:
            reports.append(_on_gpu(shape, machine, demand, rung))
        else:
            reports.append(_on_cpu(shape, machine, demand, rung, calibration))
    return LoadPlan(shape, machine, demand, tuple(reports))


def usable_bytes(free: int) -> int:
    """What a plan may fill of `free`."""
    return max(0, free - max(int(free * _SPARE), _SPARE_LEAST))


def _not_permitted(shape: ModelShape, rung: Rung) -> str:
    if rung.variant is not None and rung.variant not in shape.variants:
        return "the bundle carries no such variant"
    return "not permitted by the policy or the approval"


def _on_cpu(
    shape: ModelShape,
    machine: Machine,
    demand: Demand,
    rung: Rung,
    calibration: Calibration | None,
) -> RungReport:
    free = usable_bytes(machine.free)
    if (reason := _no_help_on_cpu(shape, rung)) is not None:
        return RungReport(rung, usable=False, reason=reason, device="cpu", free=free)
    resident: int | None = None
    if rung is Rung.DEVICE_MAP:
        whole = predict(shape, Rung.AUTO, _least(demand), calibration=calibration).host_total
        if whole <= free:
            return RungReport(
                rung,
                usable=False,
                reason="with neither a GPU nor a lack of memory it is the same as auto",
                device="cpu",
                free=free,
            )
        others = predict(shape, rung, _least(demand), resident=0, calibration=calibration)
        resident = max(0, free - others.host_total)
    fitted, prediction = _fit(
        demand,
        free,
        lambda wanted: predict(shape, rung, wanted, resident=resident, calibration=calibration),
    )
    fits = fitted is not None
    reason = (
        _fitting(demand, fitted)
        if fitted is not None
        else f"needs {prediction.host_total // MIB} MiB, {free // MIB} MiB may be used"
    )
    return RungReport(
        rung,
        usable=fits,
        reason=reason,
        device="cpu",
        prediction=prediction,
        free=free,
        demand=fitted or demand,
        resident=resident,
    )


def _no_help_on_cpu(shape: ModelShape, rung: Rung) -> str | None:
    if rung in {Rung.INT8, Rung.NF4}:
        return (
            "made while loading on a CPU it needs more memory than auto "
            "(the original is held beside the copy); seal a variant instead"
        )
    if rung.variant is not None and rung.variant not in shape.variants:
        return "the bundle carries no such variant"
    return None


def _on_gpu(shape: ModelShape, machine: Machine, demand: Demand, rung: Rung) -> RungReport:
    gpu = max(machine.gpus, key=lambda g: g.free)
    device, free = f"cuda:{gpu.index}", usable_bytes(gpu.free)
    if rung.variant is not None and rung.variant not in shape.variants:
        return RungReport(
            rung, usable=False, reason="the bundle carries no such variant", device=device
        )
    if rung is Rung.DEVICE_MAP:
        free = sum(usable_bytes(g.free) for g in machine.gpus) + usable_bytes(machine.free)
        device = "cuda + cpu"
    for candidate in _shrinking(demand):
        prediction = predict(shape, rung, candidate, on_gpu=True)
        if prediction.device_total <= free and prediction.host_total <= machine.free:
            return RungReport(
                rung, True, _fitting(demand, candidate), device, prediction, free, candidate
            )
    prediction = predict(shape, rung, _least(demand), on_gpu=True)
    reason = f"needs {prediction.device_total // MIB} MiB, {free // MIB} MiB may be used"
    return RungReport(rung, False, reason, device, prediction, free, demand)


def _fit(
    demand: Demand, free: int, cost: Callable[[Demand], Prediction]
) -> tuple[Demand | None, Prediction]:
    """The largest cache that fits, down to one whole context; None if even that does not."""
    prediction = cost(demand)
    for candidate in _shrinking(demand):
        prediction = cost(candidate)
        if prediction.host_total <= free:
            return candidate, prediction
    return None, prediction


def _shrinking(demand: Demand) -> list[Demand]:
    """The demand, then with ever smaller caches: fewer sequences at once, never a shorter context."""
    steps = [demand]
    cells = demand.kv_tokens
    while cells > demand.context:
        cells = max(cells // 2, demand.context)
        steps.append(replace(demand, kv_tokens=cells))
    return steps


def _least(demand: Demand) -> Demand:
    return replace(demand, kv_tokens=min(demand.kv_tokens, demand.context))


def _fitting(demand: Demand, fitted: Demand) -> str:
    if fitted.kv_tokens == demand.kv_tokens:
        return "fits"
    return f"fits with a cache of {fitted.kv_tokens} tokens instead of {demand.kv_tokens}"

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
from pratique.fit.measured import UNCORRECTED, Basis, Correction, Known, correction
from pratique.fit.memory import MIB, Demand, Prediction, predict
from pratique.fit.shape import ModelShape

_SPARE: Final = 0.03
_SPARE_LEAST: Final = 128 * MIB
"""What is left free for the gateway and for what was not foreseen."""


@dataclass(frozen=True, slots=True)
class RungReport:
    """One rung: whether it can be used here, why not, what it would cost, and what says so."""

    rung: Rung
    usable: bool
    reason: str
    device: str
    prediction: Prediction | None = None
    free: int = 0
    demand: Demand | None = None
    resident: int | None = None
    measured: Correction = UNCORRECTED
    unpacked: "RungReport | None" = None
    """Where matrices are packed: the same rung without that."""

    @property
    def packed(self) -> bool:
        """Whether matrices are packed for this processor."""
        return self.unpacked is not None

    @property
    def basis(self) -> Basis:
        """What the number rests on."""
        return self.measured.basis


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """All rungs in order; `chosen` is the first usable one, or None."""

    shape: ModelShape
    machine: Machine
    demand: Demand
    rungs: tuple[RungReport, ...]
    sealed_copy: bool = False
    notes: tuple[str, ...] = ()

    @property
    def chosen(self) -> RungReport | None:
        """The first usable rung."""
        return next((report for report in self.rungs if report.usable), None)

    def without_packing(self) -> "LoadPlan":
        """The same plan with matrices left as they are."""
        return replace(self, rungs=tuple(report.unpacked or report for report in self.rungs))

    def after(self, lost: Collection[Rung]) -> RungReport | None:
        """The first usable rung that was not lost."""
        return next((r for r in self.rungs if r.usable and r.rung not in lost), None)


def plan(
    shape: ModelShape,
    machine: Machine,
    demand: Demand,
    *,
    permitted: Sequence[str] = tuple(LADDER),
    known: Sequence[Known] = (),
    sealed_copy: bool = False,
    notes: tuple[str, ...] = (),
) -> LoadPlan:
    """Judge every rung.

    `permitted` are rung names in the order in which they may be tried; `known` are measured runs of
    this model; with `sealed_copy` the files are held in memory too; `notes` are kept for the reader.
    """
    order = [Rung(name) for name in permitted]
    order += [rung for rung in LADDER if rung not in order]
    auto = _Cost(shape, Rung.AUTO, correction(shape, Rung.AUTO, known), sealed_copy)
    reports = []
    for rung in order:
        if rung.value not in permitted:
            reports.append(
                RungReport(rung, usable=False, reason=_not_permitted(shape, rung), device="-")
            )
        elif machine.gpus:
            reports.append(_on_gpu(shape, machine, demand, rung, sealed_copy=sealed_copy))
        else:
            cost = replace(auto, rung=rung, correction=correction(shape, rung, known))
            reports.append(_on_cpu(cost, auto, machine, demand))
    return LoadPlan(shape, machine, demand, tuple(reports), sealed_copy, notes)


def usable_bytes(free: int) -> int:
    """What a plan may fill of `free`."""
    return max(0, free - max(int(free * _SPARE), _SPARE_LEAST))


def _not_permitted(shape: ModelShape, rung: Rung) -> str:
    if rung.variant is not None and rung.variant not in shape.variants:
        return "the bundle carries no such variant"
    return "not permitted by the policy or the approval"


@dataclass(frozen=True, slots=True)
class _Cost:
    """What a rung costs on a CPU: the formula, and what it is known to have missed."""

    shape: ModelShape
    rung: Rung
    correction: Correction
    sealed_copy: bool
    packed: bool = False

    def of(self, demand: Demand, *, resident: int | None = None) -> Prediction:
        found = predict(
            self.shape,
            self.rung,
            demand,
            resident=resident,
            sealed_copy=self.sealed_copy,
            packed=self.packed,
        )
        if not self.correction.missed:
            return found
        parts = {**found.host, "measured": self.correction.missed}
        return Prediction(parts, dict(parts))


def _on_cpu(cost: _Cost, auto: _Cost, machine: Machine, demand: Demand) -> RungReport:
    shape, rung = cost.shape, cost.rung
    free = usable_bytes(machine.free)
    if (reason := _no_help_on_cpu(shape, rung, sealed_copy=cost.sealed_copy)) is not None:
        return RungReport(rung, usable=False, reason=reason, device="cpu", free=free)
    resident: int | None = None
    if rung is Rung.DEVICE_MAP:
        if auto.of(_least(demand)).host_total <= free:
            return RungReport(
                rung,
                usable=False,
                reason="with neither a GPU nor a lack of memory it is the same as auto",
                device="cpu",
                free=free,
            )
        resident = max(0, free - cost.of(_least(demand), resident=0).host_total)
    fitted, prediction = _fit(demand, free, lambda wanted: cost.of(wanted, resident=resident))
    fits = fitted is not None
    reason = (
        _fitting(demand, fitted)
        if fitted is not None
        else f"needs {prediction.host_total // MIB} MiB, {free // MIB} MiB may be used"
    )
    plain = RungReport(
        rung,
        usable=fits,
        reason=reason,
        device="cpu",
        prediction=prediction,
        free=free,
        demand=fitted or demand,
        resident=resident,
        measured=cost.correction,
    )
    return _packed(plain, cost, machine, demand)


def _packed(plain: RungReport, cost: _Cost, machine: Machine, demand: Demand) -> RungReport:
    """Pack the matrices where that helps and all that was asked for still fits: room before speed."""
    if cost.rung is not Rung.AUTO or not (machine.packs and cost.shape.packs):
        return plain
    prediction = replace(cost, packed=True).of(demand)
    if prediction.host_total > plain.free:
        return plain
    return replace(plain, reason="fits, matrices packed", prediction=prediction, unpacked=plain)


def _no_help_on_cpu(shape: ModelShape, rung: Rung, *, sealed_copy: bool) -> str | None:
    if rung is Rung.DEVICE_MAP and sealed_copy:
        return "a sealed copy holds every file in memory: nothing is left on disk"
    if rung in {Rung.INT8, Rung.NF4}:
        return (
            "made while loading on a CPU it needs more memory than auto "
            "(the original is held beside the copy); seal a variant instead"
        )
    if rung.variant is not None and rung.variant not in shape.variants:
        return "the bundle carries no such variant"
    return None


def _on_gpu(
    shape: ModelShape, machine: Machine, demand: Demand, rung: Rung, *, sealed_copy: bool
) -> RungReport:
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
        prediction = predict(shape, rung, candidate, on_gpu=True, sealed_copy=sealed_copy)
        if prediction.device_total <= free and prediction.host_total <= machine.free:
            return RungReport(
                rung, True, _fitting(demand, candidate), device, prediction, free, candidate
            )
    prediction = predict(shape, rung, _least(demand), on_gpu=True, sealed_copy=sealed_copy)
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

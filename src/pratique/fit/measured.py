"""Measured runs against the formula: what it missed is added, and nothing is ever taken away.

One run shows that a model needed so much; it cannot show that it never needs more (a peak varies from
run to run, and pages of a file that nobody touched are not counted). So a measurement raises a
prediction and never lowers it. It counts for the rung that was measured alone: a wrong one, even one
that was signed, costs that rung and no other. What is beyond all measure is not believed at all.
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pratique.core.calibration import Measurement
from pratique.core.rungs import Rung
from pratique.fit.memory import Demand, grammar_bytes, predict
from pratique.fit.shape import ModelShape

MOST_TIMES: Final = 4
"""A measured peak of more than so many times the predicted one is no measurement of this model."""


class Basis(enum.StrEnum):
    """What a number rests on."""

    COMPUTED = "computed"
    SEALED = "sealed"
    """Raised by a calibration that was sealed with the model."""
    HERE = "here"
    """Raised by what this home measured itself."""


@dataclass(frozen=True, slots=True)
class Known:
    """A measurement and whose it is (SEALED or HERE)."""

    basis: Basis
    measured: Measurement


@dataclass(frozen=True, slots=True)
class Correction:
    """Bytes to add to one rung's prediction; `runs` are the measurements that were held against it."""

    missed: int = 0
    basis: Basis = Basis.COMPUTED
    runs: tuple[Known, ...] = ()


UNCORRECTED: Final = Correction()


def is_credible(shape: ModelShape, measured: Measurement) -> bool:
    """Whether a measurement could be one of this model."""
    return measured.peak <= MOST_TIMES * _predicted(shape, measured)[0]


def correction(shape: ModelShape, rung: Rung, known: Iterable[Known]) -> Correction:
    """Return what the formula missed on `rung`, by the worst of the credible measurements."""
    if rung is Rung.DEVICE_MAP:  # how much of it lies on disk differs from load to load
        return UNCORRECTED
    runs = tuple(k for k in known if k.measured.rung is rung and is_credible(shape, k.measured))
    worst = max(((_missed(shape, k), k.basis) for k in runs), default=(0, Basis.COMPUTED))
    if worst[0] <= 0:
        return Correction(runs=runs)
    return Correction(worst[0], worst[1], runs)


def _missed(shape: ModelShape, known: Known) -> int:
    total, base = _predicted(shape, known.measured)
    if known.basis is Basis.HERE:
        return known.measured.peak - total
    # Another machine's libraries say nothing of this one's: only the model's part is compared. What a
    # process holds before it loads is less than they come to once they run, which `base` counts.
    # Nothing was held to a grammar there: what those may come to excuses nothing that was missed.
    own = total - base - grammar_bytes(shape, _demand(known.measured))
    return known.measured.peak - max(known.measured.base, base) - own


def _predicted(shape: ModelShape, measured: Measurement) -> tuple[int, int]:
    demand = _demand(measured)
    found = predict(
        shape, measured.rung, demand, sealed_copy=measured.sealed_copy, packed=measured.packed
    )
    return found.host_total, found.host["base"]


def _demand(measured: Measurement) -> Demand:
    return Demand(
        context=measured.context,
        rows=measured.rows,
        kv_tokens=measured.kv_tokens,
        prefill=measured.prefill,
    )

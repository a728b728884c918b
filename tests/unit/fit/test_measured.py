"""A measured run raises a prediction by what it missed, on its own rung, and never lowers one."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pratique.core.calibration import Measurement
from pratique.core.rungs import Rung
from pratique.fit import Basis, Demand, Known, Machine, plan, predict
from pratique.fit.measured import MOST_TIMES, correction
from pratique.fit.memory import MIB
from pratique.fit.shape import ModelShape

SHAPE = ModelShape(
    architecture="LlamaForCausalLM", weights=2**30, files=2**30, linear=2**29,
    linear_elements=2**28, experts=0, largest=2**26, dtype="bfloat16", width=2, layers=16,
    hidden=1024, intermediate=4096, heads=16, head_size=64, cached=1024, expanded=0,
    vocabulary=32000, context=8192, generates=True, eager=False, total=2**30,
)  # fmt: skip
DEMAND = Demand(context=1024, rows=4, kv_tokens=4096)
PREDICTED = predict(SHAPE, Rung.AUTO, DEMAND)
BASE = PREDICTED.host["base"]


def machine(free: int) -> Machine:
    return Machine(total=64 * 2**30, free=free, limited_by="MemAvailable", cpus=4)


def run(peak: int, *, base: int = BASE, rung: Rung = Rung.AUTO) -> Measurement:
    return Measurement(
        rung=rung, torch="2.13.0", transformers="5.23.0", machine="x86_64, any", threads=2,
        context=1024, rows=4, kv_tokens=4096, base=base, loaded=max(base, 2**28), peak=peak,
    )  # fmt: skip


def of(rung: Rung, *known: Known) -> int:
    found = next(
        r for r in plan(SHAPE, machine(2**36), DEMAND, known=known).rungs if r.rung is rung
    )
    assert found.prediction is not None
    return found.prediction.host_total


@pytest.mark.parametrize("basis", [Basis.SEALED, Basis.HERE])
def test_what_was_missed_is_added(basis):
    peak = PREDICTED.host_total + 300 * MIB
    planned = plan(SHAPE, machine(2**36), DEMAND, known=(Known(basis, run(peak)),))
    chosen = planned.chosen
    assert chosen is not None
    assert chosen.basis is basis
    assert chosen.prediction is not None
    assert chosen.prediction.host_total == peak
    assert chosen.prediction.host["measured"] == 300 * MIB


def test_the_worst_of_several_counts_and_says_whose_it_is():
    near = Known(Basis.SEALED, run(PREDICTED.host_total + 10 * MIB))
    far = Known(Basis.HERE, run(PREDICTED.host_total + 90 * MIB))
    found = correction(SHAPE, Rung.AUTO, (near, far))
    assert (found.missed, found.basis, len(found.runs)) == (90 * MIB, Basis.HERE, 2)


def test_another_machines_libraries_are_not_added():
    bigger = run(PREDICTED.host_total + 200 * MIB, base=BASE + 200 * MIB)
    assert correction(SHAPE, Rung.AUTO, [Known(Basis.SEALED, bigger)]).missed == 0
    assert correction(SHAPE, Rung.AUTO, [Known(Basis.HERE, bigger)]).missed == 200 * MIB


@given(peak=st.integers(2**29, 2**40), sealed=st.booleans())
def test_nothing_is_ever_lowered(peak, sealed):
    known = Known(Basis.SEALED if sealed else Basis.HERE, run(peak))
    assert of(Rung.AUTO, known) >= PREDICTED.host_total


def test_a_measurement_of_one_rung_says_nothing_of_another():
    known = Known(Basis.HERE, run(PREDICTED.host_total + 2**30, rung=Rung.VARIANT_NF4))
    assert of(Rung.AUTO, known) == PREDICTED.host_total


def test_what_is_beyond_all_measure_is_not_believed():
    known = Known(Basis.SEALED, run(MOST_TIMES * PREDICTED.host_total + 1))
    assert correction(SHAPE, Rung.AUTO, [known]).runs == ()
    assert of(Rung.AUTO, known) == PREDICTED.host_total


def test_a_lie_that_is_believed_costs_one_rung_and_no_more():
    lie = Known(Basis.SEALED, run(MOST_TIMES * PREDICTED.host_total))
    room = machine(int(PREDICTED.host_total * 1.5))
    honest = plan(SHAPE, room, DEMAND).chosen
    assert honest is not None
    assert honest.rung is Rung.AUTO
    deceived = plan(SHAPE, room, DEMAND, known=(lie,)).chosen
    assert deceived is not None
    assert deceived.rung is Rung.DEVICE_MAP
    small = replace(SHAPE, files=2**28, weights=2**28, total=2**28)
    with_variant = replace(SHAPE, variants={"nf4": small})
    assert (
        plan(
            with_variant, room, DEMAND, known=(lie,), permitted=("auto", "variant:nf4")
        ).chosen.rung
        is Rung.VARIANT_NF4
    )  # type: ignore[union-attr]  # None would fail the test as well


def test_room_for_grammars_excuses_nothing_that_a_sealed_run_missed():
    held = replace(SHAPE, tree=64_000)
    whole = predict(held, Rung.AUTO, DEMAND)
    unused = whole.host_total - whole.host["grammars"]
    known = Known(Basis.SEALED, run(unused + 30 * MIB))
    assert correction(held, Rung.AUTO, [known]).missed == 30 * MIB

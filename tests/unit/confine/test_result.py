import json
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pratique.confine import (
    Confinement,
    Died,
    Failed,
    Form,
    Layer,
    Ok,
    OutOfMemory,
    TimedOut,
    TooMuchOutput,
    describe,
)
from pratique.confine.closing import enough
from pratique.confine.lock import Requirement
from pratique.confine.result import error_name, names, printable

ALWAYS = ("no-new-privileges", "capabilities", "limits", "seccomp")
NAMESPACES = ("network", "pid", "mount")
ALL = (*ALWAYS, *NAMESPACES, "landlock", "uid", "user", "ipc")


def confinement(*held, abi=7):
    return Confinement(tuple(Layer(name, held=name in held) for name in ALL), abi)


def test_the_first_full_lock():
    found = confinement(*ALWAYS, *NAMESPACES, "landlock", abi=1)
    assert (found.form, found.strict) == (Form.NAMESPACES, True)


def test_the_second_full_lock():
    assert confinement(*ALWAYS, "landlock", "uid").form is Form.OTHER_UID
    assert confinement(*ALWAYS, "landlock", "network").form is Form.PRIVATE_UNIT


def test_the_second_full_lock_needs_a_landlock_that_rules_truncation():
    assert confinement(*ALWAYS, "landlock", "uid", abi=2).form is Form.REDUCED
    assert confinement(*ALWAYS, "landlock", "network", abi=2).form is Form.REDUCED


@pytest.mark.parametrize("lost", [*NAMESPACES, "landlock"])
def test_without_one_layer_the_first_lock_is_not_full(lost):
    held = {*ALWAYS, *NAMESPACES, "landlock"} - {lost}
    found = confinement(*held)
    assert found.form is (Form.PRIVATE_UNIT if lost in {"pid", "mount"} else Form.REDUCED)


@pytest.mark.parametrize("lost", ALWAYS)
@pytest.mark.parametrize("requirement", list(Requirement))
def test_what_is_always_needed(lost, requirement):
    found = confinement(*(set(ALL) - {lost}))
    assert found.form is Form.NONE
    assert not enough(found, requirement)


def test_reduced_is_enough_only_where_it_is_permitted():
    found = confinement(*ALWAYS)
    assert enough(found, Requirement.REDUCED)
    assert not enough(found, Requirement.STRICT)


@given(st.sets(st.sampled_from(ALL)), st.integers(0, 7))
def test_more_layers_never_make_a_lock_weaker(held, abi):
    weaker, stronger = confinement(*held, abi=abi), confinement(*ALL, abi=7)
    assert stronger.strict
    assert not weaker.strict or held >= set(ALWAYS)


@given(st.sets(st.sampled_from(ALL)), st.integers(0, 7))
def test_a_report_survives_the_pipe(held, abi):
    found = confinement(*held, abi=abi)
    assert Confinement.from_json(json.loads(json.dumps(found.to_json()))) == found


@pytest.mark.parametrize("value", [{}, {"layers": 1, "landlock_abi": 1}, {"layers": []}])
def test_another_object_is_no_report(value):
    with pytest.raises(TypeError):
        Confinement.from_json(value)


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Ok(b""), "ended well"),
        (Failed("ValueError"), "failed (ValueError)"),
        (Died(signal.SIGSYS), "was killed by SIGSYS"),
        (Died(250), "was killed by signal 250"),
        (TimedOut(2.5), "did not end within 2.5 s"),
        (TooMuchOutput(10), "wrote more than 10 bytes"),
        (OutOfMemory(), "ran out of memory"),
    ],
)
def test_every_ending_has_words(outcome, words):
    assert describe(outcome) == words


@given(st.text())
def test_hostile_text_becomes_one_printable_line(text):
    shown = printable(text)
    assert len(shown) <= 512
    assert all(char.isprintable() or char == "\N{REPLACEMENT CHARACTER}" for char in shown)
    if text.isprintable():
        assert shown == text[:512]


@given(st.text())
def test_an_error_name_is_a_name(text):
    assert all(
        part.isidentifier() or part.isalnum() or not part for part in error_name(text).split(".")
    )
    assert error_name("ValueError") == "ValueError"
    assert error_name("ValueError\n") == "ProtocolError"


def test_layers_that_share_a_reason_share_its_mention():
    layers = [Layer("a", held=False, detail="x"), Layer("b", held=False, detail="y")]
    layers.append(Layer("c", held=False, detail="x"))
    assert names(layers) == "a, c (x); b (y)"

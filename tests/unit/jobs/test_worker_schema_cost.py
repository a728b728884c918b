"""What grammars may come to: the worst of them stay within their part, and parts within the room."""

import ctypes
import gc
import threading
from typing import Any

import numpy as np
import pytest

from pratique.core.wire import Fault, Generate
from pratique.fit.memory import grammar_room
from pratique.jobs.worker_room import Room
from pratique.jobs.worker_schema import SchemaRefused, check_schema
from pratique.jobs.worker_schema_cost import MOST_STATES, cost_of
from tests.support.schemas import ORDINARY, WORST
from tests.unit.jobs.test_worker_grammar import TOOLS, grammars_for

_FIELDS = (
    "arena", "ordblks", "smblks", "hblks", "hblkhd",
    "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
)  # fmt: skip


class _Heap(ctypes.Structure):
    """`struct mallinfo2` of the C library."""

    _fields_ = [(name, ctypes.c_size_t) for name in _FIELDS]


def in_use() -> int:
    """Bytes that were allocated and not freed, of all arenas."""
    read = ctypes.CDLL(None).mallinfo2
    read.restype = _Heap
    found = read()
    return int(found.uordblks + found.hblkhd)


def asked(schema: dict[str, Any] | None, **more: Any) -> Generate:
    return Generate(**{"id": 1, "tokens": (5,), "max_tokens": 256, "schema": schema, **more})


def with_deep_stack(work: Any) -> None:
    """Run as the worker's intake does: the compiler recurses."""
    before = threading.stack_size(64 * 2**20)
    failed: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)

    try:
        thread = threading.Thread(target=guarded)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    if failed:
        raise failed[0]


@pytest.mark.parametrize(
    ("name", "choices"),
    [*((name, 1) for name in WORST), ("ordinary", 3), ("strings", 3), ("objects", 3), ("lists", 3)],
)
def test_the_worst_schemas_stay_within_their_part(loaded, name, choices):
    model = loaded("llama")[0]
    room = grammar_room(rows=4)
    grammars = grammars_for(model, room=room)
    grammars.masks(asked({}))  # the vocabulary is no part of it
    request = asked(WORST.get(name, ORDINARY), n=choices)
    part, _ = grammars._part(request)
    assert part <= room
    letters = model.tokenizer.get_vocab()
    ending = [number for text, number in letters.items() if set(text) & set('"]}')] + [1]

    def write() -> None:
        gc.collect()
        before, most = in_use(), 0
        masks = grammars.masks(request)
        rng = np.random.default_rng(1)
        for _ in range(256):
            for mask in masks:
                allowed = np.flatnonzero(mask.allowed(model.vocabulary))
                longer = np.setdiff1d(allowed, ending)
                if not mask.failed and len(allowed):
                    mask.accept(int(rng.choice(longer if len(longer) else allowed)))
            most = max(most, in_use() - before)
            if all(mask.failed for mask in masks):
                break
        assert 0 < most <= part

    with_deep_stack(write)


def test_the_room_is_whole_again_after_every_end(loaded):
    grammars = grammars_for(loaded("llama")[0], room=grammar_room(rows=2))
    for schema in (ORDINARY, {"pattern": "("}, {"uniqueItems": True}, WORST["strings"]):
        try:
            masks = grammars.masks(asked(schema, n=2))
            assert grammars._room._left < grammars._room.size
            del masks
        except SchemaRefused:
            pass
        assert grammars._room._left == grammars._room.size


def test_what_is_never_free_is_refused_before_it_is_compiled(loaded, monkeypatch):
    grammars = grammars_for(loaded("llama")[0], room=grammar_room(rows=2))
    grammars.masks(asked({}))
    monkeypatch.setattr(grammars, "_matcher", None)  # must not be reached
    many = {"anyOf": [{"type": "string", "maxLength": 100 + at} for at in range(400)]}
    tool = {
        "type": "function",
        "function": {"name": "t", "parameters": {"properties": {"a": many}}},
    }
    calls = {"tools": (tool,), "must_call": ("t",)}
    for request, of_tools in ((asked(many), False), (asked(None, **calls), True)):
        with pytest.raises(SchemaRefused) as caught:
            grammars.masks(request)
        assert (caught.value.fault, caught.value.of_tools) == (Fault.SCHEMA_TOO_BIG, of_tools)


def test_all_rows_hold_ordinary_answers_at_once(loaded):
    for rows in (1, 4, 32):
        grammars = grammars_for(loaded("llama")[0], room=grammar_room(rows))
        tools = {"tools": TOOLS, "may_call": ("turn", "stop_2.x")}
        held = [grammars.masks(asked(ORDINARY)) for _ in range(rows)]
        held += [grammars.masks(asked(None, **tools)) for _ in range(4)]
        assert len(held) == rows + 4  # each waits for ever if there is no room


def test_strings_count_together_where_they_compete_and_alone_where_they_do_not():
    text = [{"type": "string", "maxLength": 10 + at} for at in range(9)]
    apart = {"type": "object", "properties": {f"p{at}": one for at, one in enumerate(text)}}
    together = {"anyOf": text}
    shelved = {"$defs": {"a": together}, "anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}]}
    again = {
        "$defs": {"a": {"anyOf": [*text, {"items": {"$ref": "#/$defs/a"}}]}},
        "$ref": "#/$defs/a",
    }
    for schema in (apart, together, shelved, again):
        check_schema(schema)
    alone = cost_of([text[0]], answer=100).state
    assert cost_of([apart], answer=100).state == alone
    for schema in (together, shelved, again):
        assert (
            cost_of([schema], answer=100).state == cost_of([together], answer=100).state > 2 * alone
        )


def test_a_long_chain_of_references_has_a_cost_too():
    chain = {f"a{at}": {"items": {"$ref": f"#/$defs/a{at + 1}"}} for at in range(490)}
    schema = {"$defs": {**chain, "a490": {"maxLength": 3}}, "$ref": "#/$defs/a0"}
    check_schema(schema)
    assert cost_of([schema], answer=10).state == cost_of([{"maxLength": 3}], answer=10).state


def test_states_follow_what_must_be_counted_and_end_somewhere():
    def states(schema: dict[str, Any], answer: int = 4096) -> int:
        return cost_of([schema], answer=answer).states

    assert states({}) < states({"maxLength": 100}) < states({"maxLength": 1000})
    assert states({"maxLength": 10**9}) == states({"pattern": "a{1,400}" * 20}) == MOST_STATES
    assert states({"maxLength": 10**9}, answer=10) < MOST_STATES


def test_a_part_waits_until_another_is_given_back():
    room = Room(10)
    room.take(7)
    taken = threading.Event()

    def ask() -> None:
        room.take(5)
        taken.set()

    thread = threading.Thread(target=ask)
    thread.start()
    assert not taken.is_set()
    room.give(7)
    assert taken.wait(30)
    thread.join()
    with pytest.raises(ValueError, match="more than"):
        room.take(11)


def test_multiples_whose_remainders_meet_too_late_are_refused():
    check_schema({"anyOf": [{"multipleOf": unit} for unit in (0.25, 5, 15, 60, 100, 999)]})
    with pytest.raises(SchemaRefused) as caught:  # this one took half a minute to compile
        check_schema({"anyOf": [{"type": "integer", "multipleOf": u} for u in (9999, 9998)]})
    assert caught.value.fault is Fault.SCHEMA_KEYWORD

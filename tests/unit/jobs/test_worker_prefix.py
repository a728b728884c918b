"""Prompts that begin alike are computed once, within one scope, within the cells there are."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pratique.core.wire import Done, Generate, Sampling, Started, Stop
from pratique.jobs.worker_batch import Batch, Model
from pratique.jobs.worker_engine import Engine
from pratique.jobs.worker_job import Job, admit
from pratique.jobs.worker_prefix import LEAST_TOKENS, Prefixes
from pratique.jobs.worker_prompts import Prompts
from pratique.jobs.worker_sampling import Defaults
from tests.support.serving import limits_for

SHARED = [5 + at % 90 for at in range(100)]


def engine_for(loaded: Any, heard: Any, **changes: int) -> tuple[Engine, Batch, Any]:
    limits = limits_for(**changes)
    prompts = Prompts(loaded.tokenizer, context=limits.context, vocabulary=loaded.vocabulary)
    lanes = Batch(Model(loaded.model, torch.device("cpu")), limits.kv_tokens)
    engine = Engine(lanes, prompts, limits, heard, defaults=Defaults(), ends=frozenset({1}))

    def put(request: Generate) -> None:
        job = admit(request, prompts, limits)
        assert isinstance(job, Job)
        engine.inbox.put(job)

    return engine, lanes, put


def turn(engine: Engine) -> None:
    """Run until nothing is left to do."""
    with torch.inference_mode():
        while engine._rows or engine._waiting or engine._staged or not engine.inbox.empty():
            engine._take()
            engine._turn()
            engine._flush()


def asked(number: int, prompt: list[int], scope: int | None, **more: Any) -> Generate:
    return Generate(
        id=number, tokens=tuple(prompt), max_tokens=12, ignore_eos=True, scope=scope, **more
    )


def cached(heard: Any) -> dict[int, int]:
    return {started.id: started.cached_tokens for started in heard.of(Started)}


def texts(heard: Any) -> dict[int, str]:
    return {done.id: done.text for done in heard.of(Done)}


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gemma3", "deepseek_v3"])
@pytest.mark.parametrize(
    "sampling", [Sampling(temperature=0), Sampling(temperature=0.9, top_p=0.95, seed=7)]
)
def test_an_answer_does_not_depend_on_what_was_kept(loaded, heard, architecture, sampling):
    model, _ = loaded(architecture)
    engine, _, put = engine_for(model, heard)
    prompts = [[*SHARED, 7, 8, 9], [*SHARED[:80], *range(20, 60)], [*SHARED, 7, 8, 9]]
    for at, prompt in enumerate(prompts):
        put(asked(at, prompt, None, sampling=sampling))
        turn(engine)
    alone = texts(heard)
    heard.messages.clear()
    for at, prompt in enumerate(prompts):
        put(asked(at, prompt, 1, sampling=sampling))
        turn(engine)
    assert cached(heard) == {0: 0, 1: 80, 2: 102}
    assert texts(heard) == alone


def test_prompts_of_different_lengths_go_on_together_from_what_is_kept(loaded, heard):
    model, _ = loaded("gemma3")
    prompts = [[*SHARED, *range(20, 20 + size)] for size in (3, 9, 5)] + [[4, 3]]
    engine, _, put = engine_for(model, heard, context=512)
    for at, prompt in enumerate(prompts):
        put(asked(at, prompt, None, sampling=Sampling(temperature=0)))
        turn(engine)
    alone = texts(heard)
    put(asked(9, SHARED, 1))
    turn(engine)
    heard.messages.clear()
    for at, prompt in enumerate(prompts):
        put(asked(at, prompt, 1, sampling=Sampling(temperature=0)))
    turn(engine)
    assert texts(heard) == alone
    # All go on from one column, so the longest of them gains the most.
    assert cached(heard) == {0: 94, 1: 100, 2: 96, 3: 0}


@pytest.mark.parametrize("other", [0, 2, None])
def test_nothing_is_found_of_another_scope(loaded, heard, other):
    model, _ = loaded("llama")
    engine, _, put = engine_for(model, heard)
    put(asked(0, [*SHARED, 7], 1))
    turn(engine)
    put(asked(1, [*SHARED, 7], other))
    turn(engine)
    assert cached(heard) == {0: 0, 1: 0}


def test_who_has_no_scope_leaves_nothing_behind(loaded, heard):
    model, _ = loaded("llama")
    engine, lanes, put = engine_for(model, heard)
    put(asked(0, [*SHARED, 7], None))
    turn(engine)
    assert lanes.cells == 0


def test_kept_prompts_make_way_for_what_runs_and_cells_stay_within_the_limit(
    loaded, heard, monkeypatch
):
    """Allocated cells are looked at whenever a buffer may have grown."""
    model, _ = loaded("llama")
    engine, lanes, put = engine_for(model, heard, rows=4, kv_tokens=1024)
    most: list[int] = []
    real = Batch._reserve

    def reserve(self: Batch, rows: int, columns: int) -> None:
        real(self, rows, columns)
        most.append(self.cells)

    monkeypatch.setattr(Batch, "_reserve", reserve)
    for at in range(9):
        put(asked(at, [10 + at, *SHARED[: 64 + at]], at % 3, n=1 + at % 2))
        if at % 3 == 0:
            turn(engine)
    turn(engine)
    assert len(texts(heard)) == 9
    assert max(most) <= 1024
    assert 0 < lanes.cells <= 512


def test_memory_running_out_drops_what_is_kept_first(loaded, heard, monkeypatch):
    model, _ = loaded("llama")
    engine, lanes, put = engine_for(model, heard)
    put(asked(0, SHARED, 1))
    turn(engine)
    assert lanes.cells == len(SHARED)
    real, fallen = Model.forward, []

    def forward(self: Model, ids: torch.Tensor, *rest: Any) -> Any:
        if not fallen:
            fallen.append(1)
            raise MemoryError
        return real(self, ids, *rest)

    monkeypatch.setattr(Model, "forward", forward)
    put(asked(1, [3, 4], 1))
    turn(engine)
    assert lanes.cells == 0


def test_a_request_that_is_stopped_at_once_still_ends(loaded, heard):
    model, _ = loaded("llama")
    engine, _, put = engine_for(model, heard)
    put(asked(0, SHARED, 1).model_copy(update={"max_tokens": 1}))
    turn(engine)
    put(asked(1, SHARED, 1))
    engine.inbox.put(Stop())
    engine.run()
    assert cached(heard) == {0: 0, 1: len(SHARED) - 1}


LAYERS = ((torch.zeros(1), torch.zeros(1)),)


def test_a_prompt_that_goes_on_replaces_the_one_it_continues():
    kept = Prefixes()
    kept.keep(1, SHARED[:70], LAYERS)
    kept.keep(2, SHARED[:70], LAYERS)
    kept.keep(1, SHARED, LAYERS)
    assert kept.cells == 70 + 100
    found = kept.find(1, [*SHARED, 4])
    assert found is not None
    assert found.tokens == 100


def test_the_least_recently_used_goes_first():
    kept = Prefixes()
    one, two = SHARED, SHARED[::-1]
    kept.keep(1, one, LAYERS)
    kept.keep(1, two, LAYERS)
    assert kept.find(1, [*one, 4])
    kept.shrink(150)
    assert kept.find(1, [*two, 4]) is None
    assert kept.find(1, [*one, 4])


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.lists(st.integers(0, 1), min_size=60, max_size=90)),
        max_size=12,
    ),
    st.integers(0, 2),
    st.lists(st.integers(0, 1), min_size=1, max_size=90),
)
def test_what_is_found_is_the_longest_beginning_of_the_scope(entries, scope, prompt):
    kept = Prefixes()
    for number, tokens in entries:
        kept.keep(number, tokens, LAYERS)
    found = kept.find(scope, prompt)
    best = 0
    for number, tokens in entries:
        if number == scope:
            alike = np.cumprod([a == b for a, b in zip(tokens, prompt[:-1], strict=False)])
            best = max(best, int(alike.sum()))
    assert (found.tokens if found else 0) == (best if best >= LEAST_TOKENS else 0)


@pytest.mark.parametrize("seed", range(4))
def test_cells_never_exceed_the_limit_whatever_comes(loaded, heard, monkeypatch, seed):
    """What the planner granted is what is allocated at most: rows, room ahead, kept prompts."""
    model, _ = loaded("llama")
    engine, lanes, put = engine_for(model, heard, rows=4, kv_tokens=1000)
    most = [0]
    real = Batch._reserve

    def reserve(self: Batch, rows: int, columns: int) -> None:
        real(self, rows, columns)
        most.append(self.cells)

    monkeypatch.setattr(Batch, "_reserve", reserve)
    dice = random.Random(seed)
    for at in range(6):
        request = asked(at, [9] * dice.randint(1, 200), 1, n=dice.randint(1, 4))
        put(request.model_copy(update={"max_tokens": dice.randint(1, 50)}))
        if dice.random() < 0.4:
            turn(engine)
    turn(engine)
    most.append(lanes.cells)
    assert max(most) <= 1000
    assert {done.id for done in heard.of(Done)} == set(range(6))


def test_columns_rounded_up_for_few_rows_are_cut_for_more(loaded, heard):
    """Four choices of 196 columns fit 1,000 cells; in buffers of 256 columns they would not."""
    model, _ = loaded("llama")
    engine, lanes, put = engine_for(model, heard, rows=4, kv_tokens=1000)
    most: list[int] = []
    put(asked(0, [9] * 176, 1, n=4).model_copy(update={"max_tokens": 20}))
    with torch.inference_mode():
        engine._take()
        while engine._waiting or engine._staged or engine._rows:
            engine._turn()
            most.append(lanes.cells)
    assert max(most) <= 1000
    assert max(most) >= 4 * 176

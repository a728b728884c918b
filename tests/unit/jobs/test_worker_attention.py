"""Attention of the newest tokens equals the library's, whatever each row can see."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from pratique.core.load import LoadSpec
from pratique.core.rungs import Rung
from pratique.fit import memory
from pratique.jobs import worker_attention, worker_load
from pratique.jobs.worker_attention import (
    _WIDENED_CELLS,
    WIDENED,
    WIDENED_THREADS,
    _first_seen,
    _runs,
    attention,
)
from tests.support import models
from tests.support.serving import files_of, limits_for

NEAR = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}


class Grouped(torch.nn.Module):
    """What the library asks of a layer."""

    is_causal = True

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.num_key_value_groups = groups


def given_rows(rows, groups, each, columns, dtype, *, value_size=16, seed=0):
    noise = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(*shape, generator=noise).to(dtype)

    query = random(rows, 1, groups * each, 16).transpose(1, 2)  # as layers hand it over
    # Buffers are longer than what is filled of them.
    key = random(rows, groups, columns + 9, 16)[:, :, :columns]
    value = random(rows, groups, columns + 9, value_size)[:, :, :columns]
    return query, key, value


def masked(first, columns, windows=0):
    at = torch.arange(columns)
    seen = at >= torch.tensor(first).unsqueeze(1)
    if windows:
        seen &= at >= columns - windows
    return seen[:, None, None, :]


def both(query, key, value, mask, **more):
    layer = Grouped(query.shape[1] // key.shape[1])
    with torch.inference_mode():
        ours, _ = attention(layer, query, key, value, mask, **more)
        theirs, _ = sdpa_attention_forward(layer, query, key, value, mask, **more)
    return ours, theirs


@given(
    st.lists(st.integers(0, 299), min_size=1, max_size=9),
    st.sampled_from([(1, 1), (2, 2), (4, 1), (1, 8)]),
    st.sampled_from(list(NEAR)),
    st.sampled_from([0, 40]),
    st.sampled_from([None, 0.3]),
)
def test_it_is_what_the_library_computes(first, heads, dtype, window, scaling):
    groups, each = heads
    rows = given_rows(len(first), groups, each, 300, dtype)
    ours, theirs = both(*rows, masked(first, 300, window), scaling=scaling)
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    assert (ours - theirs).abs().max() <= NEAR[dtype]


@pytest.mark.parametrize("dtype", list(NEAR))
def test_without_a_mask_everything_is_seen(dtype):
    ours, theirs = both(*given_rows(3, 2, 2, 70, dtype), None)
    assert (ours - theirs).abs().max() <= NEAR[dtype]


def test_values_may_be_of_another_size_than_keys():
    ours, theirs = both(
        *given_rows(3, 2, 2, 70, torch.float32, value_size=24), masked([0, 5, 60], 70)
    )
    assert ours.shape[-1] == 24
    assert (ours - theirs).abs().max() <= 1e-5


def test_what_is_hidden_does_not_count_even_if_it_is_not_a_number():
    query, key, value = given_rows(2, 2, 2, 70, torch.float32)
    key[0, :, :50] = value[0, :, :50] = float("nan")
    layer = Grouped(2)
    ours, _ = attention(layer, query, key, value, masked([50, 69], 70))
    alone, _ = attention(layer, query[:1], key[:1, :, 50:], value[:1, :, 50:], None)
    assert torch.isfinite(ours[0]).all()
    assert (ours[0] - alone[0]).abs().max() <= 1e-5


def test_a_row_gets_the_same_whatever_its_neighbours_are():
    query, key, value = given_rows(4, 2, 2, 200, torch.float32)
    layer = Grouped(2)
    one, _ = attention(layer, query, key, value, masked([150, 0, 3, 199], 200))
    other, _ = attention(layer, query, key, value, masked([150, 190, 100, 20], 200))
    assert (one[0] - other[0]).abs().max() <= 1e-6


def unusual_masks():
    hole = masked([0, 10], 70)
    hole[1, 0, 0, 30] = False
    nothing = masked([0, 70], 70)
    end = masked([0, 10], 70)
    end[0, 0, 0, -1] = False
    return {
        "hole": hole,
        "nothing": nothing,
        "end": end,
        "one for all": masked([5], 70),
        "per head": masked([0, 10], 70).expand(2, 4, 1, 70),
        "added": torch.zeros(2, 1, 1, 70).masked_fill(~masked([0, 10], 70), -1e9),
    }


@pytest.mark.parametrize("name", list(unusual_masks()))
def test_masks_of_another_kind_go_the_librarys_way(name):
    mask = unusual_masks()[name]
    query, key, value = given_rows(2, 2, 2, 70, torch.float32)
    assert _first_seen(mask, query, key) is None
    ours, theirs = both(query, key, value, mask)
    assert torch.equal(ours.nan_to_num(7), theirs.nan_to_num(7))


@pytest.fixture
def asked(monkeypatch):
    """What the library's own way was asked."""
    asked = []

    def library(*args, **kwargs):
        asked.append(kwargs)
        return sdpa_attention_forward(*args, **kwargs)

    monkeypatch.setattr(worker_attention, "sdpa_attention_forward", library)
    return asked


@pytest.mark.parametrize(("device", "whose"), [("cpu", 0), ("meta", 1)])
def test_other_devices_go_the_librarys_way(asked, device, whose):
    rows = [tensor.to(device) for tensor in given_rows(2, 2, 2, 70, torch.bfloat16)]
    attention(Grouped(2), *rows, None)
    assert len(asked) == whose


@pytest.mark.parametrize("librarys", [True, False])
def test_only_the_librarys_models_attend_so(tmp_path, monkeypatch, librarys):
    installed = []
    monkeypatch.setattr(worker_attention, "install", lambda: installed.append(1))
    monkeypatch.setattr(worker_load, "_is_the_librarys", lambda model: librarys)
    directory = models.write_llama(tmp_path)
    spec = LoadSpec(
        model_dir=str(directory), files=files_of(directory), rung=Rung.AUTO, limits=limits_for()
    )
    worker_load.load(spec, directory)
    assert bool(installed) is librarys


def test_prompts_and_biases_go_the_librarys_way(asked):
    query, key, value = given_rows(2, 2, 2, 70, torch.float32)
    layer, mask = Grouped(2), masked([0, 10], 70)
    attention(layer, query, key, value, mask)
    assert not asked
    attention(layer, query, key, value, mask, position_bias=torch.zeros(2, 4, 1, 70))
    attention(layer, query.expand(2, 4, 3, 16), key, value, mask.expand(2, 1, 3, 70))
    with pytest.raises(ValueError, match="softcap"):
        attention(layer, query, key, value, mask, softcap=30.0)
    assert len(asked) == 3


@given(
    st.lists(st.integers(0, 3000), min_size=1, max_size=70),
    st.integers(1, 16),
    st.integers(1, 64),
    st.booleans(),
)
def test_runs_hold_every_row_once_and_all_that_it_sees(first, groups, threads, half):
    runs = _runs(tuple(first), 3001, groups, threads, half=half)
    assert [run[0] for run in runs] == [0, *(run[1] for run in runs[:-1])]
    assert runs[-1][1] == len(first)
    for begin, end, low in runs:
        assert low == min(first[begin:end])
        if half and end - begin > 1:
            assert (end - begin) * (3001 - low) <= _WIDENED_CELLS


def test_rows_that_see_alike_are_taken_together_and_others_are_not():
    assert _runs((100,) * 8, 500, 4, 1, half=False) == ((0, 8, 100),)
    assert _runs((0, 4900), 5000, 4, 1, half=False) == ((0, 1, 0), (1, 2, 4900))
    # With a thread for every head of every row, taking a short row along costs nothing.
    assert _runs((0, 4900), 5000, 4, 64, half=False) == ((0, 2, 0),)


def test_no_more_is_widened_at_once_than_the_plan_counts(monkeypatch):
    sizes = []

    def widened(tensor):
        sizes.append(tensor.numel())
        return tensor.float()

    monkeypatch.setattr(worker_attention, "_widened", widened)
    query, key, value = given_rows(3, 8, 1, 5000, torch.bfloat16)
    ours, theirs = both(query, key, value, masked([0, 4000, 4990], 5000))
    assert (ours - theirs).abs().max() <= NEAR[torch.bfloat16]
    assert max(sizes) <= WIDENED * min(torch.get_num_threads(), WIDENED_THREADS) < 8 * 5000 * 16
    assert (memory._WIDENED, memory._CELLS) == (WIDENED * WIDENED_THREADS, _WIDENED_CELLS)


def test_a_head_that_is_longer_than_a_piece_is_widened_alone(monkeypatch):
    monkeypatch.setattr(worker_attention, "WIDENED", 10)
    ours, theirs = both(*given_rows(2, 3, 2, 70, torch.bfloat16), masked([0, 60], 70))
    assert (ours - theirs).abs().max() <= NEAR[torch.bfloat16]

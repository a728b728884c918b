"""Draws follow the distribution that was asked for, and nothing else."""

import numpy as np
import pytest
import torch

from pratique.core.wire import Sampling
from pratique.jobs.worker_sampling import Defaults, Drawer, defaults_of, draw

SIZE = 600  # more than two blocks, and not a multiple of one


def logits(seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(
        np.random.default_rng(seed).standard_normal(SIZE).astype(np.float32) * 2
    )


def drawer(**settings: object) -> Drawer:
    return Drawer(Sampling(**{"seed": 1, **settings}), Defaults(), [])  # type: ignore[arg-type]


def frequencies(one: Drawer, row: torch.Tensor, times: int = 4000) -> np.ndarray:
    counts = np.zeros(len(row))
    for _ in range(times):
        counts[draw(row.clone().unsqueeze(0), [one])[0]] += 1
    return counts / times


def expected(row: torch.Tensor, temperature: float, keep: np.ndarray | None = None) -> np.ndarray:
    weights = torch.softmax(row / temperature, -1).numpy().astype(float)
    if keep is not None:
        weights = np.where(keep, weights, 0)
    return weights / weights.sum()


def nucleus(row: torch.Tensor, temperature: float, top_p: float, top_k: int = 0) -> np.ndarray:
    weights = torch.softmax(row / temperature, -1).numpy().astype(float)
    order = np.argsort(-weights)
    if top_k:
        order = order[:top_k]
    sorted_ = weights[order] / weights[order].sum()
    keep = np.zeros(len(weights), dtype=bool)
    keep[order[np.cumsum(sorted_) - sorted_ < top_p]] = True
    return keep


@pytest.mark.parametrize(
    ("settings", "keep"),
    [
        ({"temperature": 1.0}, None),
        ({"temperature": 0.6}, None),
        ({"temperature": 1.0, "top_p": 0.5}, (0.5, 0)),
        ({"temperature": 1.0, "top_p": 0.05}, (0.05, 0)),
        ({"temperature": 0.8, "top_k": 5}, (1.0, 5)),
        ({"temperature": 0.8, "top_k": 40, "top_p": 0.7}, (0.7, 40)),
    ],
)
def test_draws_have_the_asked_distribution(settings, keep):
    row = logits()
    temperature = settings["temperature"]
    kept = None if keep is None else nucleus(row, temperature, *keep)
    wanted = expected(row, temperature, kept)
    seen = frequencies(drawer(**settings), row)
    if kept is not None:
        assert seen[~kept].sum() == 0
    # total variation of 4,000 draws; a wrong filter or temperature is several times as far off
    assert np.abs(seen - wanted).sum() / 2 < 0.16
    top = np.argsort(-wanted)[:5]
    assert seen[top] == pytest.approx(wanted[top], abs=0.04)


def test_a_wide_top_k_is_kept_exactly():
    row = torch.linspace(0, 3, 5000)
    one = drawer(temperature=1.0, top_k=3000)
    assert all(draw(row.clone().unsqueeze(0), [one])[0] >= 2000 for _ in range(300))


def test_min_p_leaves_only_what_is_near_the_best():
    row = torch.tensor([0.0, -0.5, -3.0, -9.0])
    one = drawer(temperature=1.0, min_p=0.3)
    assert {draw(row.clone().unsqueeze(0), [one])[0] for _ in range(300)} == {0, 1}


@pytest.mark.parametrize("settings", [{"temperature": 0}, {"temperature": 1e-6}, {"top_k": 1}])
def test_the_likeliest_is_taken(settings):
    row = logits(3)
    assert draw(row.clone().unsqueeze(0), [drawer(**settings)])[0] == int(row.argmax())


def test_a_row_draws_the_same_whatever_its_neighbours_do():
    rows = torch.stack([logits(seed) for seed in range(6)])
    alone = drawer(temperature=1.0, seed=9)
    wanted = [draw(rows[2:3].clone(), [alone])[0] for _ in range(20)]
    among = drawer(temperature=1.0, seed=9)
    others = [
        drawer(temperature=0), drawer(top_k=3, seed=4), among,
        drawer(temperature=2.0, seed=5), drawer(top_p=0.3, seed=6), drawer(temperature=0),
    ]  # fmt: skip
    assert [draw(rows.clone(), others)[2] for _ in range(20)] == wanted


def test_without_a_seed_draws_differ():
    row = logits()
    both = [Drawer(Sampling(temperature=1.0), Defaults(), []) for _ in range(2)]
    assert frequencies(both[0], row, 30).tolist() != frequencies(both[1], row, 30).tolist()


def test_penalties_and_bias():
    row = torch.zeros(1, 4)
    one = Drawer(
        Sampling(temperature=0, presence_penalty=1.0, frequency_penalty=0.5, logit_bias={3: -5.0}),
        Defaults(repetition_penalty=2.0),
        [0],
    )
    one.note(1)
    one.note(1)
    row = torch.tensor([[2.0, -1.0, 0.0, 0.0]])
    one.shape(row[0])
    # token 0 from the prompt: 2/2; token 1: -1*2, then minus 1 and minus 2*0.5; token 3: bias
    assert row[0].tolist() == [1.0, -4.0, 0.0, -5.0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_broken_logits_still_give_a_token(bad):
    row = torch.full((1, SIZE), bad)
    for one in (drawer(temperature=1.0), drawer(top_k=5), drawer(top_p=0.5), drawer(temperature=0)):
        assert 0 <= draw(row.clone(), [one])[0] < SIZE + 256


def test_defaults_come_from_the_model_own_words():
    assert defaults_of({}) == Defaults()
    assert defaults_of({"do_sample": False, "temperature": 0.6}).temperature == 0
    said = defaults_of({"do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.9})
    assert (said.temperature, said.top_k, said.top_p) == (0.6, 20, 0.9)
    assert defaults_of({"temperature": "hot", "top_k": None}) == Defaults()

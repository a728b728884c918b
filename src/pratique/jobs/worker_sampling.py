"""Each sequence draws for itself: its own settings, its own noise, whatever its neighbours do.

A draw is the argmax of log-probabilities plus Gumbel noise (equally: the argmin of exponential noise
over weights), with noise from the sequence's own seeded generator. Unlike the inverse of a cumulative
sum, it hardly moves when rounding does, so the size of the batch does not show in the result.

To draw from V weights without V random numbers, blocks of 256 are drawn first and then a token in the
block: the product of the two probabilities is the token's own. top-p and min-p are tests of the drawn
token (drawing again until one passes is drawing from what remains); top-k takes its k candidates.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from pratique.core.wire import Sampling

_BLOCK: Final = 256
_TRIES: Final = 6
_CANDIDATES: Final = 2048
"""Largest top_k for which candidates are taken out; beyond it the threshold is looked up."""
MAX_SEED: Final = 2**64

Floats = NDArray[np.float32]


class TokenMask(Protocol):
    """What a constrained answer may go on with. `failed`: it cannot go on at all."""

    failed: bool

    def allowed(self, size: int) -> NDArray[np.bool_]:
        """Return, for each of `size` ids, whether it may come next."""
        ...

    def accept(self, token: int) -> bool:
        """Go on with `token`; return whether the answer is complete with it."""
        ...


@dataclass(frozen=True, slots=True)
class Defaults:
    """What generation_config.json says where a request says nothing."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0


def defaults_of(said: Mapping[str, object]) -> Defaults:
    """Read generation_config.json's own words; `do_sample: false` means the likeliest token."""

    def number(key: str, otherwise: float) -> float:
        value = said.get(key)
        return float(value) if isinstance(value, int | float) else otherwise

    greedy = said.get("do_sample") is False
    return Defaults(
        temperature=0.0 if greedy else max(number("temperature", 1.0), 0.0),
        top_k=int(max(number("top_k", 0), 0)),
        top_p=min(max(number("top_p", 1.0), 1e-6), 1.0),
        min_p=min(max(number("min_p", 0.0), 0.0), 1.0),
        repetition_penalty=max(number("repetition_penalty", 1.0), 1e-3),
    )


class Drawer:
    """The settings and the state of one sequence."""

    __slots__ = (
        "bias",
        "counts",
        "frequency",
        "mask",
        "min_p",
        "presence",
        "prompt",
        "repetition",
        "rng",
        "temperature",
        "top_k",
        "top_p",
    )

    def __init__(
        self,
        sampling: Sampling,
        defaults: Defaults,
        prompt: list[int],
        *,
        index: int = 0,
        mask: TokenMask | None = None,
    ) -> None:
        def pick(value: float | None, default: float) -> float:
            return default if value is None else value

        self.temperature = pick(sampling.temperature, defaults.temperature)
        self.top_k = int(pick(sampling.top_k, defaults.top_k))
        self.top_p = pick(sampling.top_p, defaults.top_p)
        self.min_p = pick(sampling.min_p, defaults.min_p)
        self.presence = sampling.presence_penalty
        self.frequency = sampling.frequency_penalty
        self.repetition = pick(sampling.repetition_penalty, defaults.repetition_penalty)
        self.bias = dict(sampling.logit_bias)
        self.prompt = set(prompt) if self.repetition != 1.0 else set()
        self.counts: dict[int, int] = {}
        self.mask = mask
        seed = None if sampling.seed is None else [sampling.seed % MAX_SEED, index]
        self.rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed)))

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken."""
        return self.temperature <= 0.0

    @property
    def shapes_logits(self) -> bool:
        """Whether logits are changed before the draw."""
        return bool(
            self.bias
            or self.mask is not None
            or self.presence
            or self.frequency
            or self.repetition != 1.0
        )

    def note(self, token: int) -> None:
        """Remember a token for the penalties."""
        if self.presence or self.frequency or self.repetition != 1.0:
            self.counts[token] = self.counts.get(token, 0) + 1

    def shape(self, logits: torch.Tensor) -> None:
        """Apply bias, penalties and mask to one row, in place.

        Presence and frequency count what was generated; the repetition penalty (CTRL, section 4.1)
        counts the prompt too.
        """
        if self.repetition != 1.0 and (seen := self.prompt | self.counts.keys()):
            at = torch.tensor(sorted(seen), device=logits.device)
            values = logits[at]
            logits[at] = torch.where(values > 0, values / self.repetition, values * self.repetition)
        if self.counts and (self.presence or self.frequency):
            at = torch.tensor(list(self.counts), device=logits.device)
            times = torch.tensor(list(self.counts.values()), device=logits.device)
            logits[at] -= self.presence + self.frequency * times.to(logits.dtype)
        for token, bias in self.bias.items():
            logits[token] += bias
        if self.mask is not None:
            allowed = torch.from_numpy(self.mask.allowed(logits.shape[0]))
            logits.masked_fill_(~allowed.to(logits.device), float("-inf"))


def draw(logits: torch.Tensor, drawers: list[Drawer]) -> list[int]:
    """Draw one token per row of `logits` [rows, vocabulary], float32, which this may overwrite."""
    for row, drawer in enumerate(drawers):
        if drawer.shapes_logits:
            drawer.shape(logits[row])
    tokens = [0] * len(drawers)
    greedy = [row for row, drawer in enumerate(drawers) if drawer.greedy]
    if greedy:
        best = logits.argmax(dim=-1).tolist()
        for row in greedy:
            tokens[row] = best[row]
    few, many = _split(drawers, logits.shape[1])
    if few:
        _draw_candidates(logits, drawers, few, tokens)
    if many:
        _draw_blocks(logits, drawers, many, tokens)
    return tokens


def _split(drawers: list[Drawer], size: int) -> tuple[list[int], list[int]]:
    """Sort sampling rows into those with few candidates and those that draw from everything."""
    few: list[int] = []
    many: list[int] = []
    for row, drawer in enumerate(drawers):
        if drawer.greedy:
            continue
        (few if 0 < drawer.top_k <= min(_CANDIDATES, size) else many).append(row)
    return few, many


def _scaled(logits: torch.Tensor, drawers: list[Drawer], rows: list[int]) -> torch.Tensor:
    warm = torch.tensor([drawers[r].temperature for r in rows], device=logits.device)
    picked = logits if len(rows) == logits.shape[0] else logits[rows]
    # A tiny temperature must not overflow to infinity: what is far below the best gets no weight.
    picked = picked - picked.amax(dim=-1, keepdim=True)
    return (picked / warm.unsqueeze(1)).clamp_(min=-1e4)


def _draw_candidates(
    logits: torch.Tensor, drawers: list[Drawer], rows: list[int], tokens: list[int]
) -> None:
    widest = max(drawers[row].top_k for row in rows)
    values, ids = _scaled(logits, drawers, rows).topk(widest, dim=-1)
    scores, names = values.cpu().numpy(), ids.cpu().numpy()
    for at, row in enumerate(rows):
        drawer = drawers[row]
        weights = np.exp(scores[at, : drawer.top_k])
        weights /= weights.sum()
        above = np.cumsum(weights) - weights
        kept = (above < drawer.top_p) & (weights >= drawer.min_p * weights[0])
        tokens[row] = int(names[at, _race(drawer, np.where(kept, weights, 0.0))])


def _draw_blocks(
    logits: torch.Tensor, drawers: list[Drawer], rows: list[int], tokens: list[int]
) -> None:
    weights = _scaled(logits, drawers, rows).exp_()
    if spare := -weights.shape[1] % _BLOCK:
        weights = torch.nn.functional.pad(weights, (0, spare))
    sums = weights.view(len(rows), -1, _BLOCK).sum(dim=-1).cpu().numpy()
    dense = weights.cpu().numpy()
    for at, row in enumerate(rows):
        tokens[row] = _draw_row(drawers[row], dense[at], sums[at])


def _draw_row(drawer: Drawer, weights: Floats, sums: Floats) -> int:
    total = float(sums.sum())
    for _ in range(_TRIES):
        token = _block_race(drawer, weights, sums)
        if _passes(drawer, weights, float(weights[token]), total):
            return token
    kept = np.where(weights >= _threshold(drawer, weights, total), weights, np.float32(0))
    return _block_race(drawer, kept, kept.reshape(-1, _BLOCK).sum(axis=1))


def _passes(drawer: Drawer, weights: Floats, weight: float, total: float) -> bool:
    """Whether a token of this weight is within top-k, top-p and min-p (weights are exp(x - max))."""
    if drawer.top_k and drawer.top_k < len(weights):
        return False  # rare, wide top-k: the threshold decides
    if weight < drawer.min_p:
        return False
    if drawer.top_p >= 1.0:
        return True
    above = float(weights[weights > weight].sum())
    return above < drawer.top_p * total


def _threshold(drawer: Drawer, weights: Floats, total: float) -> float:
    """The least weight that top-k, top-p and min-p leave."""
    falling = np.sort(weights)[::-1]
    if drawer.top_k and drawer.top_k < len(falling):
        falling = falling[: drawer.top_k]
        total = float(falling.sum())
    above = np.cumsum(falling) - falling
    kept = max(int(np.searchsorted(above, drawer.top_p * total)), 1)
    return max(float(falling[min(kept, len(falling)) - 1]), drawer.min_p, float(np.float32(1e-38)))


def _block_race(drawer: Drawer, weights: Floats, sums: Floats) -> int:
    block = _race(drawer, sums)
    start = block * _BLOCK
    return start + _race(drawer, weights[start : start + _BLOCK])


def _race(drawer: Drawer, weights: NDArray[np.floating]) -> int:
    """The first arrival among exponential clocks with these rates: index i with weight_i/sum."""
    noise = drawer.rng.standard_exponential(len(weights), dtype=np.float32)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        times = np.where(weights > 0, noise / weights, np.inf)
    return int(times.argmin())

"""Prompts that were computed before: their keys and values, for later prompts that begin alike.

Kept per scope (the requests of one API key) and never looked up across scopes, so that how soon a
first token comes tells nothing of another key's prompts. What is kept lives within the cells of the
running batch: the oldest goes before anything that runs or waits would be short of room.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

LEAST_TOKENS: Final = 64
"""Fewer tokens are sooner computed than kept and found."""
_MOST_KEPT: Final = 256
"""Entries are compared one by one with each new prompt."""

Columns = tuple[torch.Tensor, torch.Tensor] | None
"""One layer's keys and values of one row, [heads, tokens, size]; None: it shares another layer's."""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The first `tokens` tokens of a prompt, computed already; `layers` hold at least as many."""

    tokens: int
    layers: tuple[Columns, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    scope: int
    prompt: NDArray[np.int64]
    layers: tuple[Columns, ...]


class Prefixes:
    """What is kept, least recently used first. Counts cells; the caller says how many there may be."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, _Kept] = OrderedDict()
        self._next = 0
        self.cells = 0

    def find(self, scope: int | None, prompt: list[int]) -> Found | None:
        """Return the longest known beginning of `prompt` that leaves at least one token to compute."""
        if scope is None or len(prompt) <= LEAST_TOKENS:
            return None
        wanted = np.array(prompt[:-1])
        best, length = None, LEAST_TOKENS - 1
        for number, kept in self._kept.items():
            if kept.scope == scope and (alike := _alike(kept.prompt, wanted)) > length:
                best, length = number, alike
        if best is None:
            return None
        self._kept.move_to_end(best)
        return Found(length, self._kept[best].layers)

    def keep(self, scope: int, prompt: list[int], layers: tuple[Columns, ...]) -> None:
        """Keep a prompt, instead of those of the same scope that it continues."""
        tokens = np.array(prompt)
        for number, kept in list(self._kept.items()):
            if kept.scope == scope and _alike(kept.prompt, tokens) == len(kept.prompt):
                self._drop(number)
        self._kept[self._next] = _Kept(scope, tokens, layers)
        self._next += 1
        self.cells += len(prompt)
        self.shrink(self.cells, most=_MOST_KEPT)

    def shrink(self, cells: int, most: int = _MOST_KEPT) -> None:
        """Drop the least recently used until no more than `cells` are taken."""
        while self._kept and (self.cells > cells or len(self._kept) > most):
            self._drop(next(iter(self._kept)))

    def _drop(self, number: int) -> None:
        self.cells -= len(self._kept.pop(number).prompt)


def _alike(one: NDArray[np.int64], other: NDArray[np.int64]) -> int:
    """Length of the common beginning."""
    size = min(len(one), len(other))
    differ = one[:size] != other[:size]
    return int(differ.argmax()) if differ.any() else size

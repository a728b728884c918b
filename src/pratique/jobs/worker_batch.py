"""Forward passes for many sequences at once: prompts in padded groups, then one token per row.

`Batch` is the running set. Rows join it from a finished `Prefill` and leave it at any step; both cost
one copy of one row's keys and values. Logits that come out are float32, one row per sequence.
"""

import inspect
from typing import Any, Protocol

import torch

from pratique.jobs.worker_cache import COMPACT_COLUMNS, SlotCache


class Model:
    """A causal language model as the batch sees it."""

    def __init__(self, model: torch.nn.Module, device: torch.device) -> None:
        self._model = model
        self.device = device
        self._keeps_last = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._extra: dict[str, Any] = {"logits_to_keep": 1} if self._keeps_last else {}

    def forward(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        mask: torch.Tensor | None,
        cache: object | None,
    ) -> tuple[torch.Tensor, Any]:
        """Return the last column's logits [rows, vocabulary] (float32) and the cache."""
        out = self._model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            **self._extra,
        )
        return out.logits[:, -1].float(), out.past_key_values


class Prefill:
    """Prompts on their way into the batch, left-padded to the longest.

    Several prompts are computed in one pass; a single long one in pieces, so that the sequences
    that already run are not kept waiting.
    """

    def __init__(self, model: Model, prompts: list[list[int]]) -> None:
        self._model = model
        self.prompts = prompts
        self.cache = SlotCache()
        self.width = max(map(len, prompts))
        self._done = 0
        pads = [self.width - len(prompt) for prompt in prompts]
        self._ids = torch.tensor(
            [[0] * pad + prompt for pad, prompt in zip(pads, prompts, strict=True)],
            device=model.device,
        )
        self._starts = torch.tensor(pads, device=model.device).unsqueeze(1)
        self._padded = any(pads)
        self.cache.reserve(len(prompts), self.width)

    def advance(self, budget: int) -> torch.Tensor | None:
        """Compute up to `budget` more columns; return the first tokens' logits once all are done."""
        end = self.width if self._padded else min(self.width, self._done + budget)
        columns = torch.arange(self._done, end, device=self._model.device)
        positions = (columns.unsqueeze(0) - self._starts).clamp_(min=0)
        mask = None
        if self._padded:
            mask = (torch.arange(end, device=self._model.device) >= self._starts).long()
        logits, _ = self._model.forward(self._ids[:, self._done : end], positions, mask, self.cache)
        self.cache.advance(end - self._done)
        self._done = end
        return logits if end == self.width else None


class Lanes(Protocol):
    """A running set of sequences: batched where the model allows it, one by one where not."""

    def __len__(self) -> int: ...

    def prefill(self, prompts: list[list[int]]) -> Any:  # noqa: ANN401 - Prefill or its solo kin
        """Begin to compute prompts."""
        ...

    def join(self, staged: Any, source: int) -> None:  # noqa: ANN401 - what prefill returned
        """Append row `source` of a finished prefill."""
        ...

    def leave(self, row: int) -> None:
        """Drop a row; the last row takes its place."""
        ...

    def step(self, tokens: list[int]) -> torch.Tensor:
        """Feed each row its newest token; return the next logits, [rows, vocabulary]."""
        ...


class Batch:
    """The running set on one `SlotCache` of at most `cells` rows times columns."""

    def __init__(self, model: Model, cells: int) -> None:
        self._model = model
        self._cache = SlotCache(cells)
        self._starts: list[int] = []

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def columns(self) -> int:
        """Cache columns in use."""
        return self._cache.length

    def prefill(self, prompts: list[list[int]]) -> Prefill:
        """Begin to compute prompts."""
        return Prefill(self._model, prompts)

    def join(self, staged: Prefill, source: int) -> None:
        """Append row `source` of a finished prefill; everybody else moves right if it is longer."""
        tokens = len(staged.prompts[source])
        cache, rows = self._cache, len(self._starts)
        if not rows:
            cache.book.length = 0
        if (missing := tokens - cache.length) > 0:
            cache.shift(rows, missing)
            self._starts = [start + missing for start in self._starts]
        cache.reserve(rows + 1, 1)
        cache.adopt(staged.cache, source, rows, tokens)
        self._starts.append(cache.length - tokens)

    def leave(self, row: int) -> None:
        """Drop a row; the last row takes its place."""
        last = len(self._starts) - 1
        if row != last:
            self._cache.move_row(last, row)
            self._starts[row] = self._starts[last]
        self._starts.pop()
        if self._starts and (spare := min(self._starts)) >= COMPACT_COLUMNS:
            self._cache.shift(len(self._starts), -spare)
            self._starts = [start - spare for start in self._starts]

    def step(self, tokens: list[int]) -> torch.Tensor:
        """Feed each row its newest token; return the next logits, [rows, vocabulary]."""
        cache, device = self._cache, self._model.device
        cache.reserve(len(tokens), 1)
        ids = torch.tensor(tokens, device=device).unsqueeze(1)
        starts = torch.tensor(self._starts, device=device).unsqueeze(1)
        mask = None
        if any(self._starts):
            mask = (torch.arange(cache.length + 1, device=device) >= starts).long()
        logits, _ = self._model.forward(ids, cache.length - starts, mask, cache)
        cache.advance(1)
        return logits


class SoloPrefill:
    """Prompts of a model whose state cannot be padded, one after the other."""

    def __init__(self, model: Model, prompts: list[list[int]]) -> None:
        self._model = model
        self.prompts = prompts
        self.states: list[Any] = []

    def advance(self, budget: int) -> torch.Tensor | None:
        """Compute all prompts; their state is the model's own kind of cache."""
        del budget
        rows = []
        for prompt in self.prompts:
            ids = torch.tensor([prompt], device=self._model.device)
            positions = torch.arange(len(prompt), device=self._model.device).unsqueeze(0)
            logits, state = self._model.forward(ids, positions, None, None)
            rows.append(logits)
            self.states.append([state, len(prompt)])
        return torch.cat(rows)


class Solo:
    """The running set of a model with recurrent or otherwise private state: a pass per row."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._states: list[Any] = []

    def __len__(self) -> int:
        return len(self._states)

    def prefill(self, prompts: list[list[int]]) -> SoloPrefill:
        """Begin to compute prompts."""
        return SoloPrefill(self._model, prompts)

    def join(self, staged: SoloPrefill, source: int) -> None:
        """Append row `source`; a second choice of the same prompt gets its own copy of the state."""
        import copy

        state, length = staged.states[source]
        self._states.append([copy.deepcopy(state), length])

    def leave(self, row: int) -> None:
        """Drop a row; the last row takes its place."""
        self._states[row] = self._states[-1]
        self._states.pop()

    def step(self, tokens: list[int]) -> torch.Tensor:
        """Feed each row its newest token; return the next logits, [rows, vocabulary]."""
        rows = []
        for entry, token in zip(self._states, tokens, strict=True):
            ids = torch.tensor([[token]], device=self._model.device)
            positions = torch.tensor([[entry[1]]], device=self._model.device)
            logits, entry[0] = self._model.forward(ids, positions, None, entry[0])
            entry[1] += 1
            rows.append(logits)
        return torch.cat(rows)

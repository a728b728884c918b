"""Forward passes for many sequences at once: prompts in padded groups, then one token per row.

`Batch` is the running set. Rows join it from a finished `Prefill` and leave it at any step; both cost
one copy of one row's keys and values. Logits that come out are float32, one row per sequence.
"""

import inspect
from typing import Any, Final, Protocol

import torch

from pratique.jobs.worker_buffers import copied
from pratique.jobs.worker_cache import COMPACT_COLUMNS, SlotCache
from pratique.jobs.worker_memory import is_out_of_memory
from pratique.jobs.worker_prefix import LEAST_TOKENS, Found, Prefixes

STATES: Final = ("past_key_values", "cache_params", "state")
"""What families call that which they keep of a sequence (Mamba the second, RWKV the third)."""


class Model:
    """A causal language model as the batch sees it."""

    def __init__(self, model: torch.nn.Module, device: torch.device) -> None:
        self._model = model
        self.device = device
        # Of the last column alone; and nothing that only training needs, whatever the configuration says.
        wanted = {"logits_to_keep": 1, "output_router_logits": False}
        known = inspect.signature(model.forward).parameters
        self._extra: dict[str, Any] = {name: wanted[name] for name in wanted if name in known}
        self._state = next((name for name in STATES if name in known), STATES[0])

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
            use_cache=True,
            **{self._state: cache},
            **self._extra,
        )
        return out.logits[:, -1].float(), getattr(out, self._state)


class Prefill:
    """Prompts on their way into the batch, left-padded to the longest.

    Several prompts are computed in one pass; a single long one in pieces, so that the sequences
    that already run are not kept waiting. `known` has what was computed before of each prompt.
    """

    def __init__(
        self, model: Model, prompts: list[list[int]], known: list[Found | None] | None = None
    ) -> None:
        self._model = model
        self.prompts = prompts
        self.cache = SlotCache()
        self.width = max(map(len, prompts))
        known = known or [None] * len(prompts)
        pads = [self.width - len(prompt) for prompt in prompts]
        self._ids = torch.tensor(
            [[0] * pad + prompt for pad, prompt in zip(pads, prompts, strict=True)],
            device=model.device,
        )
        self._starts = torch.tensor(pads, device=model.device).unsqueeze(1)
        self._padded = any(pads)
        self.cache.reserve(len(prompts), self.width)
        # All rows go on from one column: who knows more than that computes the rest of it again.
        self._done = min(
            pad + (found.tokens if found else 0) for pad, found in zip(pads, known, strict=True)
        )
        self.cached = [
            max(self._done - pad, 0) if found else 0 for pad, found in zip(pads, known, strict=True)
        ]
        for row, (pad, found) in enumerate(zip(pads, known, strict=True)):
            if found and self.cached[row]:
                self.cache.plant(row, pad, self._done, found.layers)
        self.cache.advance(self._done)

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

    def find(self, scope: int | None, prompt: list[int]) -> Found | None:
        """Return what is known of a prompt's beginning."""
        ...

    def prefill(self, prompts: list[list[int]], known: list[Found | None]) -> Any:  # noqa: ANN401 - Prefill or its solo kin
        """Begin to compute prompts."""
        ...

    def keep(self, staged: Any, source: int, scope: int | None) -> None:  # noqa: ANN401 - as above
        """Keep prompt `source` of a finished prefill for later ones of its scope, if there is room."""
        ...

    def forget(self) -> None:
        """Drop what is kept of earlier prompts."""
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

    def undo(self) -> bool:
        """Take back the newest step, whole or broken off. False: the rows cannot go on."""
        ...


class Batch:
    """The running set on one `SlotCache`; with what is kept of prompts at most `cells` columns."""

    def __init__(self, model: Model, cells: int) -> None:
        self._model = model
        self._cells = cells
        self._cache = SlotCache(cells)
        self._prefixes = Prefixes()
        self._starts: list[int] = []
        self._before = 0

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def columns(self) -> int:
        """Cache columns in use."""
        return self._cache.length

    @property
    def cells(self) -> int:
        """Cells allocated for rows and kept prompts."""
        return self._cache.allocated + self._prefixes.cells

    def find(self, scope: int | None, prompt: list[int]) -> Found | None:
        """Return what is known of a prompt's beginning."""
        return self._prefixes.find(scope, prompt)

    def prefill(self, prompts: list[list[int]], known: list[Found | None]) -> Prefill:
        """Begin to compute prompts."""
        return Prefill(self._model, prompts, known)

    def keep(self, staged: Prefill, source: int, scope: int | None) -> None:
        """Keep a prompt unless most of it is kept already, or the rows need the room."""
        prompt = staged.prompts[source]
        room = min(self._cells - self._cache.allocated, self._cells // 2)
        if (
            scope is None
            or len(prompt) > room
            or len(prompt) - staged.cached[source] < LEAST_TOKENS
        ):
            return
        self._prefixes.shrink(room - len(prompt))
        try:
            views = staged.cache.columns(source, len(prompt))
            layers = tuple(view and (copied(view[0]), copied(view[1])) for view in views)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            self.forget()
            return
        self._prefixes.keep(scope, prompt, layers)

    def forget(self) -> None:
        """Drop what is kept of earlier prompts."""
        self._prefixes.shrink(0)

    def _reserve(self, rows: int, columns: int) -> None:
        """Make room for rows; kept prompts make way."""
        self._cache.taken = self._prefixes.cells
        self._cache.reserve(rows, columns)
        self._prefixes.shrink(self._cells - self._cache.allocated)

    def join(self, staged: Prefill, source: int) -> None:
        """Append row `source` of a finished prefill; everybody else moves right if it is longer."""
        tokens = len(staged.prompts[source])
        cache, rows = self._cache, len(self._starts)
        missing = max(tokens - cache.length, 0)
        self._reserve(rows + 1, missing + 1)
        if missing:
            cache.shift(rows, missing)
            self._starts = [start + missing for start in self._starts]
        end = cache.length
        cache.plant(rows, end - tokens, end, staged.cache.columns(source, tokens))
        self._starts.append(cache.length - tokens)

    def leave(self, row: int) -> None:
        """Drop a row; the last row takes its place."""
        last = len(self._starts) - 1
        if row != last:
            self._cache.move_row(last, row)
            self._starts[row] = self._starts[last]
        self._starts.pop()
        if not self._starts:
            self._cache.clear()
        elif (spare := min(self._starts)) >= COMPACT_COLUMNS:
            self._cache.shift(len(self._starts), -spare)
            self._starts = [start - spare for start in self._starts]

    def step(self, tokens: list[int]) -> torch.Tensor:
        """Feed each row its newest token; return the next logits, [rows, vocabulary]."""
        cache, device = self._cache, self._model.device
        self._before = cache.length
        self._reserve(len(tokens), 1)
        ids = torch.tensor(tokens, device=device).unsqueeze(1)
        starts = torch.tensor(self._starts, device=device).unsqueeze(1)
        mask = None
        if any(self._starts):
            mask = (torch.arange(cache.length + 1, device=device) >= starts).long()
        logits, _ = self._model.forward(ids, cache.length - starts, mask, cache)
        cache.advance(1)
        return logits

    def undo(self) -> bool:
        """Take back the newest step: its column is written again by the next one."""
        self._cache.book.length = self._before
        return True


class SoloPrefill:
    """Prompts of a model whose state cannot be padded, one after the other."""

    def __init__(self, model: Model, prompts: list[list[int]]) -> None:
        self._model = model
        self.prompts = prompts
        self.cached = [0] * len(prompts)
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

    def find(self, scope: int | None, prompt: list[int]) -> Found | None:
        """Return None: a state of this kind has no beginning that could be cut off and shared."""
        del scope, prompt
        return None

    def prefill(self, prompts: list[list[int]], known: list[Found | None]) -> SoloPrefill:
        """Begin to compute prompts."""
        del known
        return SoloPrefill(self._model, prompts)

    def keep(self, staged: SoloPrefill, source: int, scope: int | None) -> None:
        """Keep nothing."""

    def forget(self) -> None:
        """Drop nothing."""

    def undo(self) -> bool:
        """Return False: states have changed in place."""
        return False

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

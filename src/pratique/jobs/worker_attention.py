"""Attention of the newest tokens, one per sequence, over no more than each of them can see.

In the batch all sequences end at one column and a mask hides what is before their beginning
(worker_cache). torch's kernel computes what is hidden too, and takes longer in half precision than in
single precision. Here neighbours are taken together only where
that costs less than the columns that it wastes, and half precision is widened for the computation.

Everything else (prompts, biases, masks of another kind) goes the library's own way.
"""

import functools
from typing import Any, Final

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

_NAME: Final = "sdpa"
_HALF: Final = (torch.bfloat16, torch.float16)
_CALL: Final = 300
"""What a further call costs, in columns of one head that one thread attends to."""
_MOST_ROWS: Final = 32
"""Rows that are taken together at most."""
_WIDENED_CELLS: Final = 2048
"""Rows are widened together up to so many cells."""
WIDENED: Final = 2**18
"""Elements that are widened at a time for each thread, so that they stay in its cache; one head at least."""
WIDENED_THREADS: Final = 16
"""More threads do not widen more."""
_UNUSUAL: Final = ("position_bias", "cache", "softcap", "output_attentions", "s_aux")

Run = tuple[int, int, int]
"""Rows from, rows up to, and the first column that any of them sees."""


def install() -> None:
    """Make this the process's scaled-dot-product attention."""
    ALL_ATTENTION_FUNCTIONS[_NAME] = attention


def attention(  # noqa: PLR0917 - the library's signature
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,  # noqa: ANN401 - as above
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Attend; shapes [rows, heads, columns, size], the result [rows, columns, heads, size]."""
    first = None
    usual = not dropout and all(kwargs.get(name) is None for name in _UNUSUAL)
    # Of a model that a CPU and a GPU share, the layers on the GPU have kernels that do better.
    if query.shape[2] == 1 and usual and query.device.type == "cpu":
        first = _first_seen(attention_mask, query, key)
    if first is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, **kwargs
        )
    return _seen_alone(query, key, value, attention_mask, first, scaling), None


def _seen_alone(  # noqa: PLR0917 - what the library hands over, and what was read out of the mask
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    first: tuple[int, ...],
    scale: float | None,
) -> torch.Tensor:
    (rows, heads), (groups, columns) = query.shape[:2], key.shape[1:3]
    packed = query.reshape(rows, groups, heads // groups, query.shape[3])
    whole = query.new_empty(rows, groups, heads // groups, value.shape[3])
    half, threads = query.dtype in _HALF, torch.get_num_threads()
    for begin, end, low in _runs(first, columns, groups, threads, half=half):
        seen = None
        if mask is not None and any(f != low for f in first[begin:end]):
            seen = mask[begin:end, :, :, low:]
        step = groups
        if half:
            wide = (end - begin) * (columns - low) * max(key.shape[3], value.shape[3])
            step = max(1, WIDENED * min(threads, WIDENED_THREADS) // wide)
        for head in range(0, groups, step):
            part = slice(begin, end), slice(head, head + step)
            whole[part] = scaled_dot_product_attention(
                _widened(packed[part]),
                _widened(key[part][:, :, low:]),
                _widened(value[part][:, :, low:]),
                attn_mask=seen,
                scale=scale,
            )
    return whole.view(rows, 1, heads, value.shape[3])


def _widened(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.dtype in _HALF else tensor


_newest: list[tuple[torch.Tensor, tuple[int, ...] | None]] = []
"""What was read out of the newest masks: all layers of a kind share one. Held, so that `is` can tell."""


def _first_seen(
    mask: torch.Tensor | None, query: torch.Tensor, key: torch.Tensor
) -> tuple[int, ...] | None:
    """Return each row's first column, if a row sees all from there on; None: the library's own way."""
    rows = query.shape[0]
    if key.shape[0] != rows or query.shape[1] % key.shape[1]:
        return None
    if mask is None:
        return (0,) * rows if query.dtype in _HALF else None
    if mask.dtype != torch.bool or mask.shape != (rows, 1, 1, key.shape[2]):
        return None
    for known, first in _newest:
        if known is mask:
            return first
    found = _read(mask[:, 0, 0])
    _newest.insert(0, (mask, found))
    del _newest[2:]
    return found


def _read(seen: torch.Tensor) -> tuple[int, ...] | None:
    counts = seen.sum(dim=-1)
    first = seen.shape[1] - counts
    whole = (seen.to(torch.uint8).argmax(dim=-1) == first) & (counts > 0)
    return tuple(first.tolist()) if bool(whole.all()) else None


@functools.lru_cache(maxsize=4)
def _runs(
    first: tuple[int, ...], columns: int, groups: int, threads: int, *, half: bool
) -> tuple[Run, ...]:
    """Cut the rows into runs of neighbours so that calls and wasted columns together cost least.

    `groups` heads of a row can be attended to at once, each by one thread.
    """
    # For each number of rows: the least cost, where the last run begins, and its first column.
    best: list[tuple[int, int, int]] = [(0, 0, 0)]
    for end in range(1, len(first) + 1):
        low, found = columns, None
        for begin in range(end - 1, max(end - _MOST_ROWS, 0) - 1, -1):
            low = min(low, first[begin])
            rows, width = end - begin, columns - low
            if half and rows > 1 and rows * width > _WIDENED_CELLS:
                break
            cost = best[begin][0] + _CALL + -(-rows * groups // threads) * width
            if found is None or cost < found[0]:
                found = cost, begin, low
        assert found is not None
        best.append(found)
    runs: list[Run] = []
    end = len(first)
    while end:
        _, begin, low = best[end]
        runs.append((begin, end, low))
        end = begin
    return tuple(reversed(runs))

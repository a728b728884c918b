"""One key-value cache for sequences that come and go, without a copy per token.

All rows end at the same column (`length`), so one forward pass serves them whatever their ages; a
row's tokens are the columns from its `start` on, what lies before is masked. Writing happens in
place in preallocated buffers; transformers' own DynamicCache copies every key on every token.
"""

from typing import Final

import torch
from transformers.cache_utils import Cache, DynamicLayer

GROW_COLUMNS: Final = 128
COMPACT_COLUMNS: Final = 64


class Book:
    """What all layers share: `length` columns are filled, `capacity` columns for `rows` exist."""

    __slots__ = ("capacity", "length", "rows")

    def __init__(self) -> None:
        self.rows = 0
        self.length = 0
        self.capacity = 0


class SlotLayer(DynamicLayer):  # type: ignore[misc]  # transformers has no annotations
    """One layer's buffers, `[rows, heads, capacity, size]`; keys and values may differ in size."""

    is_sliding = False  # sliding layers keep all columns too: their mask forgets the old ones

    def __init__(self, book: Book) -> None:
        super().__init__()
        self.book = book

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write new columns after `length` and return everything up to them, without copying."""
        rows, length = key_states.shape[0], self.book.length
        end = length + key_states.shape[2]
        if self.keys is None or self.keys.shape[0] < rows or self.keys.shape[2] < end:
            self._grow(key_states, value_states, rows, end)
        assert self.keys is not None
        assert self.values is not None
        self.keys[:rows, :, length:end] = key_states
        self.values[:rows, :, length:end] = value_states
        return self.keys[:rows, :, :end], self.values[:rows, :, :end]

    def _grow(self, keys: torch.Tensor, values: torch.Tensor, rows: int, end: int) -> None:
        rows = max(rows, self.book.rows)
        capacity = max(self.book.capacity, end)
        self.keys = _grown(self.keys, keys, rows, capacity, self.book.length)
        self.values = _grown(self.values, values, rows, capacity, self.book.length)
        self.is_initialized = True

    def get_seq_length(self) -> int:
        """Return the filled columns."""
        return self.book.length

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the columns that a mask has to cover, and where they begin."""
        return self.book.length + query_length, 0


def _grown(
    old: torch.Tensor | None, like: torch.Tensor, rows: int, capacity: int, length: int
) -> torch.Tensor:
    new = like.new_zeros(rows, like.shape[1], capacity, like.shape[3])
    if old is not None and length:
        kept = min(rows, old.shape[0])
        new[:kept, :, :length] = old[:kept, :, :length]
    return new


class SlotCache(Cache):  # type: ignore[misc]  # as above
    """A cache whose rows can be added, moved and dropped between forward passes.

    `reserve` before a forward pass, `advance` after it.
    """

    def __init__(self) -> None:
        self.book = Book()
        super().__init__(layer_class_to_replicate=self._layer)  # type: ignore[arg-type]  # a factory will do

    def _layer(self) -> SlotLayer:
        return SlotLayer(self.book)

    @property
    def length(self) -> int:
        """Filled columns."""
        return self.book.length

    def reserve(self, rows: int, columns: int) -> None:
        """Make the next growth leave room for `rows` and for `columns` more."""
        book = self.book
        book.rows = rows
        wanted = book.length + columns
        if wanted > book.capacity:
            book.capacity = -(-wanted // GROW_COLUMNS) * GROW_COLUMNS

    def advance(self, columns: int) -> None:
        """Count columns that a forward pass wrote."""
        self.book.length += columns

    def clear(self) -> None:
        """Drop everything, buffers too."""
        self.layers.clear()
        self.book.rows = self.book.length = self.book.capacity = 0

    def move_row(self, source: int, target: int) -> None:
        """Copy one row over another."""
        length = self.book.length
        for layer in self._filled():
            layer.keys[target, :, :length] = layer.keys[source, :, :length]
            layer.values[target, :, :length] = layer.values[source, :, :length]

    def shift(self, rows: int, by: int) -> None:
        """Move the first `rows` rows right by `by` columns, or left where `by` is negative.

        What falls off at the left must be masked; new columns at the left hold zeros.
        """
        old = self.book.length
        if by > 0:
            self.reserve(max(rows, self.book.rows), by)
        self.book.length = old + by
        for layer in self._filled():
            layer.keys = _shifted(layer.keys, rows, old, by, self.book.capacity)
            layer.values = _shifted(layer.values, rows, old, by, self.book.capacity)

    def adopt(self, other: "SlotCache", source: int, target: int, tokens: int) -> None:
        """Copy the last `tokens` columns of a row of `other` to the end of row `target` here."""
        end, from_end = self.book.length, other.book.length
        while len(self.layers) < len(other.layers):
            self.layers.append(self._layer())
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            if theirs.keys is None:  # a layer that shares another layer's keys
                continue
            if mine.keys is None or mine.keys.shape[0] <= target or mine.keys.shape[2] < end:
                mine._grow(theirs.keys, theirs.values, target + 1, end)  # noqa: SLF001 - same module
            mine.keys[target, :, : end - tokens] = 0
            mine.values[target, :, : end - tokens] = 0
            mine.keys[target, :, end - tokens : end] = theirs.keys[
                source, :, from_end - tokens : from_end
            ]
            mine.values[target, :, end - tokens : end] = theirs.values[
                source, :, from_end - tokens : from_end
            ]

    def _filled(self) -> list[SlotLayer]:
        return [layer for layer in self.layers if layer.keys is not None]


def _shifted(tensor: torch.Tensor, rows: int, length: int, by: int, capacity: int) -> torch.Tensor:
    new = tensor
    if by > 0:
        new = tensor.new_zeros(tensor.shape[0], tensor.shape[1], capacity, tensor.shape[3])
        new[:rows, :, by : length + by] = tensor[:rows, :, :length]
    else:
        new[:rows, :, : length + by] = tensor[:rows, :, -by:length].clone()
    return new

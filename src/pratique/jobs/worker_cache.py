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


class SlotLayer(DynamicLayer):  # type: ignore[no-untyped-call]  # transformers' own class hook
    """One layer's buffers, `[rows, heads, capacity, size]`; keys and values may differ in size."""

    is_sliding = False  # sliding layers keep all columns too: their mask forgets the old ones

    def __init__(self, book: Book) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # transformers'
        self.book = book

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: object, **__: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write new columns after `length` and return everything up to them, without copying."""
        rows, length = key_states.shape[0], self.book.length
        end = length + key_states.shape[2]
        keys, values = self.room(key_states, value_states, rows, end)
        keys[:rows, :, length:end] = key_states
        values[:rows, :, length:end] = value_states
        return keys[:rows, :, :end], values[:rows, :, :end]

    def room(
        self, keys: torch.Tensor, values: torch.Tensor, rows: int, end: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return buffers of at least `rows` and `end` columns, for tensors like those given."""
        if self.keys is None or self.keys.shape[0] < rows or self.keys.shape[2] < end:
            rows = max(rows, self.book.rows)
            capacity = max(self.book.capacity, end)
            self.keys = _grown(self.keys, keys, rows, capacity, self.book.length)
            self.values = _grown(self.values, values, rows, capacity, self.book.length)
            self.is_initialized = True
        assert self.keys is not None
        assert self.values is not None
        return self.keys, self.values

    def get_seq_length(self) -> int:
        """Return the filled columns."""
        return self.book.length

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the columns that a mask has to cover, and where they begin."""
        return self.book.length + query_length, 0


def _grown(
    old: torch.Tensor | None, like: torch.Tensor, rows: int, capacity: int, length: int
) -> torch.Tensor:
    """Return a larger buffer. It holds zeros: what is masked is still multiplied, and must be finite."""
    new = like.new_zeros(rows, like.shape[1], capacity, like.shape[3])
    if old is not None and length:
        kept = min(rows, old.shape[0])
        new[:kept, :, :length] = old[:kept, :, :length]
    return new


class SlotCache(Cache):
    """A cache whose rows can be added, moved and dropped between forward passes.

    `reserve` before a forward pass, `advance` after it. `cells` bounds rows times columns of what is
    allocated ahead of need.
    """

    def __init__(self, cells: int = 0) -> None:
        self.book = Book()
        self._cells = cells
        super().__init__(layer_class_to_replicate=self._layer)  # type: ignore[arg-type]  # a factory will do

    def _layer(self) -> SlotLayer:
        return SlotLayer(self.book)

    @property
    def length(self) -> int:
        """Filled columns."""
        return self.book.length

    def reserve(self, rows: int, columns: int) -> None:
        """Make the next growth leave room for `columns` more, and for rows ahead if cells permit."""
        book = self.book
        wanted = book.length + columns
        if wanted > book.capacity:
            book.capacity = -(-wanted // GROW_COLUMNS) * GROW_COLUMNS
            book.rows = rows
        if rows > book.rows:
            affordable = self._cells // max(book.capacity, 1)
            book.rows = max(rows, min(2 * book.rows, affordable))

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
        for _, keys, values in self._filled():
            keys[target, :, :length] = keys[source, :, :length]
            values[target, :, :length] = values[source, :, :length]

    def shift(self, rows: int, by: int) -> None:
        """Move the first `rows` rows right by `by` columns, or left where `by` is negative.

        What falls off at the left must be masked; new columns at the left hold zeros.
        """
        old = self.book.length
        if by > 0:
            self.reserve(max(rows, 1), by)
        self.book.length = old + by
        for layer, keys, values in self._filled():
            room = max(self.book.rows, rows)
            layer.keys = _shifted(keys, rows, old, by, (room, self.book.capacity))
            layer.values = _shifted(values, rows, old, by, (room, self.book.capacity))

    def adopt(self, other: "SlotCache", source: int, target: int, tokens: int) -> None:
        """Copy the last `tokens` columns of a row of `other` to the end of row `target` here."""
        end, start = self.book.length, self.book.length - tokens
        first = other.book.length - tokens
        while len(self.layers) < len(other.layers):
            self.layers.append(self._layer())
        # Layers that share another layer's keys stay empty on both sides.
        for at, (theirs, their_keys, their_values) in other._numbered():  # noqa: SLF001 - same class
            del theirs
            mine = self.layers[at]
            assert isinstance(mine, SlotLayer)
            keys, values = mine.room(their_keys, their_values, target + 1, end)
            keys[target, :, :start] = 0
            values[target, :, :start] = 0
            keys[target, :, start:end] = their_keys[source, :, first : first + tokens]
            values[target, :, start:end] = their_values[source, :, first : first + tokens]

    def _filled(self) -> "list[tuple[SlotLayer, torch.Tensor, torch.Tensor]]":
        return [found for _, found in self._numbered()]

    def _numbered(self) -> "list[tuple[int, tuple[SlotLayer, torch.Tensor, torch.Tensor]]]":
        found = []
        for at, layer in enumerate(self.layers):
            assert isinstance(layer, SlotLayer)
            if layer.keys is not None and layer.values is not None:
                found.append((at, (layer, layer.keys, layer.values)))
        return found


def _shifted(
    tensor: torch.Tensor, rows: int, length: int, by: int, room: tuple[int, int]
) -> torch.Tensor:
    if by < 0:
        tensor[:rows, :, : length + by] = tensor[:rows, :, -by:length].clone()
        return tensor
    new = tensor.new_zeros(room[0], tensor.shape[1], room[1], tensor.shape[3])
    new[:rows, :, by : length + by] = tensor[:rows, :, :length]
    return new

"""One key-value cache for sequences that come and go, without a copy per token.

All rows end at the same column (`length`), so one forward pass serves them whatever their ages; a
row's tokens are the columns from its `start` on, what lies before is masked. Writing happens in
place in preallocated buffers; transformers' own DynamicCache copies every key on every token.
"""

import functools
from typing import Final

import torch
from transformers.cache_utils import Cache, DynamicLayer

from pratique.jobs.worker_buffers import zeros
from pratique.jobs.worker_prefix import Columns

GROW_COLUMNS: Final = 128
COMPACT_COLUMNS: Final = 64


def grown(columns: int) -> int:
    """Return how many columns are allocated for so many."""
    return -(-columns // GROW_COLUMNS) * GROW_COLUMNS


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
    new = zeros(like, (rows, like.shape[1], capacity, like.shape[3]))
    if old is not None and length:
        kept = min(rows, old.shape[0])
        new[:kept, :, :length] = old[:kept, :, :length]
    return new


class SlotCache(Cache):
    """A cache whose rows can be added, moved and dropped between forward passes.

    `reserve` before a forward pass, `advance` after it. `cells` bounds rows times columns of what is
    allocated ahead of need; `taken` of them are used for something else just now.
    """

    def __init__(self, cells: int = 0) -> None:
        self.book = Book()
        self.cells = cells
        self.taken = 0
        # Not a method of this object: a cache in a cycle outlives its use until the next collection,
        # and every finished prompt's keys stayed in memory with it.
        factory = functools.partial(SlotLayer, self.book)
        super().__init__(layer_class_to_replicate=factory)  # type: ignore[arg-type]  # it will do

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
            book.capacity = max(wanted, min(grown(wanted), self.cells // max(rows, 1)))
            book.rows = rows
        if rows > book.rows:
            affordable = (self.cells - self.taken) // max(book.capacity, 1)
            book.rows = max(rows, min(2 * book.rows, affordable))
            # Columns were rounded up for fewer rows than there are now.
            book.capacity = max(wanted, min(book.capacity, self.cells // rows))

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

    @property
    def allocated(self) -> int:
        """Cells that the buffers hold, or will once all layers have grown."""
        held = (keys.shape[0] * keys.shape[2] for _, keys, _ in self._filled())
        return max(self.book.rows * self.book.capacity, *held, 0)

    def shift(self, rows: int, by: int) -> None:
        """Move the first `rows` rows right by `by` columns, or left where `by` is negative.

        What falls off at the left must be masked; new columns at the left hold zeros. Without memory
        for it, everything is as it was before.
        """
        old = self.book.length
        if by < 0:
            for _, keys, values in self._filled():
                _shift_left(keys, rows, old, -by)
                _shift_left(values, rows, old, -by)
            self.book.length = old + by
            return
        self.reserve(max(rows, 1), by)
        room = (max(self.book.rows, rows), self.book.capacity)
        moved: list[SlotLayer] = []
        try:
            for layer, keys, values in self._filled():
                wider = _shifted(keys, rows, old, by, room), _shifted(values, rows, old, by, room)
                layer.keys, layer.values = wider
                moved.append(layer)
        except BaseException:
            for layer in moved:
                assert layer.keys is not None
                assert layer.values is not None
                _shift_left(layer.keys, rows, old + by, by)
                _shift_left(layer.values, rows, old + by, by)
            raise
        self.book.length = old + by

    def columns(self, row: int, tokens: int) -> tuple[Columns, ...]:
        """Return views of a row's last `tokens` columns, layer by layer."""
        first, end = self.book.length - tokens, self.book.length
        found: list[Columns] = [None] * len(self.layers)
        for at, (_, keys, values) in self._numbered():
            found[at] = keys[row, :, first:end], values[row, :, first:end]
        return tuple(found)

    def plant(self, row: int, start: int, end: int, layers: tuple[Columns, ...]) -> None:
        """Copy columns into `row`, from `start` up to `end`; what lies before holds zeros.

        Layers that share another layer's keys stay empty here as they are there.
        """
        while len(self.layers) < len(layers):
            self.layers.append(self._layer())
        for mine, theirs in zip(self.layers, layers, strict=False):
            assert isinstance(mine, SlotLayer)
            if theirs is None:
                continue
            room = mine.room(theirs[0].unsqueeze(0), theirs[1].unsqueeze(0), row + 1, end)
            for buffer, given in zip(room, theirs, strict=True):
                buffer[row, :, :start] = 0
                buffer[row, :, start:end] = given[:, : end - start]

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
    new = zeros(tensor, (room[0], tensor.shape[1], room[1], tensor.shape[3]))
    new[:rows, :, by : length + by] = tensor[:rows, :, :length]
    return new


def _shift_left(tensor: torch.Tensor, rows: int, length: int, by: int) -> None:
    """Move columns left in pieces that do not overlap: it needs no memory, and so cannot fail."""
    for start in range(0, length - by, by):
        end = min(start + by, length - by)
        tensor[:rows, :, start:end] = tensor[:rows, :, start + by : end + by]

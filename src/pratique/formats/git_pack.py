"""A git pack, from bytes to objects, with limits on everything a hostile server chooses.

The rule: a pack is taken whole or not at all. Its trailer must be the SHA-1 of what precedes it, each
object must inflate to exactly the size it announces, deltas may refer only to objects in the same pack
(no thin packs), and the sum of inflated bytes is bounded before inflating (gitformat-pack(5)).
"""

import hashlib
import zlib
from dataclasses import dataclass
from typing import Final

from pratique.core.ids import GitId
from pratique.errors import FormatError
from pratique.formats.git import GitObjects, ObjectKind, object_id

MAX_OBJECTS: Final = 1_100_000
MAX_DELTA_CHAIN: Final = 64  # git's own default depth is 50

_KINDS: Final[dict[int, ObjectKind]] = {1: "commit", 2: "tree", 3: "blob", 4: "tag"}
_OFS_DELTA: Final = 6
_REF_DELTA: Final = 7


@dataclass(frozen=True, slots=True)
class _Record:
    """One object as stored. `base` is an offset or an id for a delta, None for a whole object."""

    kind: ObjectKind | None
    base: int | GitId | None
    data: bytes


def read_pack(data: bytes, *, max_inflated: int) -> GitObjects:
    """Return every object in `data`. `max_inflated` bounds the bytes of all objects together.

    Raises FormatError for a malformed, truncated, thin or oversized pack.
    """
    if len(data) < 32 or data[:4] != b"PACK":
        raise FormatError("not a git pack")
    if hashlib.sha1(data[:-20], usedforsecurity=False).digest() != data[-20:]:
        raise FormatError("git pack does not have the checksum it claims")
    version = int.from_bytes(data[4:8], "big")
    count = int.from_bytes(data[8:12], "big")
    if version not in (2, 3) or count > MAX_OBJECTS:
        raise FormatError(f"git pack has version {version} or too many objects ({count})")
    budget = _Budget(max_inflated)
    records: dict[int, _Record] = {}
    position = 12
    for _ in range(count):
        start = position
        records[start], position = _record(data, start, budget)
    if position != len(data) - 20:
        raise FormatError("git pack has bytes that belong to no object")
    return _resolve(records, budget)


class _Budget:
    """How many bytes may still be inflated."""

    __slots__ = ("left",)

    def __init__(self, total: int) -> None:
        self.left = total

    def take(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise FormatError("git pack inflates to more than is allowed")


def _record(data: bytes, start: int, budget: _Budget) -> tuple[_Record, int]:
    end = len(data) - 20
    if start >= end:
        raise FormatError("git pack is cut short")
    byte = data[start]
    number = (byte >> 4) & 7
    size, shift, position = byte & 15, 4, start + 1
    while byte & 0x80:
        if position >= end or shift > 60:
            raise FormatError("git pack has a malformed object header")
        byte = data[position]
        size |= (byte & 0x7F) << shift
        shift += 7
        position += 1
    kind: ObjectKind | None = _KINDS.get(number)
    base: int | GitId | None = None
    if number == _OFS_DELTA:
        distance, position = _offset(data, position, end)
        base = start - distance
    elif number == _REF_DELTA:
        base = GitId(data[position : position + 20].hex())
        position += 20
    elif kind is None:
        raise FormatError(f"git pack has an object of unknown type {number}")
    budget.take(size)
    body, position = _inflate(data, position, end, size)
    return _Record(kind, base, body), position


def _offset(data: bytes, position: int, end: int) -> tuple[int, int]:
    value = 0
    for step in range(9):
        if position >= end:
            break
        byte = data[position]
        position += 1
        value = (value << 7) | (byte & 0x7F)
        if not byte & 0x80:
            return value, position
        value += 1
        del step
    raise FormatError("git pack has a malformed delta offset")


def _inflate(data: bytes, position: int, end: int, size: int) -> tuple[bytes, int]:
    engine = zlib.decompressobj()
    pieces: list[bytes] = []
    total = 0
    try:
        # Fed in slices: the tail is copied once per object otherwise, which is quadratic.
        while not engine.eof:
            piece = data[position : min(position + 65536, end)]
            if not piece:
                raise FormatError("git pack is cut short inside an object")
            out = engine.decompress(piece, size - total + 1)
            total += len(out)
            pieces.append(out)
            if total > size or engine.unconsumed_tail:
                raise FormatError("git pack has an object longer than it announces")
            position += len(piece) - len(engine.unused_data)
    except zlib.error as error:
        raise FormatError("git pack has an object that does not inflate") from error
    if total != size:
        raise FormatError("git pack has an object shorter than it announces")
    return b"".join(pieces), position


def _resolve(records: dict[int, _Record], budget: _Budget) -> GitObjects:
    whole: dict[int, tuple[ObjectKind, bytes]] = {}
    by_id: dict[GitId, int] = {}
    for offset, record in records.items():
        if record.kind is not None:
            whole[offset] = (record.kind, record.data)
            by_id[object_id(record.kind, record.data)] = offset
    pending = [offset for offset in records if offset not in whole]
    for _ in range(MAX_DELTA_CHAIN):
        if not pending:
            break
        waiting: list[int] = []
        for offset in pending:
            base = records[offset].base
            at = base if isinstance(base, int) else by_id.get(base) if base is not None else None
            if at is None or at not in whole:
                waiting.append(offset)
                continue
            kind, source = whole[at]
            body = apply_delta(source, records[offset].data, budget)
            whole[offset] = (kind, body)
            by_id[object_id(kind, body)] = offset
        if len(waiting) == len(pending):
            break
        pending = waiting
    if pending:
        raise FormatError("git pack has deltas without a base in it, or chained too deep")
    return GitObjects.of(whole.values())


def apply_delta(source: bytes, delta: bytes, budget: _Budget | None = None) -> bytes:
    """Return the object that `delta` makes of `source`. Raises FormatError if it does not fit."""
    expected_source, position = _size(delta, 0)
    expected, position = _size(delta, position)
    if expected_source != len(source):
        raise FormatError("git delta is for a base of another size")
    if budget is not None:
        budget.take(expected)
    pieces: list[bytes] = []
    total = 0
    while position < len(delta):
        op = delta[position]
        position += 1
        if op & 0x80:
            start, size, position = _copy(delta, op, position)
            piece = source[start : start + size]
        elif op:
            size = op
            piece = delta[position : position + size]
            position += size
        else:
            raise FormatError("git delta has the reserved instruction 0")
        total += size
        if len(piece) != size or total > expected:
            raise FormatError("git delta reaches beyond its base or its size")
        pieces.append(piece)
    if total != expected:
        raise FormatError("git delta makes fewer bytes than it announces")
    return b"".join(pieces)


def _copy(delta: bytes, op: int, position: int) -> tuple[int, int, int]:
    values = [0, 0]
    for bit in range(7):
        if op & (1 << bit):
            if position >= len(delta):
                raise FormatError("git delta is cut short")
            part, shift = (0, bit) if bit < 4 else (1, bit - 4)
            values[part] |= delta[position] << (8 * shift)
            position += 1
    return values[0], values[1] or 0x10000, position


def _size(delta: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(delta) and shift <= 60:
        byte = delta[position]
        value |= (byte & 0x7F) << shift
        position += 1
        shift += 7
        if not byte & 0x80:
            return value, position
    raise FormatError("git delta has a malformed size")

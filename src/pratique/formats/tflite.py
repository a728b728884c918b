"""TensorFlow Lite flatbuffers: which operators a model needs. Read with every offset checked.

(tensorflow/lite/schema/schema.fbs; flatbuffers.dev, "Internals")
"""

import struct
from dataclasses import dataclass
from typing import Final

from pratique.errors import FormatError

IDENTIFIER: Final = b"TFL3"
_CUSTOM: Final = 32
_MAX_CODES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator code; `custom` is the name of an operator that is not built in."""

    builtin: int
    custom: str | None


def operators(data: memoryview) -> tuple[Operator, ...]:
    """Return the operator codes of a model. Raises FormatError for a malformed flatbuffer."""
    if bytes(data[4:8]) != IDENTIFIER:
        raise FormatError("does not bear the mark TFL3")
    try:
        model = _u32(data, 0)
        vector = _field(data, model, 1)
        if vector is None:
            raise FormatError("has no operator codes")
        start = vector + _u32(data, vector)
        count = _u32(data, start)
        if count > _MAX_CODES:
            raise FormatError(f"has {count} operator codes")
        return tuple(_operator(data, start + 4 + 4 * i) for i in range(count))
    except struct.error as error:
        raise FormatError("has an offset that points outside of the file") from error


def _operator(data: memoryview, slot: int) -> Operator:
    table = slot + _u32(data, slot)
    old, name, new = _field(data, table, 0), _field(data, table, 1), _field(data, table, 3)
    builtin = struct.unpack_from("<i", data, new)[0] if new is not None else 0
    if builtin == 0 and old is not None:
        builtin = struct.unpack_from("<b", data, old)[0]
    custom = None
    if name is not None:
        at = name + _u32(data, name)
        custom = bytes(data[at + 4 : at + 4 + min(_u32(data, at), 256)]).decode("utf-8", "replace")
    if builtin == _CUSTOM and custom is None:
        custom = "?"
    return Operator(builtin, custom or None)


def _field(data: memoryview, table: int, index: int) -> int | None:
    """Position of a table's field, or None where it has its default."""
    vtable = table - struct.unpack_from("<i", data, table)[0]
    if vtable < 0:
        raise FormatError("has an offset that points outside of the file")
    (size,) = struct.unpack_from("<H", data, vtable)
    slot = 4 + 2 * index
    if slot + 2 > size:
        return None
    (offset,) = struct.unpack_from("<H", data, vtable + slot)
    return table + offset if offset else None


def _u32(data: memoryview, at: int) -> int:
    if at < 0:
        raise FormatError("has an offset that points outside of the file")
    return int(struct.unpack_from("<I", data, at)[0])

"""Protocol Buffers on the wire, field by field, over a memory view: bounded, copying nothing.

(protobuf.dev, "Encoding". Groups, which no format here uses, are refused.)
"""

from collections.abc import Iterator
from typing import Final

from pratique.errors import FormatError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_MAX_FIELD: Final = 2**29


def fields(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Yield (number, wire type, value) of one message. Raises FormatError where it is malformed."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if not 0 < number < _MAX_FIELD:
            raise FormatError("has a malformed field number")
        if kind == VARINT:
            value, at = _varint(data, at)
            yield number, kind, value
        elif kind == BYTES:
            length, at = _varint(data, at)
            if at + length > end:
                raise FormatError("is cut short")
            yield number, kind, data[at : at + length]
            at += length
        elif kind in {FIXED32, FIXED64}:
            size = 4 if kind == FIXED32 else 8
            if at + size > end:
                raise FormatError("is cut short")
            yield number, kind, int.from_bytes(data[at : at + size], "little")
            at += size
        else:
            raise FormatError(f"has a field of wire type {kind}")


def messages(data: memoryview, number: int) -> Iterator[memoryview]:
    """Yield the length-delimited fields with this number."""
    for found, kind, value in fields(data):
        if found == number and kind == BYTES and isinstance(value, memoryview):
            yield value


def text(data: memoryview) -> str:
    """Return a string field. Raises FormatError unless it is UTF-8."""
    try:
        return bytes(data).decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError("has text that is not UTF-8") from error


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise FormatError("has a number that is cut short")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), at
        shift += 7

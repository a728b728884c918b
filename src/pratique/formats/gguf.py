"""GGUF, read strictly: every count, length and offset is checked before it is used.

Versions 2 and 3, little endian. Tensors tile the data up to alignment padding; nothing overlaps,
nothing lies behind. (github.com/ggml-org/ggml, docs/gguf.md; CVE-2024-21802 and its siblings are
unchecked arithmetic in this header.)
"""

import struct
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Final, TypeAlias

from pratique.core.ids import shown
from pratique.errors import FormatError

MAGIC: Final = b"GGUF"
MAX_HEADER: Final = 256 * 2**20
MAX_TENSORS: Final = 200_000
MAX_KEYS: Final = 20_000
_MAX_ARRAY: Final = 8_000_000
_MAX_STRING: Final = 32 * 2**20
_MAX_DIMS: Final = 4
_MAX_ARRAY_DEPTH: Final = 3

Value: TypeAlias = "str | int | float | bool | list[Value]"

_SCALARS: Final = MappingProxyType(
    {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 10: "<Q", 11: "<q", 12: "<d"}
)
_BOOL, _STRING, _ARRAY = 7, 8, 9
# ggml type -> (elements per block, bytes per block); ggml.h, `type_traits`
_TYPES: Final = MappingProxyType(
    {
        0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
        9: (32, 36), 10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210),
        15: (256, 292), 16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18),
        21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8),
        28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36),
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor; `offset` counts from the start of the data."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """A whole, checked header."""

    version: int
    metadata: MappingProxyType[str, Value]
    tensors: tuple[GgufTensor, ...]
    data_start: int


class _Cursor:
    """Bounded reads from the head; running out is "cut short"."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        if count < 0 or self.at + count > len(self.data):
            raise FormatError("has a header that is cut short")
        piece = self.data[self.at : self.at + count]
        self.at += count
        return piece

    def number(self, form: str) -> int | float:
        """One fixed-width number."""
        value: int | float = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return value

    def count(self, limit: int, what: str) -> int:
        """A 64-bit count of at most `limit`."""
        value = int(self.number("<Q"))
        if value > limit:
            raise FormatError(f"announces {value} {what}; at most {limit} are read")
        return value

    def text(self) -> str:
        """A length and that many bytes of UTF-8."""
        raw = self.take(self.count(_MAX_STRING, "bytes of text"))
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise FormatError("has text that is not UTF-8") from error


def parse_header(head: bytes, file_size: int) -> GgufHeader:
    """Check a header against the file's size. `head` is the file's beginning, as much as needed.

    Guarantees that every tensor lies inside the file, none overlaps another, and that only alignment
    padding lies between them. Raises FormatError.
    """
    cursor = _Cursor(head)
    if cursor.take(4) != MAGIC:
        raise FormatError("does not begin with GGUF")
    version = int(cursor.number("<I"))
    if version not in {2, 3}:
        raise FormatError(f"has version {version}; 2 and 3 are read")
    tensor_count = cursor.count(MAX_TENSORS, "tensors")
    key_count = cursor.count(MAX_KEYS, "metadata keys")
    metadata: dict[str, Value] = {}
    for _ in range(key_count):
        key = cursor.text()
        if key in metadata:
            raise FormatError(f"has the key {shown(key)} twice")
        if not key or len(key) > 65_535 or not key.isprintable():
            raise FormatError(f"has the key {shown(key)}")
        metadata[key] = _value(cursor, int(cursor.number("<I")), 0)
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or alignment < 8 or alignment > 2**20 or alignment % 8:
        raise FormatError(f"has the alignment {shown(str(alignment))}")
    tensors = tuple(_tensor(cursor, alignment) for _ in range(tensor_count))
    if len({t.name for t in tensors}) != len(tensors):
        raise FormatError("names a tensor twice")
    data_start = -(-cursor.at // alignment) * alignment
    _check_tiling(tensors, alignment, file_size - data_start, cursor.at == file_size)
    return GgufHeader(version, MappingProxyType(metadata), tensors, data_start)


def _value(cursor: _Cursor, kind: int, depth: int) -> Value:
    if kind in _SCALARS:
        return cursor.number(_SCALARS[kind])
    if kind == _BOOL:
        flag = cursor.take(1)[0]
        if flag > 1:
            raise FormatError(f"has the truth value {flag}")
        return bool(flag)
    if kind == _STRING:
        return cursor.text()
    if kind != _ARRAY or depth >= _MAX_ARRAY_DEPTH:
        raise FormatError(f"has a metadata value of type {kind}")
    inner = int(cursor.number("<I"))
    count = cursor.count(_MAX_ARRAY, "array elements")
    if inner in _SCALARS:
        form = _SCALARS[inner]
        return list(struct.unpack(f"<{count}{form[1]}", cursor.take(count * struct.calcsize(form))))
    return [_value(cursor, inner, depth + 1) for _ in range(count)]


def _tensor(cursor: _Cursor, alignment: int) -> GgufTensor:
    name = cursor.text()
    where = f"tensor {shown(name)}"
    if not name or len(name.encode()) > 1024:
        raise FormatError(f"{where} has no usable name")
    dims = int(cursor.number("<I"))
    if dims > _MAX_DIMS:
        raise FormatError(f"{where} has {dims} dimensions")
    shape = tuple(int(cursor.number("<Q")) for _ in range(dims))
    kind = int(cursor.number("<I"))
    offset = int(cursor.number("<Q"))
    if kind not in _TYPES:
        raise FormatError(f"{where} has the unknown type {kind}")
    per_block, block_bytes = _TYPES[kind]
    elements = prod(shape)
    if elements >= 2**62 or (shape and shape[0] % per_block) or elements % per_block:
        raise FormatError(f"{where} has the shape {list(shape)}, which its type does not divide")
    if offset % alignment:
        raise FormatError(f"{where} is not aligned")
    return GgufTensor(name, shape, kind, offset, elements // per_block * block_bytes)


def _check_tiling(
    tensors: tuple[GgufTensor, ...], alignment: int, data_size: int, empty: bool
) -> None:
    position = 0
    for tensor in sorted(tensors, key=lambda t: (t.offset, t.size)):
        if tensor.offset != position:
            what = "overlaps another" if tensor.offset < position else "follows a hole"
            raise FormatError(f"tensor {shown(tensor.name)} {what}")
        position = -(-(tensor.offset + tensor.size) // alignment) * alignment
        if tensor.offset + tensor.size > data_size:
            raise FormatError(f"is cut short: tensor {shown(tensor.name)} reaches behind the end")
    if not tensors and (empty or data_size <= 0):
        return
    if data_size > position:
        raise FormatError(f"has {data_size - position} bytes behind its last tensor")

"""safetensors, read as its specification says and stricter than its own reader.

The header begins with ``{``, names each tensor once, and its tensors tile the data exactly: no
overlap, no hole, nothing behind. (github.com/huggingface/safetensors, "Format"; the stock reader
opens a header that begins with another byte and a file with bytes behind the last tensor.)
"""

import struct
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Final, cast

from pratique.core.ids import shown
from pratique.errors import FormatError
from pratique.formats import json_strict

MAX_HEADER: Final = 100_000_000
LENGTH_BYTES: Final = 8
_LIMITS: Final = json_strict.Limits(size=MAX_HEADER, depth=4, items=16_000_000)
_MAX_RANK: Final = 32

# dtype -> bits per element (safetensors 0.8)
DTYPE_BITS: Final = MappingProxyType(
    {
        "BOOL": 8, "U8": 8, "I8": 8, "I16": 16, "U16": 16, "I32": 32, "U32": 32, "I64": 64,
        "U64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
        "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor: `begin` and `end` are byte offsets into the data behind the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class SafetensorsHeader:
    """A whole, checked header. `data_start` is where tensor data begins in the file."""

    tensors: MappingProxyType[str, TensorInfo]
    metadata: MappingProxyType[str, str]
    data_start: int
    file_size: int


def header_length(head: bytes, file_size: int) -> int:
    """Return how many bytes the JSON header has, from the file's first 8. Raises FormatError."""
    if file_size < LENGTH_BYTES or len(head) < LENGTH_BYTES:
        raise FormatError(f"has {file_size} bytes, too few for a safetensors file")
    (length,) = struct.unpack_from("<Q", head)
    if length > MAX_HEADER:
        raise FormatError(f"announces a header of {length} bytes; at most {MAX_HEADER} are read")
    if LENGTH_BYTES + length > file_size:
        raise FormatError(f"announces a header of {length} bytes in a file of {file_size}")
    return int(length)


def parse_header(head: bytes, file_size: int) -> SafetensorsHeader:
    """Check the header in `head` (at least 8 + header bytes) of a file of `file_size` bytes.

    Guarantees that the tensors lie wholly inside the file, do not overlap, leave no byte unused and
    have exactly the size that dtype and shape say. Raises FormatError. Does NOT read tensor data.
    """
    length = header_length(head, file_size)
    body = head[LENGTH_BYTES : LENGTH_BYTES + length]
    if len(body) < length:
        raise FormatError("the header is not here whole")
    if not body.startswith(b"{"):
        raise FormatError("the header does not begin with '{'")
    if not body.rstrip(b" ").endswith(b"}"):
        raise FormatError("the header does not end with '}' and spaces")
    entries = json_strict.parse_object(body.rstrip(b" "), _LIMITS)
    metadata = _metadata(entries.pop("__metadata__", None))
    tensors = {name: _tensor(name, value) for name, value in entries.items()}
    _check_tiling(tensors, file_size - LENGTH_BYTES - length)
    return SafetensorsHeader(
        MappingProxyType(tensors), MappingProxyType(metadata), LENGTH_BYTES + length, file_size
    )


def _metadata(value: json_strict.Json) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise FormatError("__metadata__ is not an object of strings")
    return cast("dict[str, str]", value)


def _tensor(name: str, value: json_strict.Json) -> TensorInfo:
    where = f"tensor {shown(name)}"
    if not name or not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise FormatError(f"{where} does not have exactly dtype, shape and data_offsets")
    dtype = value["dtype"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise FormatError(f"{where} has the unknown dtype {shown(str(dtype))}")
    shape = _integers(value["shape"], where, "shape", _MAX_RANK)
    offsets = _integers(value["data_offsets"], where, "data_offsets", 2)
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        raise FormatError(f"{where} has the offsets {offsets}")
    bits = prod(shape) * DTYPE_BITS[dtype]
    if bits % 8 or bits // 8 != offsets[1] - offsets[0]:
        raise FormatError(
            f"{where} spans {offsets[1] - offsets[0]} bytes where {dtype} of shape "
            f"{list(shape)} has {bits // 8}"
        )
    return TensorInfo(name, dtype, shape, *offsets)


def _integers(value: json_strict.Json, where: str, field: str, limit: int) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > limit:
        raise FormatError(f"{where} has a {field} that is not a short array")
    if not all(type(v) is int and 0 <= v < 2**63 for v in value):
        raise FormatError(f"{where} has a {field} that is not made of whole numbers")
    return tuple(cast("list[int]", value))


def _check_tiling(tensors: dict[str, TensorInfo], data_size: int) -> None:
    position = 0
    for tensor in sorted(tensors.values(), key=lambda t: (t.begin, t.end)):
        if tensor.begin < position:
            raise FormatError(f"tensor {shown(tensor.name)} overlaps the one before it")
        if tensor.begin > position:
            raise FormatError(
                f"a hole of {tensor.begin - position} bytes before tensor {shown(tensor.name)}"
            )
        position = tensor.end
    if position < data_size:
        raise FormatError(f"{data_size - position} bytes behind the last tensor")
    if position > data_size:
        raise FormatError(f"is cut short: {position - data_size} bytes of tensor data are missing")

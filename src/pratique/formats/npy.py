"""NumPy arrays: numbers only. An object array is a pickle.

(numpy/lib/format.py)
"""

import ast
import re
from math import prod
from typing import Final

from pratique.errors import FormatError

MAGIC: Final = b"\x93NUMPY"
_MAX_HEADER: Final = 65_536
_PLAIN: Final = re.compile(r"[<>|=](?:b1|[iu][1248]|f(?:2|4|8|16)|c(?:8|16|32)|[SUVa]\d{1,6})\Z")


def check(head: bytes, size: int) -> None:
    """Check an array of `size` bytes in all, whose beginning is `head`. Raises FormatError."""
    if head[:6] != MAGIC or len(head) < 12 or head[6] not in {1, 2, 3} or head[7] != 0:
        raise FormatError("is no NumPy array")
    width = 2 if head[6] == 1 else 4
    length = int.from_bytes(head[8 : 8 + width], "little")
    start = 8 + width + length
    if length > _MAX_HEADER or len(head) < start:
        raise FormatError("has a header that is too long or cut short")
    item_size, shape = _described(head[8 + width : start])
    if start + item_size * prod(shape) != size:
        raise FormatError(
            f"has {size - start} bytes of data where its header says {item_size * prod(shape)}"
        )


def _described(raw: bytes) -> tuple[int, tuple[int, ...]]:
    try:
        header = ast.literal_eval(raw.decode("latin-1").strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise FormatError("has a header that cannot be read") from error
    if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
        raise FormatError("has a header that no array has")
    shape = header["shape"]
    if (
        not isinstance(shape, tuple)
        or len(shape) > 64
        or not all(type(n) is int and 0 <= n < 2**60 for n in shape)
    ):
        raise FormatError("has a shape that no array has")
    return _item_size(header["descr"], 0), shape


def _item_size(descr: object, depth: int) -> int:
    if isinstance(descr, str):
        if "O" in descr:
            raise FormatError("is an array of objects: a pickle")
        if not _PLAIN.match(descr):
            raise FormatError(f"has elements of the type {descr!r}")
        count = int(re.sub(r"\D", "", descr[2:]))
        return count * 4 if descr[1] == "U" else count
    if not isinstance(descr, list) or depth > 4:
        raise FormatError("has elements that cannot be read")
    total = 0
    for part in descr:
        if not isinstance(part, tuple) or len(part) not in {2, 3}:
            raise FormatError("has elements that cannot be read")
        repeat = part[2] if len(part) == 3 else ()
        if not isinstance(repeat, tuple) or not all(type(n) is int and n >= 0 for n in repeat):
            raise FormatError("has elements that cannot be read")
        total += _item_size(part[1], depth + 1) * prod(repeat)
    return total

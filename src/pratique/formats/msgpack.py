"""MessagePack as flax writes it: skipped through, every length checked, known extensions only.

(github.com/msgpack/msgpack, spec; flax/serialization.py: extensions 1 ndarray, 2 complex, 3 scalar)
"""

from typing import Final

from pratique.errors import FormatError

_MAX_ITEMS: Final = 20_000_000
_FLAX_EXTENSIONS: Final = frozenset({1, 2, 3})
_FIXED: Final = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8,
                 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}  # fmt: skip
_COUNTED: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_EXTENDED: Final = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_FIXED_EXTENDED: Final = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_CONTAINERS: Final = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}


def check(data: memoryview) -> None:
    """Check that `data` is exactly one map as flax writes it. Raises FormatError."""
    if not len(data) or not (data[0] & 0xF0 == 0x80 or data[0] in {0xDE, 0xDF}):
        raise FormatError("does not begin with a map")
    at, left, seen = 0, 1, 0
    while left:
        seen += 1
        if seen > _MAX_ITEMS or at >= len(data):
            raise FormatError("is cut short, or has too many parts")
        at, more = _item(data, at)
        left += more - 1
    if at != len(data):
        raise FormatError(f"has {len(data) - at} bytes behind its end")


def _item(data: memoryview, at: int) -> tuple[int, int]:
    """Skip one item; return where the next begins and how many items it contains."""
    code = data[at]
    at += 1
    if code < 0x80 or code >= 0xE0:
        return at, 0
    if code < 0x90:
        return at, 2 * (code & 0x0F)
    if code < 0xA0:
        return at, code & 0x0F
    if code < 0xC0:
        return _skip(data, at, code & 0x1F), 0
    if code in _FIXED:
        return _skip(data, at, _FIXED[code]), 0
    if code in _COUNTED:
        width = _COUNTED[code]
        return _skip(data, at + width, _number(data, at, width)), 0
    if code in _CONTAINERS:
        width, per_entry = _CONTAINERS[code]
        return at + width, per_entry * _number(data, at, width)
    return _extension(data, at, code), 0


def _extension(data: memoryview, at: int, code: int) -> int:
    if code in _EXTENDED:
        width = _EXTENDED[code]
        length, at = _number(data, at, width), at + width
    elif code in _FIXED_EXTENDED:
        length = _FIXED_EXTENDED[code]
    else:
        raise FormatError(f"has the byte {code:#04x}, which starts nothing")
    kind = _number(data, at, 1)
    if kind not in _FLAX_EXTENSIONS:
        raise FormatError(f"has an extension of type {kind}")
    return _skip(data, at + 1, length)


def _number(data: memoryview, at: int, width: int) -> int:
    if at + width > len(data):
        raise FormatError("is cut short")
    return int.from_bytes(data[at : at + width], "big")


def _skip(data: memoryview, at: int, count: int) -> int:
    if at + count > len(data):
        raise FormatError("is cut short")
    return at + count

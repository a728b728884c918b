"""sentencepiece's compiled normalization rules, taken apart so that a person can see what they do.

The format is that of sentencepiece's normalizer.cc: a little-endian length, a Darts double-array
trie whose values are offsets, then NUL-ended replacement strings (UTF-8).
"""

import struct
from collections.abc import Iterator
from typing import Final

from pratique.errors import FormatError

_MAX_RULES: Final = 1_000_000
_MAX_STATES: Final = 3_000_000
_MAX_KEY_BYTES: Final = 64


def parse_charsmap(data: bytes) -> Iterator[tuple[str, str]]:
    """Yield every rule as (text, replacement).

    Raises:
        FormatError: a trie that points outside itself, endless keys, text that is not UTF-8.
    """
    if len(data) < 4:
        raise FormatError("the normalization rules are cut off")
    (size,) = struct.unpack_from("<I", data)
    if size % 4 or size > len(data) - 4 or size < 1024:
        raise FormatError("the normalization rules have an impossible length")
    units = struct.unpack_from(f"<{size // 4}I", data, 4)
    replacements = data[4 + size :]
    for count, (key, offset) in enumerate(_walk(units)):
        if count >= _MAX_RULES:
            raise FormatError(f"more than {_MAX_RULES} normalization rules")
        end = replacements.find(b"\0", offset)
        if offset > len(replacements) or end < 0:
            raise FormatError("a normalization rule points past the end")
        try:
            yield key.decode("utf-8"), replacements[offset:end].decode("utf-8")
        except UnicodeDecodeError as error:
            raise FormatError("a normalization rule is not UTF-8") from error


def _walk(units: tuple[int, ...]) -> Iterator[tuple[bytes, int]]:
    """Enumerate a Darts-clone double array: (key bytes, value) for every leaf.

    A child of the state with base `b` and label `l` lies at `b ^ l` and bears that label; bit 31
    marks values, bit 8 a state at which a value hangs.
    """
    children: dict[int, list[tuple[int, int]]] = {}
    for at, unit in enumerate(units):
        label = unit & 0x800000FF
        if 0 < label < 256:
            children.setdefault(at ^ label, []).append((label, at))
    todo: list[tuple[int, bytes]] = [(_offset(units[0]), b"")]
    seen = 0
    while todo:
        base, key = todo.pop()
        seen += 1
        # States are shared (a DAWG), so a hostile file can hold loops: bound depth and number.
        if len(key) > _MAX_KEY_BYTES or seen > _MAX_STATES:
            raise FormatError("the normalization rules are endless")
        for label, at in children.get(base, ()):
            unit = units[at]
            below = at ^ _offset(unit)
            if unit & 0x100:
                if below >= len(units):
                    raise FormatError("the normalization rules point outside themselves")
                yield key + bytes([label]), units[below] & 0x7FFFFFFF
            todo.append((below, key + bytes([label])))


def _offset(unit: int) -> int:
    return (unit >> 10) << ((unit & 0x200) >> 6)

"""HDF5, as far as the gate goes: it is one, ends where it says, and the Keras model inside is named.

Keras keeps its model as JSON text in an attribute. Layers of that text are checked; the rest of the
file is not understood, so that it needs somebody to answer for it.
"""

import json
import re
from collections.abc import Iterator
from typing import Final

from pratique.errors import FormatError

SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
_MODEL: Final = re.compile(rb'\{\s*"(?:class_name|module)"\s*:')
_SUSPECT: Final = re.compile(
    rb'"class_name"\s*:\s*"(?:[^"]*>)?(?:Lambda|TFOpLambda|SlicingOpLambda)"|__lambda__|\bbase64\b.{0,40}\bcode\b'
)
_MAX_MODELS: Final = 16


def check_frame(head: bytes, size: int) -> None:
    """Check signature and end-of-file address of a file of `size` bytes. Raises FormatError."""
    if not head.startswith(SIGNATURE) or len(head) < 96:
        raise FormatError("is no HDF5 file")
    version = head[8]
    if version in {0, 1}:
        width = head[13]
        base = 24 if version == 0 else 28
        position = base + 2 * width
    elif version in {2, 3}:
        width = head[9]
        position = 12 + 2 * width
    else:
        raise FormatError(f"has the superblock version {version}")
    if width not in {4, 8}:
        raise FormatError("has addresses of an odd width")
    end = int.from_bytes(head[position : position + width], "little")
    if end != size:
        raise FormatError(f"says that it ends at byte {end}, but has {size} bytes")


def models_in(data: bytes) -> Iterator[object]:
    """Yield the Keras model descriptions in `data`. Raises FormatError for code in one."""
    if match := _SUSPECT.search(data):
        raise FormatError(f"holds a layer with code of its own ({match.group()[:40]!r})")
    decoder = json.JSONDecoder()
    at = 0
    for _ in range(_MAX_MODELS):
        match = _MODEL.search(data, at)
        if match is None:
            return
        text = data[match.start() : match.start() + 4 * 2**20].decode("utf-8", "replace")
        try:
            value, length = decoder.raw_decode(text)
        except (ValueError, RecursionError) as error:
            raise FormatError("holds a model description that cannot be read") from error
        yield value
        at = match.start() + max(length, 1)

"""Raw arrays: bytes that read as ordinary floating-point numbers from end to end of what is looked at.

A guess about meaning, so it only serves files that nothing loads; random or structured bytes fail it.
"""

import struct
from typing import Final

_SAMPLE: Final = 65_536
_FORMS: Final = (("f", 4), ("e", 2), ("d", 8))
_LARGEST: Final = 1e6
_SMALLEST: Final = 1e-9


def element_size(head: bytes, size: int) -> int | None:
    """Bytes per number if `head`, the beginning of a file of `size` bytes, holds floats; else None."""
    for form, width in _FORMS:
        count = min(len(head), _SAMPLE) // width
        if size % width or count < 4:
            continue
        values = struct.unpack(f"<{count}{form}", head[: count * width])
        sane = sum(v == 0 or _SMALLEST < abs(v) < _LARGEST for v in values)
        if sane == count and any(values):
            return width
    return None

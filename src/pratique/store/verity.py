"""fs-verity: ask the kernel to refuse changed bytes for ever, where the file system offers it.

A file under fs-verity cannot be opened for writing, by root neither, and every page read is checked
against a Merkle tree. It comes on top of our own digests, never in their place: its absence changes
no decision. See the kernel's Documentation/filesystems/fsverity.rst.
"""

import contextlib
import fcntl
import os
import struct
from pathlib import Path
from typing import Final

# _IOW('f', 133, struct fsverity_enable_arg) and _IOWR('f', 134, struct fsverity_digest)
_ENABLE: Final = 0x40806685
_MEASURE: Final = 0xC0046686
_SHA256: Final = 1
_BLOCK: Final = 4096
_ENABLE_ARG: Final = struct.Struct("=IIIIQIIQ11Q")
_DIGEST_HEAD: Final = struct.Struct("=HH")


def enable(path: Path) -> str | None:
    """Switch fs-verity on for a file that nobody has open for writing.

    Returns its digest (`sha256:` and hex), or None where the file system does not offer it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        argument = _ENABLE_ARG.pack(1, _SHA256, _BLOCK, *([0] * 16))
        with contextlib.suppress(OSError):  # EEXIST: on already; else measuring says None
            fcntl.ioctl(descriptor, _ENABLE, argument)
        return _measure(descriptor)
    finally:
        os.close(descriptor)


def measured(path: Path) -> str | None:
    """Return the fs-verity digest that the kernel enforces for `path`, or None if it does not."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        return _measure(descriptor)
    finally:
        os.close(descriptor)


def _measure(descriptor: int) -> str | None:
    room = _DIGEST_HEAD.pack(0, 32) + bytes(32)
    try:
        answer = fcntl.ioctl(descriptor, _MEASURE, room)
    except OSError:
        return None
    algorithm, size = _DIGEST_HEAD.unpack_from(answer)
    if algorithm != _SHA256 or size != 32:
        return None
    return f"sha256:{answer[_DIGEST_HEAD.size :].hex()}"

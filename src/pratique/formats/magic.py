"""First bytes that make a file something else than its name says: programs, archives, compression.

Only used to refuse: nothing passes because of its first bytes.
"""

import zlib
from typing import Final

_NATIVE: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\x7fELF", "an ELF program or library"),
    (b"\xfe\xed\xfa\xce", "a Mach-O program"),
    (b"\xfe\xed\xfa\xcf", "a Mach-O program"),
    (b"\xce\xfa\xed\xfe", "a Mach-O program"),
    (b"\xcf\xfa\xed\xfe", "a Mach-O program"),
    (b"\xca\xfe\xba\xbe", "a Mach-O or Java program"),
    (b"\xca\xfe\xba\xbf", "a Mach-O program"),
    (b"\x00asm", "a WebAssembly program"),
    (b"BC\xc0\xde", "LLVM bitcode"),
    (b"\xde\xc0\x17\x0b", "LLVM bitcode"),
    (b"dex\n03", "an Android program"),
    (b"!<arch>\n", "a library archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an OLE document or installer"),
    (b"\x1bLua", "compiled Lua"),
    (b"MSCF", "a cabinet"),
    (b"P\xed\x55\xba", "a CUDA binary"),
)
_ARCHIVES: Final[tuple[tuple[bytes, str], ...]] = (
    (b"PK\x03\x04", "a ZIP archive"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"PK\x07\x08", "a split ZIP archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"xar!", "an XAR archive"),
    (b"070701", "a cpio archive"),
    (b"070707", "a cpio archive"),
    (b"\xed\xab\xee\xdb", "an RPM package"),
    (b"hsqs", "a SquashFS image"),
)
_COMPRESSED: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\x1f\x8b\x08", "gzip data"),
    (b"\x1f\x9d", "compress data"),
    (b"BZh", "bzip2 data"),
    (b"\xfd7zXZ\x00", "xz data"),
    (b"\x04\x22\x4d\x18", "LZ4 data"),
    (b"\x02\x21\x4c\x18", "LZ4 data"),
    (b"\x28\xb5\x2f\xfd", "Zstandard data"),
    (b"LZIP", "lzip data"),
    (b"\xff\x06\x00\x00sNaPpY", "Snappy data"),
    (b"ZF\x08\x00", "joblib's compressed pickle"),
    (b"\x02LZ4", "LZ4 data"),
)


def native(head: bytes) -> str | None:
    """Say which kind of program `head` begins, or None."""
    for mark, what in _NATIVE:
        if head.startswith(mark):
            return what
    if head[:2] == b"MZ" and len(head) >= 64:
        at = int.from_bytes(head[60:64], "little")
        if head[at : at + 4] == b"PE\0\0" or at >= len(head) or b"DOS mode" in head[:512]:
            return "a Windows program"
    if head[2:4] == b"\r\n" and len(head) >= 16 and 3000 <= head[0] + 256 * head[1] < 4000:
        return "compiled Python"
    return None


def script(head: bytes) -> bool:
    """Whether `head` begins with an interpreter line."""
    return head.startswith(b"#!") and b"/" in head[:64]


def archive(head: bytes) -> str | None:
    """Say which kind of archive `head` begins, or None."""
    for mark, what in _ARCHIVES:
        if head.startswith(mark):
            return what
    if head[257:262] == b"ustar":
        return "a tar archive"
    if _old_tar(head):
        return "a tar archive"
    if head[0x8001:0x8006] == b"CD001":
        return "an ISO image"
    return None


def compressed(head: bytes) -> str | None:
    """Say which kind of compression `head` begins, or None."""
    for mark, what in _COMPRESSED:
        if head.startswith(mark):
            return what
    if head[:1] == b"\x5d" and head[1:5] in {
        b"\0\0\x80\0",
        b"\0\0\0\x01",
        b"\0\0\0\x04",
        b"\0\0\x10\0",
    }:
        return "lzma data"
    if (
        len(head) > 6
        and head[0] & 0x0F == 8
        and head[0] >> 4 <= 7
        and (head[0] * 256 + head[1]) % 31 == 0
    ):
        return "zlib data" if _inflates(head) else None
    return None


def _inflates(head: bytes) -> bool:
    try:
        return bool(zlib.decompressobj().decompress(head, 64))
    except zlib.error:
        return False


def _old_tar(head: bytes) -> bool:
    """A tar header without the `ustar` mark: its checksum over 512 bytes tells."""
    if len(head) < 512 or not head[0]:
        return False
    try:
        told = int(head[148:156].strip(b" \0") or b"x", 8)
    except ValueError:
        return False
    return told == sum(head[:148]) + 8 * 32 + sum(head[156:512])

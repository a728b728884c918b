"""Pictures that hold a picture and nothing else: PNG, JPEG, GIF, WebP, BMP, ICO, SVG.

Structure only (no pixel is decoded): what matters is that nothing hides behind the picture's end.
"""

import re
import struct
import zlib
from typing import Final

from pratique.errors import FormatError

_ACTIVE_SVG: Final = re.compile(
    r"<\s*(?:script|foreignobject|iframe|embed|object)\b|\bon[a-z]+\s*=|javascript:|<!entity|<\?xml-stylesheet",
    re.IGNORECASE,
)


class Damaged(FormatError):
    """A picture of a known kind that is cut short or malformed, with nothing hidden behind it."""


def check(name: str, data: bytes) -> None:
    """Check the picture `data`, whose kind its first bytes tell. Raises FormatError, Damaged."""
    if name.lower().endswith(".svg"):
        _svg(data)
    elif data.startswith(b"\x89PNG\r\n\x1a\n"):
        _png(data)
    elif data.startswith(b"\xff\xd8\xff"):
        _jpeg(data)
    elif data[:6] in {b"GIF87a", b"GIF89a"}:
        _gif(data)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        _riff(data)
    elif data[:2] == b"BM":
        if len(data) < 26 or int.from_bytes(data[2:6], "little") not in {0, len(data)}:
            raise Damaged("is a BMP whose size is not the one it says")
    elif data[:4] == b"\0\0\1\0":
        _ico(data)
    elif data[4:12] in {b"ftypavif", b"ftypavis", b"ftypheic"}:
        _boxes(data)
    else:
        raise FormatError("is not a picture of a known kind")


def _svg(data: bytes) -> None:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError("is not UTF-8 text") from error
    if "<svg" not in text:
        raise FormatError("is not an SVG picture")
    if match := _ACTIVE_SVG.search(text):
        raise FormatError(f"is an SVG with active content ({match.group().strip()!r})")


def _png(data: bytes) -> None:
    at = 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        end = at + 12 + length
        if end > len(data) or not kind.isalpha():
            raise Damaged("is a PNG that is cut short or malformed")
        if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise Damaged("is a PNG with a wrong checksum")
        at = end
        if kind == b"IEND":
            break
    else:
        raise Damaged("is a PNG without an end")
    if at != len(data):
        raise FormatError(f"is a PNG with {len(data) - at} bytes behind its end")


def _jpeg(data: bytes) -> None:
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise Damaged("is a malformed JPEG")
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker == 0xD9:
            break
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
            if marker == 0xDA:
                at = _after_scan(data, at)
    if data[at : at + 2] != b"\xff\xd9":
        raise Damaged("is a JPEG without an end")
    rest = data[at + 2 :].strip(b"\0\n\r ")
    # Multi-picture JPEGs (CIPA DC-007) append further pictures; nothing else may follow.
    if rest and not rest.startswith(b"\xff\xd8\xff"):
        raise FormatError(f"is a JPEG with {len(rest)} bytes behind its end")


def _after_scan(data: bytes, at: int) -> int:
    while (at := data.find(b"\xff", at)) >= 0 and at + 1 < len(data):
        if data[at + 1] != 0 and not 0xD0 <= data[at + 1] <= 0xD7:
            return at
        at += 2
    return len(data)


def _gif(data: bytes) -> None:
    if len(data) < 13:
        raise Damaged("is a GIF that is cut short")
    at = 13 + (3 << ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
    try:
        while data[at] != 0x3B:
            if data[at] == 0x21:
                at = _gif_blocks(data, at + 2)
            elif data[at] == 0x2C:
                flags = data[at + 9]
                at += 10 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
                at = _gif_blocks(data, at + 1)
            else:
                raise Damaged("is a malformed GIF")
    except IndexError as error:
        raise Damaged("is a GIF that is cut short") from error
    if data[at + 1 :].strip(b"\0\n\r "):
        raise FormatError(f"is a GIF with {len(data) - at - 1} bytes behind its end")


def _gif_blocks(data: bytes, at: int) -> int:
    while data[at]:
        at += 1 + data[at]
    return at + 1


def _riff(data: bytes) -> None:
    size = int.from_bytes(data[4:8], "little") + 8
    if size + (size & 1) != len(data) and size != len(data):
        raise Damaged("is a RIFF file whose size is not the one it says")


def _ico(data: bytes) -> None:
    (count,) = struct.unpack_from("<H", data, 4) if len(data) >= 6 else (0,)
    if not count or len(data) < 6 + 16 * count:
        raise Damaged("is a malformed icon")
    ends = [sum(struct.unpack_from("<II", data, 6 + 16 * i + 8)) for i in range(count)]
    if max(ends) != len(data):
        raise FormatError("is an icon with bytes behind its end")


def _boxes(data: bytes) -> None:
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size < 8:
            break
        at += size
    if at != len(data):
        raise FormatError("is a picture with bytes that no box accounts for")

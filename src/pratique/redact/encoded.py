"""Text inside of text: base64 and hexadecimal runs that decode to something readable.

The rule: whatever is found inside a run is charged to the whole run, because half a base64
string can still be read. Only runs that decode to printable UTF-8 are looked into; digests,
keys and weights are not text.
"""

import base64
import binascii
from collections.abc import Iterator

from pratique.redact.pattern import Pattern
from pratique.redact.view import View

_BASE64 = Pattern(
    r"[A-Za-z0-9+/_\-]{10,11}={1,2}|[A-Za-z0-9+/_\-]{12,}(?:\s{1,2}[A-Za-z0-9+/_\-]{40,})*={0,2}"
)
_HEX = Pattern(r"(?:[0-9a-fA-F]{2}[ :]?){8,}")
_TEXT_SHARE = 0.95


def nested(view: View) -> Iterator[tuple[int, int, str]]:
    """Yield ``(start, end, decoded text)`` for each readable run, sorted, disjoint."""
    at = 0
    runs = [(*m.span(), _from_hex(m.group())) for m in _HEX.matches(view)]
    runs += [(*m.span(), _from_base64(m.group())) for m in _BASE64.matches(view)]
    for start, end, text in sorted(runs):
        if text and start >= at:
            yield start, end, text
            at = end


def _from_base64(token: bytes) -> str:
    body = b"".join(token.split()).rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
    body = body[: len(body) - 1] if len(body) % 4 == 1 else body
    try:
        data = base64.b64decode(body + b"=" * (-len(body) % 4), validate=True)
    except (binascii.Error, ValueError):
        return ""
    return _readable(data)


def _from_hex(token: bytes) -> str:
    body = token.replace(b" ", b"").replace(b":", b"")
    if len(body) % 2:
        return ""
    return _readable(bytes.fromhex(body.decode("ascii")))


def _readable(data: bytes) -> str:
    for encoding in ("utf-8", "utf-16-le"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        printable = sum(c.isprintable() or c in "\n\r\t" for c in text)
        common = sum(ord(c) < 0x250 for c in text)
        if (
            text
            and printable >= _TEXT_SHARE * len(text)
            and (encoding == "utf-8" or common >= _TEXT_SHARE * len(text))
        ):
            return text
    return ""

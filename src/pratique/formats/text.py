"""Text that is what it looks like: UTF-8, no control characters, no reordering of what one reads."""

from typing import Final

from pratique.errors import FormatError

# Unicode TR 36 / CVE-2021-42574: embeddings, overrides, isolates.
BIDI_CONTROLS: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# U+E0000 block: invisible copies of ASCII, used to smuggle instructions.
TAG_RANGE: Final = range(0xE0000, 0xE0080)
ZERO_WIDTH: Final = frozenset("\u200b\u200c\u200d\u2060\ufeff\u00ad\u180e")
_ALLOWED_CONTROLS: Final = frozenset("\t\n\r\f\v\x1b\b\x7f\x85")


def decode(data: bytes) -> str:
    """Return `data` as text. Raises FormatError unless it is UTF-8 (or marked UTF-16) without NUL."""
    for mark, codec in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            try:
                return data.decode(codec)
            except UnicodeDecodeError as error:
                raise FormatError("is neither UTF-8 nor UTF-16 text") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"is not UTF-8 text (byte {error.start})") from error
    if "\0" in text:
        raise FormatError(f"holds a NUL byte (byte {data.index(0)})")
    return text


def control_in(text: str) -> str | None:
    """Return the first control character that text does not hold, or None."""
    if text.isprintable():
        return None
    for char in text:
        if (char < " " or "\x7f" <= char < "\xa0") and char not in _ALLOWED_CONTROLS:
            return char
    return None


def hidden_in(text: str) -> str | None:
    """Return the first bidi control or tag character, or None: what makes code lie to its reader."""
    if text.isascii():
        return None
    return next((c for c in text if c in BIDI_CONTROLS or ord(c) in TAG_RANGE), None)


def name_of(char: str) -> str:
    """`U+202E`, for messages."""
    return f"U+{ord(char):04X}"

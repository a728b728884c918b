"""Decoded views: what a reader or a program would make of a text, with the way back.

The rule: every character of a view knows which range of the original text it came from, so
whatever is found in a view is cut out of the original, escapes and all.

One pass decodes HTML entities, JSON and URL escapes, drops characters without width, turns
full-width and other compatibility forms into plain ones (NFKC) and the digits of all scripts
into 0 to 9. Escapes in escapes are decoded up to `MAX_ROUNDS` deep.
"""

import html
import re
import unicodedata
from collections.abc import Callable
from functools import cached_property
from typing import Any

from pratique.redact.skeleton import skeleton

MAX_ROUNDS = 4

_ESCAPE = re.compile(
    r"&(?:\#[0-9]{1,7}|\#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"
    r"|&\#(?:[0-9]{2,7}|[xX][0-9a-fA-F]{2,6})"
    r"|(?:%[0-9a-fA-F]{2})+"
    r"|\\{1,8}u\{[0-9a-fA-F]{1,6}\}|\\{1,8}(?:u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|x[0-9a-fA-F]{2})"
    r"|\\{1,8}[nrt\"/']",
)
_NAMED = {"n": "\n", "r": "\r", "t": "\t"}
_MAX_CODE = 0x10FFFF

Piece = tuple[str, int]  # decoded text and how many characters of the source it stands for


class View:
    """A text as it reads once decoded, and for each character where it came from."""

    __slots__ = ("__dict__", "_ends", "_starts", "memo", "text")

    def __init__(
        self, text: str, starts: list[int] | None = None, ends: list[int] | None = None
    ) -> None:
        self.text = text
        self._starts = starts
        self._ends = ends
        self.memo: dict[object, Any] = {}

    @cached_property
    def skeleton(self) -> bytes:
        """One byte for each character; see `pratique.redact.skeleton`."""
        return skeleton(self.text)

    @cached_property
    def lowered(self) -> bytes:
        """The skeleton in lower case, Cyrillic included."""
        if self.text.isascii():
            return self.skeleton.lower()
        return skeleton(self.folded).lower()

    @cached_property
    def folded(self) -> str:
        """The text in lower case, where that has as many characters."""
        lower = self.text.lower()
        return lower if len(lower) == len(self.text) else self.text

    @cached_property
    def latin_only(self) -> bool:
        """Whether no letter is outside the Latin and Cyrillic scripts."""
        return self.text.isascii() or not any(c in self.skeleton for c in b"\x82\x84\x85")

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """Return the range of the original text that ``[start, end)`` came from."""
        if self._starts is None or self._ends is None:
            return start, end
        if start >= end:
            return self._starts[start] if start < len(self._starts) else 0, 0
        return self._starts[start], self._ends[end - 1]

    def rewritten(self, pieces: list[tuple[int, int, str]]) -> "View":
        """Return a view in which each ``(start, end, replacement)`` is made; sorted, disjoint."""
        return _splice(self, pieces)


def raw_view(text: str) -> View:
    """Return the text with widths, scripts' digits and invisible characters made plain."""
    return folded(View(text))


def decoded_view(view: View) -> View | None:
    """Return ``view`` with its escapes decoded, or None when it has none."""
    current = view
    for _ in range(MAX_ROUNDS):
        following = _decode_escapes(current)
        if following is None:
            break
        current = folded(following)
    return None if current is view else current


def _splice(view: View, pieces: list[tuple[int, int, str]]) -> View:
    """Replace ranges of a view; each new character stands for its whole range."""
    text = view.text
    starts, ends = _maps(view)
    out: list[str] = []
    out_starts: list[int] = []
    out_ends: list[int] = []
    at = 0
    for start, end, new in pieces:
        out.append(text[at:start])
        out_starts += starts[at:start]
        out_ends += ends[at:start]
        if new:
            first, last = starts[start], ends[end - 1]
            out.append(new)
            out_starts += [first] * len(new)
            out_ends += [last] * len(new)
        at = end
    out.append(text[at:])
    out_starts += starts[at:]
    out_ends += ends[at:]
    return View("".join(out), out_starts, out_ends)


def _maps(view: View) -> tuple[list[int], list[int]]:
    # The one place outside the class that reads its maps: a friend in the same module.
    starts, ends = view._starts, view._ends  # noqa: SLF001
    if starts is None or ends is None:
        size = len(view.text)
        return list(range(size)), list(range(1, size + 1))
    return starts, ends


_Decode = Callable[[str], str]


def _decode_escapes(view: View) -> View | None:
    text = view.text
    if "&" not in text and "%" not in text and "\\" not in text:
        return None
    pieces: list[tuple[int, int, str]] = []
    for match in _ESCAPE.finditer(text):
        at = match.start()
        for new, width in _decode(match.group()):
            pieces.append((at, at + width, new))
            at += width
    if all(text[start:end] == new for start, end, new in pieces):
        return None
    return _splice(view, pieces)


def _decode(escape: str) -> list[Piece]:
    """Decode one escape, or one run of percent escapes, piece by piece."""
    if escape[0] == "%":
        return _percent(escape)
    if escape[0] == "&":
        named = html.unescape(escape if escape.endswith(";") else f"{escape};")
        return [(named, len(escape))]
    body = escape.lstrip("\\")
    if body[0] in "uUx" and len(body) > 1:
        code = int(body[1:].strip("{}"), 16)
        char = chr(code) if code <= _MAX_CODE and not 0xD800 <= code < 0xE000 else "\ufffd"
        return [(char, len(escape))]
    return [(_NAMED.get(body, body), len(escape))]


def _percent(run: str) -> list[Piece]:
    data = bytes.fromhex(run.replace("%", ""))
    text = data.decode("utf-8", "replace")
    pieces: list[Piece] = []
    left = len(data)
    for char in text:
        width = min(len(char.encode()) if char != "\ufffd" else 1, left)
        pieces.append((char, 3 * width))
        left -= width
    return pieces


class _Folds(dict[str, str]):
    """What each character folds to; pure, at most one entry for each code point."""

    def __missing__(self, char: str) -> str:
        value = _fold_char(char)
        self[char] = value
        return value


def _fold_char(char: str) -> str:
    category = unicodedata.category(char)
    if category == "Nd":
        return str(unicodedata.decimal(char))
    # Format characters, joiners, variation selectors, and accents written apart.
    if category in {"Cf", "Me"} or char in "\u034f\u115f\u1160\u3164\uffa0\u180b\u180c\u180d":
        return ""
    if category == "Mn" and ("\u0300" <= char <= "\u036f" or "\ufe00" <= char <= "\ufe0f"):
        return ""
    plain = unicodedata.normalize("NFKC", char)
    if len(plain) == 1 or not plain.isascii():
        return plain if len(plain) == 1 else char
    return plain


_FOLDS = _Folds()


def folded(view: View) -> View:
    """Return ``view`` with widths, scripts' digits and invisible characters made plain."""
    text = view.text
    if text.isascii():
        return view
    changed = {c: _FOLDS[c] for c in set(text) if ord(c) >= 0x80 and _FOLDS[c] != c}
    if not changed:
        return view
    if all(len(new) == 1 for new in changed.values()):
        starts, ends = view._starts, view._ends  # noqa: SLF001  a friend in the same module
        return View(text.translate({ord(c): new for c, new in changed.items()}), starts, ends)
    pieces = [(i, i + 1, changed[c]) for i, c in enumerate(text) if c in changed]
    return _splice(view, pieces)

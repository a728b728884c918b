"""Patterns over skeletons, compiled once by RE2 and never run where they cannot match.

The rule: every pattern runs in time linear in the text, whatever the text. A pattern may name
`triggers`, literals of which at least one must occur; looking for them is far cheaper than
the automaton.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import Protocol

import re2

from pratique.redact.skeleton import CASELESS, LOWER, OTHER, UPPER, skeleton
from pratique.redact.view import View

_CLASSES = (CASELESS + LOWER + OTHER + UPPER).encode("latin-1")
_ASCII = 0x80
_MAX_REPEAT = 60
_REPEAT = re.compile(r"\{(\d+),(\d+)\}")


class Match(Protocol):
    """What RE2 gives back, as far as it is used here."""

    def start(self, group: int = 0) -> int:
        """Where the group begins; -1 when it took no part."""
        ...

    def end(self, group: int = 0) -> int:
        """Where the group ends."""
        ...

    def span(self, group: int = 0) -> tuple[int, int]:
        """Where the group stands."""
        ...

    def group(self, group: int = 0) -> bytes:
        """What the group matched."""
        ...


class Expression(Protocol):
    """A compiled pattern over bytes."""

    def finditer(self, text: bytes, pos: int = 0, endpos: int | None = None) -> Iterator[Match]:
        """Yield matches from left to right."""
        ...

    def match(self, text: bytes, pos: int = 0, endpos: int | None = None) -> Match | None:
        """Return the match at ``pos``."""
        ...

    def search(self, text: bytes, pos: int = 0, endpos: int | None = None) -> Match | None:
        """Return the first match."""
        ...


class TextExpression(Protocol):
    """A compiled pattern over text, for scripts that a skeleton does not tell apart."""

    def finditer(self, text: str, pos: int = 0, endpos: int | None = None) -> Iterator[Match]:
        """Yield matches from left to right."""
        ...


@cache
def _options(*, latin: bool) -> object:
    options = re2.Options()
    options.max_mem = 32 << 20
    options.log_errors = False  # RE2 logs pieces of what it could not match
    if latin:
        options.encoding = re2.Options.Encoding.LATIN1
    return options


def _encode(source: str, *, ignore_case: bool) -> bytes:
    """Write the letters of a pattern as the bytes that stand for them in a skeleton."""
    out: list[str] = []
    for char in source:
        if ord(char) < _ASCII:
            out.append(char)
            continue
        cases = {char.lower(), char.upper()} if ignore_case else {char}
        bytes_ = {skeleton(c)[0] for c in cases if len(c) == 1}
        codes = "".join(f"\\x{b:02X}" for b in sorted(bytes_))
        out.append(f"[{codes}]" if len(bytes_) > 1 else codes)
    body = "".join(out)
    return (f"(?i){body}" if ignore_case else body).encode("ascii")


def _opened(source: str) -> str:
    """Open high upper bounds: RE2 unrolls counted repeats, and a longer match is no worse."""
    return _REPEAT.sub(lambda m: f"{{{m[1]},}}" if int(m[2]) > _MAX_REPEAT else m[0], source)


class Pattern:
    """A pattern over skeletons. Accents and Cyrillic letters may be written outside of brackets.

    An upper bound of a repeat above 60 means "no bound".
    """

    __slots__ = ("_compiled", "_ignore_case", "_source", "triggers")

    def __init__(self, source: str, *triggers: str, ignore_case: bool = False) -> None:
        self._source = source
        self._ignore_case = ignore_case
        self._compiled: Expression | None = None
        self.triggers = tuple(skeleton(t.lower()) for t in triggers)

    @property
    def regexp(self) -> Expression:
        """The compiled expression; compiled when first asked for."""
        if self._compiled is None:
            source = _encode(_opened(self._source), ignore_case=self._ignore_case)
            compiled: Expression = re2.compile(source, options=_options(latin=True))
            self._compiled = compiled
            return compiled
        return self._compiled

    def matches(self, view: View, start: int = 0, end: int | None = None) -> Iterator[Match]:
        """Yield RE2 matches from left to right, not overlapping."""
        if self.triggers:
            lowered = view.lowered
            if not any(t in lowered for t in self.triggers):
                return
        yield from self.regexp.finditer(view.skeleton, start, end)

    def at(self, view: View, start: int, end: int | None = None) -> Match | None:
        """Return the match that begins exactly at ``start``, or None."""
        return self.regexp.match(view.skeleton, start, end)


class Keywords:
    """Words in any language whose places in a view can be asked for.

    Latin words are written without accents and match at word boundaries, whatever their case;
    a space in a word matches any space, dash or underscore, or nothing at all. Words of other
    scripts match wherever they stand, because those scripts do not all part their words.
    """

    __slots__ = ("_foreign", "_foreign_words", "_latin")

    def __init__(self, *words: str) -> None:
        latin = [w for w in words if all(_has_byte(c) for c in w)]
        self._foreign_words = sorted(set(words) - set(latin), key=len, reverse=True)
        body = "|".join(_word(w) for w in sorted(latin, key=len, reverse=True))
        edge = r"(?:^|[^A-Za-z\xC0-\xFF])"
        self._latin = Pattern(rf"{edge}({body})", ignore_case=True) if latin else None
        self._foreign: TextExpression | None = None

    def hits(self, view: View) -> list[tuple[int, int]]:
        """Return where the words stand, sorted, as (start, end)."""
        found = view.memo.get(self)
        if found is None:
            found = sorted(self._hits(view))
            view.memo[self] = found
        return found

    def _hits(self, view: View) -> Iterator[tuple[int, int]]:
        if self._latin:
            skeleton = view.skeleton
            for match in self._latin.matches(view):
                start, end = match.span(1)
                word_ends = end >= len(skeleton) or not _is_letter(skeleton[end])
                if word_ends or not _is_letter(skeleton[end - 1]):
                    yield start, end
        if self._foreign_words and not view.latin_only:
            if self._foreign is None:
                body = "|".join(re2.escape(w.lower()) for w in self._foreign_words)
                foreign: TextExpression = re2.compile(body, options=_options(latin=False))
                self._foreign = foreign
            for match in self._foreign.finditer(view.folded):
                yield match.span()

    def before(self, view: View, position: int, reach: int = 48) -> int | None:
        """Return the end of the last word that ends at most ``reach`` before ``position``."""
        return _last_before(self.hits(view), position, reach)

    def near(self, view: View, start: int, end: int, reach: int = 48, after: int = 24) -> bool:
        """Say whether a word stands close before ``start`` or, closer, after ``end``."""
        hits = self.hits(view)
        if not hits:
            return False
        if _last_before(hits, start, reach) is not None:
            return True
        index = _bisect(hits, end)
        return index < len(hits) and hits[index][0] - end <= after


def _last_before(hits: list[tuple[int, int]], position: int, reach: int) -> int | None:
    index = _bisect(hits, position) - 1
    while index >= 0 and hits[index][1] > position:
        index -= 1
    if index >= 0 and position - hits[index][1] <= reach:
        return hits[index][1]
    return None


def _bisect(hits: list[tuple[int, int]], position: int) -> int:
    low, high = 0, len(hits)
    while low < high:
        middle = (low + high) // 2
        if hits[middle][0] < position:
            low = middle + 1
        else:
            high = middle
    return low


def _has_byte(char: str) -> bool:
    return ord(char) < _ASCII or skeleton(char)[0] not in _CLASSES


def _word(word: str) -> str:
    escaped = "".join(c if c.isalnum() or ord(c) >= _ASCII else f"\\{c}" for c in word if c != "\n")
    return escaped.replace("\\ ", r"[\s_\-]{0,2}")


def _is_letter(byte: int) -> bool:
    return 65 <= byte <= 90 or 97 <= byte <= 122 or byte >= 0xC0

"""People's names that the words around them give away.

The rule: a title, an introduction, a label, a greeting or a closing announces a name; a
capitalised word alone is never one.
"""

import itertools
from collections.abc import Iterator
from itertools import takewhile

from pratique.redact.eponyms import is_eponym
from pratique.redact.names import CASELESS, LAST_FIRST, LOWER, NAME, NOT_NAMES, trimmed, words_of
from pratique.redact.pattern import Pattern
from pratique.redact.skeleton import LETTER, LOW, UP
from pratique.redact.types import EntityType, Span
from pratique.redact.view import View
from pratique.redact.words.person import (
    BREAK,
    CLOSING,
    GREETING,
    HAN_STOP,
    HANGUL_TAILS,
    HONORIFIC,
    INTRO,
    LABELS,
    LINK,
    MAX_NAME,
    NEEDS_TWO,
    SEPARATOR,
    TITLE_GAP,
    TITLES,
    WEAK,
    WORD_STOPS,
)

_MAX_HAN, _MAX_HAN_PARTED = 4, 7


class PersonDetector:
    """Finds names in context."""

    name = "person"

    def find(self, view: View) -> list[Span]:
        """Return name spans; see `Detector.find`."""
        spans = [
            *_titled(view),
            *_owners(view),
            *_introduced(view),
            *_labelled(view),
            *_letters(view),
            *_weak(view),
        ]
        if not view.latin_only:
            spans += _honoured(view)
        return [Span(start, end, EntityType.PERSON) for start, end in spans]


def _named(
    view: View, at: int, *, least: int = 1, lower: bool = False, sure: bool = False
) -> tuple[int, int] | None:
    """Return the name that begins at ``at``, if one does; where ``sure``, everyday words too."""
    stop = min(len(view.skeleton), at + MAX_NAME)
    match = LAST_FIRST.at(view, at, stop) or NAME.at(view, at, stop)
    if match:
        if least > 1 and _begins_with_common(view, *match.span()):
            return None
        span = trimmed(view, *match.span())
        if (
            span
            and span[0] - at <= 12
            and len(words_of(view, *span)) >= least
            and _is_name(view, *span)
        ):
            return (match.start(), span[1]) if sure else span
        return None
    if not view.latin_only and (match := CASELESS.at(view, at, stop)):
        return _caseless(view, *match.span())
    if lower and (match := LOWER.at(view, at, stop)):
        span = trimmed(view, *match.span())
        if span and span[0] == at:
            return span
    return None


def _begins_with_common(view: View, start: int, end: int) -> bool:
    first = words_of(view, start, end)[:1]
    return (
        bool(first) and view.skeleton[first[0][0] : first[0][1]].lower().rstrip(b".") in NOT_NAMES
    )


def _is_name(view: View, start: int, end: int) -> bool:
    """Turn down identifiers, constants and calls."""
    skeleton = view.skeleton
    after = skeleton[end : end + 2]
    if after[:1] in {b"(", b"_", b"[", b"=", b"{"} or (
        after[:1] in {b".", b":", b"/", b"@"} and after[1:2].isalnum()
    ):
        return False
    if end - start <= 3 and skeleton[start:end].isupper():
        return False
    if skeleton[start - 1 : start] in {b"_", b"@", b"$", b"#"}:
        return False
    if after[:1].isdigit():
        return False
    word = skeleton[start:end]
    inner = sum(1 for a, b in itertools.pairwise(word) if 0x61 <= a <= 0x7A and 0x41 <= b <= 0x5A)
    return inner == 0 or word[:2] in {b"Mc", b"Ma", b"De", b"Di", b"La", b"Le", b"O'", b"Van"}


def _caseless(view: View, start: int, end: int) -> tuple[int, int] | None:
    """A name in a script without case: two to four characters of Han, or up to four words."""
    first = view.text[start]
    if _is_han(first):
        return _han_name(view, start, end)
    if "\uac00" <= first <= "\ud7a3":
        return _hangul_name(view.text[start:end].split(" ")[0], start)
    keep = list(takewhile(lambda w: w not in WORD_STOPS, view.text[start:end].split(" ")[:4]))
    size = len(" ".join(keep))
    return (start, start + size) if size >= 2 else None


def _han_name(view: View, start: int, end: int) -> tuple[int, int] | None:
    text = view.text
    stop = start
    limit = min(end, start + _MAX_HAN)
    if " " in text[start + 1 : limit]:
        limit = min(end, start + _MAX_HAN_PARTED)
    while stop < limit and text[stop] not in HAN_STOP:
        if not (_is_han(text[stop]) or _is_kana(text[stop]) or text[stop] == " "):
            break
        stop += 1
    for mark in HONORIFIC:
        if (found := text.find(mark, start + 1, stop + 2)) > 0:
            stop = min(stop, found)
    while stop > start and text[stop - 1] == " ":
        stop -= 1
    return (start, stop) if stop - start >= 2 else None


def _hangul_name(word: str, start: int) -> tuple[int, int] | None:
    tail = next((t for t in HANGUL_TAILS if word.endswith(t) and len(word) - len(t) >= 2), "")
    size = min(len(word) - len(tail), 5)
    return (start, start + size) if size >= 2 else None


def _is_han(char: str) -> bool:
    return "\u4e00" <= char <= "\u9fff" or char == "々"


def _is_kana(char: str) -> bool:
    return "\u3040" <= char <= "\u30ff"


def _titled(view: View) -> Iterator[tuple[int, int]]:
    for start, end in TITLES.hits(view):
        word = view.skeleton[start:end]
        if (
            word.islower()
            and word
            not in {
                b"herr",
                b"frau",
                b"mr",
                b"mrs",
                b"dr",
                b"pan",
                b"pani",
                b"signor",
                b"signora",
                b"sig",
                b"dott",
                b"don",
                b"senor",
                b"senora",
                b"monsieur",
                b"madame",
                b"mme",
                b"dhr",
                b"mevrouw",
                b"meneer",
            }
            and view.text[start].isascii()
        ):
            continue
        gap = TITLE_GAP.at(view, end)
        at = gap.end() if gap else end
        if at == end and view.skeleton[end - 1] < 0x82 and view.text[end - 1].isascii():
            continue
        span = _named(view, at)
        if span and not is_eponym(view.lowered[start : span[1]]):
            yield span


_OWNER = Pattern(
    rf"(?:^|[^{LETTER}])([{UP}][{LOW}]+)'s (?:iPhone|iPad|phone|laptop|MacBook|Mac|Android|Galaxy|Pixel|mobile|desk|birthday|wife|husband|son|daughter|mother|father|email|e-mail|account|address|number|passport|salary|diagnosis|password|medical|doctor|house|home|apartment|boss)",
    "'s",
)


def _owners(view: View) -> Iterator[tuple[int, int]]:
    for match in _OWNER.matches(view):
        if span := trimmed(view, *match.span(1)):
            yield span


def _introduced(view: View) -> Iterator[tuple[int, int]]:
    for start, end in INTRO.hits(view):
        link = LINK.at(view, end)
        at = link.end() if link else end
        if at < len(view.skeleton) and view.skeleton[at] == 0x20:
            at += 1
        strong = view.skeleton[start:end].lower()
        if span := _named(
            view,
            at,
            sure=strong.endswith(
                (b" is", b"heise", b"heisse", b"appelle", b"llamo", b"chiamo", b"called")
            ),
            lower=not (link and {*link.group()} & {*b"\"'*"})
            and strong.endswith(
                (b"name is", b"heise", b"appelle", b"llamo", b"chiamo", b"is", b"name's")
            ),
        ):
            yield span


def _labelled(view: View) -> Iterator[tuple[int, int]]:
    hits = LABELS.hits(view)
    starts = {start for start, _ in hits}
    for start, end in hits:
        separator = SEPARATOR.at(view, end)
        foreign = view.skeleton[end - 1] == 0x82
        if not separator and not foreign:
            continue
        at = separator.end() if separator else end + (view.skeleton[end : end + 1] == b" ")
        if foreign and at in starts:
            continue  # the label that follows has the name
        word = view.skeleton[start:end].lower()
        quoted = separator is not None and view.skeleton[at - 1 : at] in {b'"', b"'"}
        mark = separator.group() if separator else b""
        if (b"-" in mark and b":" not in mark) or (b"=" in mark and not quoted) or b">" in mark:
            least = 2
        else:
            least = 2 if word in NEEDS_TWO else 1
        if start and view.skeleton[start - 1 : start] in {b"-", b"_", b"."} and least == 1:
            least = 2
        if span := _named(view, at, least=least):
            yield span
            yield from _listed(view, span[1])


def _listed(view: View, end: int) -> Iterator[tuple[int, int]]:
    """More names after a first one: ``Attendees: Jane Roe, John Doe and Max Mustermann``."""
    for _ in range(12):
        match = _AND.at(view, end)
        span = _named(view, match.end(), least=2) if match else None
        if span is None:
            return
        yield span
        end = span[1]


_AND = Pattern(r",? (?:and|und|et|y|e|en|og|och|i|и) |[,;] ")


def _letters(view: View) -> Iterator[tuple[int, int]]:
    for _, end in GREETING.hits(view):
        gap = (
            end + 1
            if view.skeleton[end : end + 1] == b" "
            else end + 2
            if view.skeleton[end : end + 2] == b", "
            else 0
        )
        span = _named(view, gap) if gap else None
        if span and view.skeleton[span[0]] == 0x82 and not _addressed(view, end, *span):
            continue  # in a script without capitals only the comma behind tells a name
        if span and (
            len(words_of(view, *span)) > 1
            or view.skeleton[span[1] : span[1] + 1]
            in {b",", b"!", b"\n", b"", b":", b".", b";", b"-"}
            or view.skeleton[span[1] : span[1] + 2] == b" -"
        ):
            yield span
    for start, end in CLOSING.hits(view):
        match = BREAK.at(view, end)
        if not match or match.end() == end:
            continue
        mark = match.group()
        if b"\n" not in mark and b"," not in mark and b"-" not in mark:
            continue
        span = _named(view, match.end())
        if span is None or (
            start and view.skeleton[start - 1 : start] not in {b"\n", b" ", b".", b"\t", b'"'}
        ):
            continue
        line = view.skeleton[span[1] : span[1] + 2]
        if b"\n" in mark or line[:1] in {b"", b"\n", b".", b",", b"\r", b'"'}:
            yield span


def _addressed(view: View, greeting: int, start: int, end: int) -> bool:
    """Say whether a word without case stands alone between a greeting and a mark or line end."""
    if start - greeting > 1:
        return False
    after = view.text[end : end + 1]
    han = _is_han(view.text[start]) or "\uac00" <= view.text[start] <= "\ud7a3"
    return han or (after != "" and after in ",!،，:;.\n।")


def _weak(view: View) -> Iterator[tuple[int, int]]:
    """Two words or more, neither of them common, after words that often announce a person."""
    for start, end in WEAK.hits(view):
        gap = (
            1
            if view.skeleton[end : end + 1] == b" "
            else 2
            if view.skeleton[end : end + 2] == b", "
            else 0
        )
        if not gap:
            continue
        word = view.skeleton[start:end].lower()
        if word in _SMALL:
            continue
        span = _named(view, end + gap, least=2)
        if (
            span
            and len(words_of(view, *span)) <= 4
            and not view.skeleton[span[0] : span[1]].isupper()
        ):
            yield span


_SMALL = frozenset(
    b"es con mit met med com ben saya avec ici z contact call pay tell meet client sou".split()
) | {"я".encode("cp1251"), "это".encode("cp1251")}


def _family(text: str, given: int) -> int:
    """Return where a family name begins that stands before a given one, parted by a space."""
    start = given - 1
    while (
        start > 0
        and given - start < 4
        and _is_han(text[start - 1])
        and text[start - 1] not in HAN_STOP
    ):
        start -= 1
    return start


def _kana(text: str, stop: int) -> int:
    """Return where a given name in kana begins that has a family name before it: 後藤 あすか様."""
    start = stop
    while start > 0 and stop - start < 5 and _is_kana(text[start - 1]):
        start -= 1
    parted = stop - start > 1 and start > 1 and text[start - 1] == " " and _is_han(text[start - 2])
    return start if parted else stop


def _honoured(view: View) -> Iterator[tuple[int, int]]:
    """Names in Han, kana or Hangul before a word of respect: 田中さん, 王先生, 김철수 씨."""
    text = view.text
    for mark in HONORIFIC:
        at = text.find(mark)
        while at >= 0:
            stop = at - 1 if at and text[at - 1] == " " else at
            start = stop
            hangul = stop > 0 and "\uac00" <= text[stop - 1] <= "\ud7a3"
            while (
                start > 0
                and stop - start < (5 if hangul else 6)
                and (
                    "\uac00" <= text[start - 1] <= "\ud7a3"
                    if hangul
                    else (_is_han(text[start - 1]) and text[start - 1] not in HAN_STOP)
                )
            ):
                start -= 1
            if start == stop and not hangul:
                start = _kana(text, stop)
            if not hangul and start > 1 and text[start - 1] == " " and _is_han(text[start - 2]):
                start = _family(text, start)
            if (
                (2 if hangul else 1)
                <= stop - start
                <= (4 if hangul else 9 if " " in text[start:stop] else 5)
            ):
                yield start, stop
            at = text.find(mark, at + 1)

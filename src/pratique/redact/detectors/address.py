"""Postal addresses in the usual orders of the world.

The rule: a street word with a house number, a post-office box, or a postcode with its town in
a script of its own is an address; from there it reaches over flat, postcode, town, state and
country as long as these follow.
"""

from collections.abc import Iterator

import re2

from pratique.redact.pattern import Match, Pattern, TextExpression
from pratique.redact.skeleton import LETTER, UP
from pratique.redact.types import EntityType, Span
from pratique.redact.view import View
from pratique.redact.words.address import (
    BOX,
    BROADWAY,
    CAP,
    COMPOUND,
    EAST,
    FR,
    LABEL,
    LINE,
    MAX_LINE,
    MAX_SEGMENTS,
    NOT_POSTAL,
    NUMBER_FIRST,
    POST,
    PREPOSED,
    SEGMENTS,
    SPLIT,
    STOP,
    TYPE_FIRST,
    UNIT,
    WEAK_EN,
)


class AddressDetector:
    """Finds postal addresses."""

    name = "address"

    def find(self, view: View) -> list[Span]:
        """Return address spans; see `Detector.find`."""
        if not any(0x30 <= c <= 0x39 for c in view.skeleton):
            return []
        spans = [*_streets(view), *_labelled(view)]
        if not view.latin_only:
            spans += [m.span() for m in _east().finditer(view.text)]
        return [Span(start, end, EntityType.ADDRESS) for start, end in spans]


_compiled: dict[str, TextExpression] = {}


def _east() -> TextExpression:
    """Compile when a text in such a script first comes by."""
    if "east" not in _compiled:
        options = re2.Options()
        options.log_errors = False
        options.max_mem = 64 << 20
        _compiled["east"] = re2.compile(EAST, options=options)
    return _compiled["east"]


def _streets(view: View) -> Iterator[tuple[int, int]]:
    yield from _numbered(view)
    yield from _towns(view)
    yield from (m.span(1) for m in _MILITARY.matches(view))
    for pattern in (FR, BROADWAY):
        for match in pattern.matches(view):
            if not _glued(view, match.start()) and (pattern is not FR or _real_french(view, match)):
                yield match.start(), _reach(view, _trimmed(view, match.end()))
    yield from _named(view)


def _numbered(view: View) -> Iterator[tuple[int, int]]:
    for match in NUMBER_FIRST.matches(view):
        start, end = match.start(), max(match.end(3), _trimmed(view, match.end()))
        reached = _reach(view, end)
        kind = match.group(3).lower()
        plural = view.skeleton[match.end(3) : match.end(3) + 1] == b"s"
        if (plural or kind in WEAK_EN) and reached <= end + 2:
            continue
        if _glued(view, start):
            continue
        yield _with_flat(view, start), max(reached, _trimmed(view, match.end()))


def _named(view: View) -> Iterator[tuple[int, int]]:
    for pattern in (TYPE_FIRST, COMPOUND, SPLIT, PREPOSED, BOX):
        for match in pattern.matches(view):
            start, end = (
                match.start(1),
                _trimmed(view, match.end(1) if pattern is not COMPOUND else match.end(2)),
            )
            while view.skeleton[end : end + 1].isdigit():
                end += 1
            reached = _reach(view, end)
            more = 0 if _YEAR.at(view, end) else reached - end
            if _glued(view, start) or not _likely(view, pattern, match, more):
                continue
            yield _with_postcode(view, start), reached


_MILITARY = Pattern(
    rf"((?:USNV|USNS|USCGC|USS|PSC|CMR|Unit|UNIT)\s(?:{CAP}|\d{{1,5}})(?:,?\s(?:Box|BOX)\s\d{{1,5}})?[,\n]?\s?(?:APO|FPO|DPO),?\s(?:AA|AE|AP)\s\d{{5}}(?:-\d{{4}})?)",
    "apo",
    "fpo",
    "dpo",
)
# No street word, but a house number, and right behind it a postcode with its town.
_STREET_FIRST = Pattern(
    rf"([{UP}][{LETTER}'\-]*[a-z\x85\xE0-\xFF][{LETTER}'\-]*\.?(?:\s(?:(?:de|del|della|di|da|do|dos|das|du|la|le|van|von|der|den)\s)?{CAP}){{0,4}},?\s(?:n[o.]?\.?\s?)?\d{{1,4}}(?:[\-/]\d{{1,4}})?(?:\s?[A-Za-z])?\.?(?:,?\s(?:piano|apt\.?|piso|appartamento|interno)\s\d{{1,3}})?\s?)[,\n]\s?(?:[A-Za-z]+\s?){{0,3}}"
)
_HOUSE_FIRST = Pattern(
    rf"((?:\d{{1,3}}-){{0,2}}\d{{1,5}}[A-Za-z]?,?\s{CAP}(?:\s{CAP}){{0,4}})[,\n]"
)
_YEAR = Pattern(r"[,\s\-]{0,4}(?:19|20)\d\d(?:[^\d]|$)")
_CODE = Pattern(rf"[^\d]{{0,40}}{POST}")


def _towns(view: View) -> Iterator[tuple[int, int]]:
    for pattern in (_STREET_FIRST, _HOUSE_FIRST):
        for match in pattern.matches(view):
            start, end = match.start(1), _trimmed(view, match.end(1))
            reached = _reach(view, end)
            tail = view.skeleton[end:reached]
            if _glued(view, start) or _YEAR.at(view, end) or not _CODE.regexp.match(tail):
                continue
            yield _with_flat(view, start), reached


_FLAT = Pattern(
    r"(?:^|[^A-Za-z])((?:flat|apartment|apt|unit|suite|ste|room|floor|no|number|house|shop|office|villa|plot)\.?\s#?[A-Za-z]?\d{0,4}[A-Za-z]?,?\s|[A-Z]?\d{1,4}/)$",
    ignore_case=True,
)


def _with_flat(view: View, start: int) -> int:
    """Take in the flat that is written before the house."""
    low = max(0, start - 20)
    match = _FLAT.regexp.search(view.skeleton[low:start])
    return low + int(match.start(1)) if match else start


def _real_french(view: View, match: Match) -> bool:
    words = view.skeleton[match.start() : match.end()].split()
    return len(words) >= 3 and (words[-1][:1].isupper() or len(words) >= 4)


_RARE = frozenset(
    b"canada glorieta pasadizo acceso vial cuesta peatonal cerrada circunvalacion privada viaducto prolongacion andador retorno periferico fazenda sitio chacara condominio conjunto residencial loteamento morro parque recanto setor trevo vereda viela vila nucleo favela ladeira esplanada lagoa jardim chemin rotonda stretto canale incrocio".split()
)


def _likely(view: View, pattern: Pattern, match: Match, more: int) -> bool:
    """Short street words are also other words; then a postcode or town must follow."""
    text = view.skeleton[match.start(1) : match.end(1)]
    if pattern is TYPE_FIRST:
        words = text.split()
        name = words[1:2]
        capital = (
            any(
                chr(w[0]).isupper() or (w[0] >= 0xC0 and w[0] < 0xE0) or 0x30 <= w[0] <= 0x39
                for w in words[1:-1]
            )
            if len(words) > 2
            else bool(name) and not name[0][:1].islower()
        )
        first = words[0].rstrip(b".,").lower()
        loose = first in {
            b"via",
            b"po",
            b"p.o",
            b"r",
            b"col",
            b"pl",
            b"al",
            b"os",
            b"cl",
            b"block",
            b"plot",
            b"house",
            b"flat",
            b"sector",
            b"phase",
            b"kr",
            b"str",
            b"bd",
            b"tr",
            b"ch",
            b"strada",
            b"pho",
            b"gang",
            b"nam",
            b"trg",
            b"cesta",
            b"plaza",
            b"largo",
            b"rambla",
            b"galleria",
            b"camino",
            b"ronda",
            b"v",
            b"duong",
            *_RARE,
        }
        return capital and (not loose or more > 3 or (first == b"via" and words[0][:1] == b"V"))
    if pattern is COMPOUND:
        word = match.group(1).lower()
        strong = word.endswith(
            (
                b"strase",
                b"strasse",
                b"str.",
                b"gasse",
                b"weg",
                b"platz",
                b"allee",
                b"straat",
                b"gracht",
                b"laan",
                b"plein",
                b"kade",
                b"gatan",
                b"vagen",
                b"veien",
                b"katu",
                b"utca",
                b"vej",
                b"damm",
                b"ufer",
                b"chaussee",
                b"dijk",
                b"singel",
                b"gade",
                b"gata",
                b"intie",
                b"ntie",
                b"kuja",
                b"polku",
            )
        )
        return more > 4 or strong
    if pattern is BOX:
        head = text.lower()
        return (
            more > 3
            or (b"box" in head[:8] and head[:1] == b"p")
            or head.startswith(
                (
                    b"postfach",
                    b"postbus",
                    b"apartado",
                    b"casella",
                    b"caixa",
                    b"boite",
                    b"postboks",
                    b"gpo",
                    b"skrytka",
                    b"post office",
                )
            )
        )
    return True


def _with_postcode(view: View, start: int) -> int:
    """Russian and eastern orders put postcode and town first."""
    low = max(0, start - 60)
    match = _LEADING.regexp.search(view.skeleton[low:start])  # sliced, so that `$` is the end
    return low + int(match.start(1)) if match else start


_LEADING = Pattern(
    rf"(?:^|[^0-9A-Za-z])((?:\d{{5,6}},?\s{{1,2}})?(?:(?:г\.|город|м\.|с\.|обл\.)\s?)?(?:{CAP}(?:\s(?:обл\.|область|край|р-н))?,\s){{1,3}}|\d{{5,6}},?\s{{1,2}})$"
)


_MAX_ASKED, _FAR = 2000, 80


def _reach(view: View, end: int) -> int:
    """Walk on over flat, postcode, town, state and country."""
    asked = view.memo[_reach] = view.memo.get(_reach, 0) + 1
    if asked > _MAX_ASKED:  # no letter has so many addresses: take more, not longer
        return min(end + _FAR, len(view.skeleton))
    at = end
    for _ in range(MAX_SEGMENTS):
        while view.skeleton[at : at + 2] in {b" ,", b",,"}:
            at += 1
        unit = UNIT.at(view, at)
        if unit and unit.end() > at + 2 and any(0x30 <= c <= 0x39 for c in unit.group()):
            at = _trimmed(view, int(unit.end()))
            continue
        best = at
        for pattern in SEGMENTS:
            match = pattern.at(view, at)
            if match and match.end() > best and not _stops(match.group()):
                best = int(match.end())
        if best == at:
            break
        at = _trimmed(view, best)
    return at


def _stops(segment: bytes) -> bool:
    words = segment.replace(b",", b" ").split()
    head = words[0].lower() if words else b""
    return (
        head in STOP
        or head.rstrip(b".:") in STOP
        or (len(words) == 1 and words[0].isdigit() and len(words[0]) > 6)
    )


def _trimmed(view: View, end: int) -> int:
    while (
        end and view.skeleton[end - 1] in b" \t\r\n\v\f,;:(-"
    ):  # not isspace: 0x85 is a letter here
        end -= 1
    return end


def _glued(view: View, start: int) -> bool:
    before = view.skeleton[start - 1 : start] if start else b""
    return before != b"" and (before.isalnum() or before in b"_-./#$") and before != b"-"


def _labelled(view: View) -> Iterator[tuple[int, int]]:
    for start, end in LABEL.hits(view):
        if NOT_POSTAL.regexp.search(view.skeleton[max(0, start - 14) : start]):
            continue
        match = LINE.at(view, end, min(len(view.skeleton), end + MAX_LINE))
        if not match:
            continue
        first, last = match.span(1)
        cuts = [at for word in _NEXT_FIELD_EAST if (at := view.text.find(word, first, last)) > 0]
        last = min([last, *cuts])
        last = _sentence_end(view, first, last)
        body = view.skeleton[first:last]
        digits = sum(0x30 <= c <= 0x39 for c in body)
        letters = sum(chr(c).isalpha() or c >= 0x80 for c in body)
        host = body.count(b".") >= 3 and b" " not in body.strip()
        if not digits or letters < 3 or b"://" in body or body[:2] == b"0x" or host:
            continue
        begins = chr(body[0]).isupper() or 0x30 <= body[0] <= 0x39 or body[0] >= 0x80
        several = b" " in body or body[0] >= 0x80
        if several and begins and letters * 3 >= digits and len(body.split()) <= 18:
            yield first, last


_NEXT_FIELD = Pattern(
    r"[\s,.;|(/\-]{1,3}(?:tel|telefon|telephone|telefono|phone|mobile|handy|cell|fax|e-?mail|mail|dob|born|geb|geboren|ne le|nee le|nacid|ssn|iban|dni|passport|patient|mrn|тел|телефон|паспорт)(?:[^A-Za-z]|$)",
    ignore_case=True,
)
_NEXT_FIELD_EAST = ("電話", "电话", "手机", "携帯", "전화", "هاتف", "טלפון")


def _sentence_end(view: View, first: int, last: int) -> int:
    """Stop at a full stop that ends a sentence, not at the one of an abbreviation."""
    at = first
    skeleton = view.skeleton
    while (at := skeleton.find(b". ", at, last)) >= 0:
        word = skeleton[first:at].rpartition(b" ")[2]
        if len(word) > 4 or word.isdigit():
            last = at
            break
        at += 2
    if cut := next(_NEXT_FIELD.regexp.finditer(skeleton, first, last), None):
        last = cut.start()
    while last > first and (
        skeleton[last - 1] in b" \t\r\n\v\f.,:"
        or (skeleton[last - 1] == 0x29 and b"(" not in skeleton[first:last])
    ):
        last -= 1
    return last

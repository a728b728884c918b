"""A view in which what people write to hide from machines is written plainly.

The rule: this view only adds findings. It turns "john (at) example dot com" into an address,
"4 1 1 1 …" and "four one one one …" into digits, "j o h n" into a word, and takes inline tags
out of words; detectors read it beside the plain views, never instead of them.
"""

from pratique.redact.pattern import Pattern
from pratique.redact.skeleton import LETTER
from pratique.redact.view import View

Edit = tuple[int, int, str]

_AT = "at|at[ -]?sign|@|arroba|chiocciola|arobase|arobas|klammeraffe|aet|snabel ?-?a|snabela|malpa|apenstaartje|zavinac|kukac|собака|собачка|alfakrull|krollalfa|snabel|aht"
_DOT = r"dot|\.|punto|point|punkt|ponto|точка|tochka|kropka|tecka|bodka|pont|nokta|prik|piste|punt|d0t|full ?stop"
_OPEN, _CLOSE = r"[(\[{<*_|~\-]", r"[)\]}>*_|~\-]"

_NAME = rf"[{LETTER}0-9_%+\-]{{1,64}}"
_BRACKETED_AT = Pattern(
    rf"\s{{0,3}}{_OPEN}{{1,2}}\s{{0,2}}(?:{_AT})\s{{0,2}}{_CLOSE}{{1,2}}\s{{0,3}}", ignore_case=True
)
_BRACKETED_DOT = Pattern(
    rf"\s{{0,3}}{_OPEN}{{1,2}}\s{{0,2}}(?:{_DOT})\s{{0,2}}{_CLOSE}{{1,2}}\s{{0,3}}",
    ignore_case=True,
)
_LETTER_AT = Pattern(r"[A-Za-z0-9]([(\[{]a[)\]}])[A-Za-z0-9]", "a", ignore_case=True)
_AFTER_AT = Pattern(
    rf"({_NAME}(?:\s{{1,3}}(?:{_DOT})\s{{1,3}}{_NAME}){{0,4}})@([{LETTER}0-9\-.]{{1,}}(?:\s{{1,3}}(?:{_DOT})\s{{1,3}}[{LETTER}0-9\-]{{2,}}){{0,4}})",
    "@",
    ignore_case=True,
)
_BRACKETED_COLON = Pattern(r"[\[(]:[\])]", ":")
_SPACED_AT = Pattern(
    r"[^\s(\[](\s{1,3}@\s{1,3}|\s{0,3}@\s{1,3}|\s{1,3}@)[A-Za-z0-9\-]+(\s{0,2}\.)?", "@"
)
_SPACED_DOT = Pattern(r"[A-Za-z0-9]\s{1,2}\.\s{1,2}[A-Za-z0-9]")
_ANY_DOT = rf"(?:\s{{1,3}}(?:{_DOT})\s{{1,3}}|\s{{0,3}}{_OPEN}{{1,2}}\s{{0,2}}(?:{_DOT})\s{{0,2}}{_CLOSE}{{1,2}}\s{{0,3}})"
_BARE = Pattern(
    rf"({_NAME}(?:\.{_NAME}|{_ANY_DOT}{_NAME}){{0,4}})"
    rf"(\s{{1,3}}(?:{_AT}|ät|chez)\s{{1,3}})"
    rf"([{LETTER}0-9\-]{{1,63}}(?:\.[{LETTER}0-9\-]{{2,63}}|{_ANY_DOT}[{LETTER}0-9\-]{{2,63}}){{1,4}})",
    ignore_case=True,
)
_BARE_DOT = Pattern(_ANY_DOT, ignore_case=True)
_NUMBER_DOT = Pattern(rf"\d{{1,3}}(?:\s{{1,3}}(?:{_DOT})\s{{1,3}}\d{{1,3}}){{3}}", ignore_case=True)
_MAIL_HINT = Pattern(
    r"e-?mail|mail|contact|write|reach|correo|courriel|kontakt|schreib|ecri|escrib|scriv|почт|пиши",
    ignore_case=True,
)
_TAGS = Pattern(
    r"<!--[^<>]{0,200}-->|</?(?:b|i|u|em|strong|span|font|mark|small|wbr|code|sub|sup|tt)(?:\s[^<>]{0,200})?/?>",
    "<",
    ignore_case=True,
)
_GLUE = Pattern(r"[\"']\s{0,3}[+.&]{1,2}\s{0,3}[\"']")
_SPACED = Pattern(r"(?:^|[\s\"'(:])((?:[^\s] {1,3}){5,}[^\s])(?:[\s\"'),.;!?]|$)")
_SPACED_BY = tuple(
    Pattern(rf"(?:^|[\s\"'(:=])((?:[A-Za-z0-9@+.]{sep}){{6,}}[A-Za-z0-9@])(?:[\s\"'),.;!?:=]|$)")
    for sep in (r"\.", "-", "_", r"\*", "/", r"\|", ",")
)
_DIGIT_WORDS = {
    "0": "zero|oh|null|nul|cero|zéro|nolla|noll|ноль|sifir",
    "1": "one|eins|uno|una|un|um|ein|jeden|один|bir|een|en|ett",
    "2": "two|zwei|zwo|deux|dos|due|dois|duas|dwa|два|iki|twee|to|tva",
    "3": "three|drei|trois|tres|tre|trzy|три|uc|drie",
    "4": "four|vier|quatre|cuatro|quattro|quatro|cztery|четыре|dort|fire|fyra",
    "5": "five|funf|fuenf|cinq|cinco|cinque|piec|пять|bes|vijf|fem",
    "6": "six|sechs|seis|sei|szesc|шесть|alti|zes|seks|sex",
    "7": "seven|sieben|sept|siete|sette|sete|siedem|семь|yedi|zeven|syv|sju",
    "8": "eight|acht|huit|ocho|otto|oito|osiem|восемь|sekiz|otte|atta",
    "9": "nine|neun|neuf|nueve|nove|dziewiec|девять|dokuz|negen|ni|nio",
}
_WORD = "|".join(w for words in _DIGIT_WORDS.values() for w in words.split("|")).replace("é", "e")
_NUMBER = Pattern(
    rf"(?:^|[^{LETTER}])((?:plus\s)?(?:(?:{_WORD}|\d)[\s,.\-]{{1,3}}){{5,}}(?:{_WORD}|\d))(?:[^{LETTER}]|$)",
    ignore_case=True,
)
_DIGIT_WORD = Pattern(
    "|".join(f"({words.replace('é', 'e')})" for words in _DIGIT_WORDS.values()), ignore_case=True
)
_HAN = str.maketrans("〇零一二三四五六七八九壹贰叁肆伍陆柒捌玖", "00123456789123456789")
_HAN_RUN = 6
_AT_SIGNS = (b"at", b"@", b"arroba", b"chiocciola", b"aroba", b"aet", b"snabel", b"malpa")


def spoken_view(view: View) -> View | None:
    """Return the plainly written view of ``view``, or None when nothing was hidden."""
    current = _apply(view, _edits_of_marks(view))
    current = _apply(current, _edits_of_spacing(current))
    current = _apply(current, _edits_of_mail(current))
    current = _apply(current, _edits_of_dots(current))
    current = _apply(current, _edits_of_digits(current))
    return None if current is view else current


def _apply(view: View, edits: list[Edit]) -> View:
    kept: list[Edit] = []
    at = -1
    for edit in sorted(edits, key=lambda e: (e[0], -e[1])):
        if edit[0] >= at:
            kept.append(edit)
            at = max(edit[1], edit[0])
    kept = [e for e in kept if view.text[e[0] : e[1]] != e[2]]
    return view.rewritten(kept) if kept else view


def _edits_of_marks(view: View) -> list[Edit]:
    edits = [(*m.span(), "") for m in _TAGS.matches(view)]
    if b'"' in view.skeleton or b"'" in view.skeleton:
        edits += [(*m.span(), "") for m in _GLUE.matches(view)]
    return edits


def _edits_of_mail(view: View) -> list[Edit]:
    edits = [(*m.span(), "@") for m in _BRACKETED_AT.matches(view)]
    edits += [(*m.span(), ".") for m in _BRACKETED_DOT.matches(view)]
    edits += [(*m.span(), ":") for m in _BRACKETED_COLON.matches(view)]
    edits += [(*m.span(1), "@") for m in _LETTER_AT.matches(view)]
    for match in _SPACED_AT.matches(view):
        start, end = match.span(1)
        both = view.skeleton[start] == 0x20 and view.skeleton[end - 1] == 0x20
        if both or match.span(2)[0] >= 0:  # "us @handle" is no address
            edits.append((start, end, "@"))
    if edits or b"@" in view.skeleton:
        for match in _SPACED_DOT.matches(view):
            edits.append((match.start() + 1, match.end() - 1, "."))
    for match in _NUMBER_DOT.matches(view):
        edits += [(*d.span(), ".") for d in _BARE_DOT.regexp.finditer(view.skeleton, *match.span())]
    edits += _edits_of_bare_mail(view)
    return edits


def _edits_of_dots(view: View) -> list[Edit]:
    """Finish "john@example dot com", half of which another step has already read."""
    return [
        (*dot.span(), ".")
        for match in _AFTER_AT.matches(view)
        for part in (match.span(1), match.span(2))
        for dot in _BARE_DOT.regexp.finditer(view.skeleton, *part)
    ]


def _edits_of_bare_mail(view: View) -> list[Edit]:
    """Read "john dot doe at example dot com", but not "look at example.com"."""
    edits: list[Edit] = []
    skeleton = view.skeleton
    for match in _BARE.matches(view):
        local, (at_start, at_end), domain = match.span(1), match.span(2), match.span(3)
        dots = [
            d.span() for part in (local, domain) for d in _BARE_DOT.regexp.finditer(skeleton, *part)
        ]
        plain = skeleton[local[0] : local[1]]
        hinted = _MAIL_HINT.regexp.search(skeleton, max(0, local[0] - 40), local[0])
        if dots or hinted or any(c in b"._0123456789" for c in plain):
            edits.append((at_start, at_end, "@"))
            edits += [(start, end, ".") for start, end in dots]
    return edits


def _edits_of_spacing(view: View) -> list[Edit]:
    edits: list[Edit] = []
    for match in _SPACED.matches(view):
        edits += _unspaced(view, match.span(1))
    if not edits:
        for pattern in _SPACED_BY:
            for match in pattern.matches(view):
                start, end = match.span(1)
                edits += [(i, i + 1, "") for i in range(start + 1, end, 2)]
    return edits


def _unspaced(view: View, bounds: tuple[int, int]) -> list[Edit]:
    """Drop single spaces; two or three spaces parted words, so one is kept."""
    edits: list[Edit] = []
    at, end = bounds
    while at < end:
        stop = at
        while stop < end and view.skeleton[stop] == 0x20:
            stop += 1
        if stop > at:
            edits.append((at, stop, "" if stop - at == 1 else " "))
        at = stop + 1
    return edits


def _edits_of_digits(view: View) -> list[Edit]:
    edits: list[Edit] = []
    for match in _NUMBER.matches(view):
        start, end = match.span(1)
        at = start
        if view.lowered.startswith(b"plus ", start):
            edits.append((start, start + 5, "+"))
            at = start + 5
        for word in _DIGIT_WORD.regexp.finditer(view.skeleton, start, end):
            if word.start() > at and not _has_digit(view, at, word.start()):
                edits.append((at, word.start(), ""))
            digit = next(i for i in range(10) if word.span(i + 1)[0] >= 0)
            edits.append((*word.span(), str(digit)))
            at = word.end()
    if not view.latin_only:
        edits += _edits_of_han(view)
    return edits


def _has_digit(view: View, start: int, end: int) -> bool:
    return any(0x30 <= c <= 0x39 for c in view.skeleton[start:end])


def _edits_of_han(view: View) -> list[Edit]:
    edits: list[Edit] = []
    run: list[Edit] = []
    for index, char in enumerate(view.text):
        if ord(char) in _HAN:
            run.append((index, index + 1, char.translate(_HAN)))
            continue
        if len(run) >= _HAN_RUN:
            edits += run
        run = []
    return edits + run if len(run) >= _HAN_RUN else edits

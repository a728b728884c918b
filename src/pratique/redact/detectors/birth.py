"""Dates of birth.

The rule: a date is personal only when the words say that somebody was born on it; other dates
stay.
"""

from pratique.redact.pattern import Keywords, Pattern
from pratique.redact.skeleton import LETTER
from pratique.redact.types import EntityType, Span
from pratique.redact.view import View

_WORDS = Keywords(
    "dob", "d.o.b", "d.o.b.", "d o b", "date of birth", "birth date", "birthdate", "birthday", "bday", "b-day", "born", "born on", "birth", "year of birth", "dateofbirth",
    "geburtsdatum", "geb", "geboren", "geboren am", "geb. am", "geburtstag", "gebdat", "geb.-dat", "date de naissance", "ne le", "nee le", "ne(e) le", "ne", "nee", "naissance", "anniversaire", "ddn", "d.d.n",
    "fecha de nacimiento", "nacido", "nacida", "nacio", "nacimiento", "cumpleanos", "fec nac", "f. nac", "fdn", "f nacimiento", "data di nascita", "nato", "nata", "nato il", "nata il", "compleanno", "nascita", "data de nascimento", "nascido", "nascida", "nasceu", "nascimento", "aniversario", "dn",
    "geboortedatum", "geboren op", "verjaardag", "gebdatum", "data urodzenia", "urodzony", "urodzona", "ur", "urodziny", "urodzil sie", "urodzila sie", "datum narozeni", "narozen", "narozena", "nar", "datum narodenia", "narodeny", "fodelsedatum", "fodd", "fodt", "fodselsdato", "fodselsdag", "fodelsedag", "syntymaaika", "syntynyt", "synt", "szuletesi datum", "szuletett", "szul", "data nasterii", "nascut", "nascuta", "dogum tarihi", "dogum", "dogumlu", "datum rodenja", "rodjen", "roden", "rojen", "gimimo data", "tanggal lahir", "tgl lahir", "lahir", "ngay sinh", "sinh ngay", "tarikh lahir", "tarehe ya kuzaliwa",
    "дата рождения", "дата рожд", "родился", "родилась", "рождения", "день рождения", "д.р", "д. р", "г.р", "дата народження", "народився", "народилася", "дата на раждане", "роден", "出生日期", "出生", "生日", "生于", "出生于", "生年月日", "誕生日", "生まれ", "생년월일", "출생", "생일", "태어", "تاريخ الميلاد", "تاريخ الولادة", "مواليد", "ولد", "ولدت", "תאריך לידה", "נולד", "נולדה", "יום הולדת", "ημερομηνία γέννησης", "γεννήθηκε", "γεννημένος", "γεννημένη", "ημ. γέννησης", "जन्म तिथि", "जन्मतिथि", "जन्म", "วันเกิด", "เกิดวันที่", "เกิด", "জন্ম তারিখ",
)  # fmt: skip
_MONTH = (
    "jan|feb|fev|mar|marz|mrz|maer|apr|avr|abr|mai|may|maj|mag|jun|giu|jul|lug|aug|aout|ago|sep|set|oct|okt|ott|out|nov|dec|dez|dic|des|ene|gen|ian|juin|juil|kwi|cze|lip|sie|wrz|paz|lis|gru|sty|lut|led|uno|bre|dub|kve|cer|srp|zar|rij|pro|"
    "tammi|helmi|maalis|huhti|touko|kesa|heina|elo|syys|loka|marras|joulu|oca|sub|nis|haz|tem|agu|eyl|eki|kas|ara|янв|фев|мар|апр|мая|май|июн|июл|авг|сен|окт|ноя|дек|січ|лют|бер|кві|тра|чер|лип|сер|вер|жов|лис|гру|thang|siec|maart|mei|augustus|oktober"
)
_YEAR = r"(?:1[89]\d\d|20[0-4]\d)"
_WORD = rf"[{LETTER}]{{0,10}}\.?"
_FORMS = (
    r"\d{1,2}\x82\d{1,2}\x82\d{1,2}\x82",  # a year of an era
    rf"{_YEAR}\s{{0,2}}[\-/.\x82\x01 ]\s{{0,2}}\d{{1,2}}\s{{0,2}}[\-/.\x82\x01 ]\s{{0,2}}\d{{1,2}}\x82?",
    rf"\d{{1,2}}\s{{0,2}}[\-/.,_ ]\s{{0,2}}\d{{1,2}}\s{{0,2}}[\-/.,_ ]\s{{0,2}}(?:{_YEAR}|'?\d\d)",
    rf"\d{{1,2}}(?:st|nd|rd|th|er|\.|o|a|-?го)?[\s\-/.,]{{0,3}}(?:of |de |d'|di |ngay )?(?:{_MONTH}){_WORD}[\s\-/.,']{{0,3}}(?:de |del |di |of |nam )?(?:{_YEAR}|\d\d)",
    rf"(?:{_MONTH}){_WORD}[\s\-/.]{{0,3}}\d{{1,2}}(?:st|nd|rd|th)?[\s\-/.,']{{1,3}}(?:{_YEAR}|\d\d)",
    rf"{_YEAR}[\s\-/.,]{{1,3}}(?:{_MONTH}){_WORD}[\s\-/.,]{{0,3}}\d{{1,2}}",
    rf"\d{{1,2}}\.?\s[\x82\x84\x85]{{2,12}}[\s,]{{1,2}}{_YEAR}",
    rf"{_YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])",
    rf"(?:0[1-9]|[12]\d|3[01])(?:0[1-9]|1[0-2]){_YEAR}",
)
_DATE = Pattern("|".join(_FORMS), ignore_case=True)
_MONTH_YEAR = Pattern(rf"(?:{_MONTH}){_WORD}\s(?:de |del |of )?{_YEAR}", ignore_case=True)
_SHORT = Pattern(r"[(\[,;]\s?b\.\s{0,2}", "b.")
_ERAS = ("昭和", "平成", "令和", "大正", "明治", "民國", "民国")
_ONLY_YEAR = Pattern(_YEAR)
_ALL = Pattern(
    rf"(?:^|[^0-9A-Za-z.])((?:1[89]|20)\d\d|\d{{1,2}}|(?:{_MONTH})[{LETTER}]*)", ignore_case=True
)
_REACH, _NEAR = 64, 12
_BEFORE = Keywords(
    "生まれ",
    "生",
    "出生",
    "태어",
    "doğumlu",
    "dogumlu",
    "dogdu",
    "született",
    "szuletett",
    "г.р",
    "года рождения",
    "birthday",
    "'s birthday",
    "is my birthday",
    "syntynyt",
    "생",
)
_STAR = Pattern(r"(?:^|[\s(,])\*\s?(\d{1,2}\.\s?\d{1,2}\.\s?(?:18|19|20)\d\d)")


class BirthDetector:
    """Finds dates of birth."""

    name = "birth"

    def find(self, view: View) -> list[Span]:
        """Return date spans; see `Detector.find`."""
        if not any(0x30 <= c <= 0x39 for c in view.skeleton):
            return []
        found = [Span.of(m.span(1), EntityType.DATE_OF_BIRTH) for m in _STAR.matches(view)]
        for _, end in _WORDS.hits(view):
            if span := _date_after(view, end):
                found.append(Span.of(span, EntityType.DATE_OF_BIRTH))
        found += [
            Span.of(span, EntityType.DATE_OF_BIRTH)
            for match in _SHORT.matches(view)
            if (span := _date_after(view, match.end())) and span[0] - match.end() <= 2
        ]
        for start, _ in _BEFORE.hits(view):
            if span := _date_before(view, start):
                found.append(Span.of(span, EntityType.DATE_OF_BIRTH))
        return found


def _date_after(view: View, end: int) -> tuple[int, int] | None:
    limit = min(len(view.skeleton), end + _REACH)
    for start in _starts(view, end, limit):
        match = _DATE.at(view, start, min(len(view.skeleton), limit + 24))
        if not match and start - end <= _NEAR:  # a year further off is another story
            match = _MONTH_YEAR.at(view, start) or _ONLY_YEAR.at(view, start)
        if match and not view.skeleton[match.end() : match.end() + 1].isdigit():
            era = view.text[max(0, start - 2) : start] in _ERAS
            return match.start() - 2 * era, match.end()
    return None


def _date_before(view: View, start: int) -> tuple[int, int] | None:
    for at in _starts(view, max(0, start - 32), start):
        match = _DATE.at(view, at, start)
        if match and start - match.end() <= _NEAR + 4:
            return int(match.start()), int(match.end())
    return None


def _starts(view: View, start: int, end: int) -> list[int]:
    """Return where a number or a month begins, nearest first, at most a few."""
    skeleton = view.skeleton
    out = []
    for match in _ALL.regexp.finditer(skeleton, max(0, start - 1), end):
        if match.start(1) >= start:
            out.append(int(match.start(1)))
        if len(out) >= 6:
            break
    return out

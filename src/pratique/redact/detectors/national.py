"""National and tax identity numbers.

The rule: a number whose form and checksum together are telling is taken wherever it stands;
one that many other numbers look like needs a word that announces it; and whatever follows such
a word closely is taken even when its checksum is wrong.
"""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import NamedTuple

from pratique.redact.pattern import Keywords, Pattern
from pratique.redact.types import EntityType, Span
from pratique.redact.view import View

_WORDS = Keywords(
    "ssn", "social security", "social security number", "social security no", "my social", "her social", "his social", "social number", "soc sec", "social insurance number", "social insurance", "tax id", "taxpayer id", "tin", "itin", "tax number", "tax file number", "tfn", "national id", "national identity", "national identification", "national id number", "national insurance", "national insurance number", "ni number", "nino", "nin", "id number", "id no", "id card", "identity card", "identity number", "identification number", "citizen id", "personal id", "personal number", "personal code", "identity document", "id document", "resident registration", "driver license", "drivers license", "driver's license", "driving licence", "driving license", "driver's licence", "dl number", "dl", "sa id", "rsa id", "licence number", "voter id", "residence permit", "green card", "alien number",
    "personalausweis", "personalausweisnummer", "ausweisnummer", "ausweis", "steuer id", "steueridentifikationsnummer", "steuernummer", "steuer-idnr", "idnr", "sozialversicherungsnummer", "rentenversicherungsnummer", "sv nummer", "svnr", "ahv", "ahv nummer", "fuhrerschein", "fuhrerscheinnummer", "aufenthaltstitel",
    "numero de securite sociale", "securite sociale", "numero secu", "n secu", "nir", "insee", "carte d'identite", "carte nationale d'identite", "cni", "numero fiscal", "permis de conduire", "numero national", "registre national", "rijksregisternummer", "rijksregister", "bsn", "burgerservicenummer", "sofinummer", "identiteitskaart", "rijbewijs", "niss", "insz",
    "dni", "nie", "nif", "documento nacional", "documento de identidad", "cedula", "cedula de ciudadania", "cedula de identidad", "curp", "rfc", "rut", "run", "cuit", "cuil", "seguridad social", "numero de la seguridad social", "nss", "identificacion", "numero de identidad", "carne de conducir", "licencia de conducir",
    "codice fiscale", "cod fiscale", "cf", "carta d'identita", "patente", "tessera sanitaria", "cpf", "rg", "registro geral", "pis", "pasep", "cartao de cidadao", "cartao do cidadao", "contribuinte", "numero de contribuinte", "bilhete de identidade", "titulo de eleitor", "cnh",
    "pesel", "nip", "dowod osobisty", "numer dowodu", "rodne cislo", "rc", "obcansky prukaz", "cnp", "cod numeric personal", "buletin", "oib", "emso", "jmbg", "egn", "егн", "szemelyi szam", "szemelyi igazolvany", "taj", "adoazonosito", "isikukood", "asmens kodas", "personas kods", "amka", "afm", "αφμ", "αμκα", "ταυτότητα",
    "personnummer", "fnr", "pnr", "persnr", "samordningsnummer", "fodselsnummer", "cpr", "cpr nummer", "cpr nr", "henkilotunnus", "hetu", "kennitala", "pps number", "ppsn", "pps", "personnr",
    "tc kimlik", "t.c. kimlik", "kimlik no", "kimlik numarasi", "tckn", "kimlik", "teudat zehut", "aadhaar", "aadhar", "uidai", "pan card", "pan number", "pan no", "pan", "nric", "fin", "mykad", "ic number", "no ktp", "ktp", "nik", "cnic", "philsys", "my number", "hkid", "sin", "sin number", "cccd", "cmnd", "can cuoc", "so cmnd", "umid", "sss number", "bvn",
    "инн", "снилс", "удостоверение личности", "иин", "рнокпп", "ідентифікаційний код", "іпн", "налоговый номер", "идентификационный номер",
    "身份证", "身份证号", "身分證", "身份證", "身分証", "公民身份号码", "マイナンバー", "個人番号", "免許証番号", "運転免許", "주민등록번호", "주민번호", "외국인등록번호", "운전면허", "رقم الهوية", "الرقم القومي", "الهوية الوطنية", "رقم الإقامة", "תעודת זהות", "ת.ז", "ת״ז", 'ת"ז', "מספר זהות", "आधार", "पैन", "बैन", "บัตรประชาชน", "เลขประจำตัวประชาชน", "জাতীয় পরিচয়", "ρυθμός",
)  # fmt: skip
_AFTER = Pattern(
    r"[\s:.#=\-()\[\]\"'\x01\x82\x85>|]{0,6}(?:(?:is|ist|est|es|e|jest|no|nr|number|num|nummer|numero|n|id|card|code|karta|lautet|on|for|na|номер|:|code|cislo|szam)[\s:.#=\-\"']{1,4}){0,3}"
    r"([A-Za-z]{0,4}[ \-.]?\d[A-Za-z0-9]*(?:[ \-./+][A-Za-z0-9]*\d[A-Za-z0-9]*|[ ][A-Z] \d+)*(?:[ \-./]?[A-Za-z0-9]{1,3})?|[A-Z]{3,6}\d{4,9}[A-Z0-9]{0,8}|[A-Z]{6}[A-Z0-9]{9,12})",
    ignore_case=True,
)
_GAP = Pattern(
    r"[^\n\d\]]{0,30}?([A-Z]{0,3}\d[A-Z0-9]*(?:[ \-./]\d[A-Z0-9]*)*(?:-[A-Z0-9]{1,2})?)(?:[^A-Za-z0-9]|$)"
)
_ONLY_CAPITALS = frozenset(
    b"sin fin pan run pis rc cf rg nip nin taj afm tin rut ni ic nik dl".split()
)
_MIN_DIGITS = 5
_MAX_SIZE = 24


def _stdnum(name: str) -> Callable[[str], bool]:
    @cache
    def module() -> Callable[[str], bool]:
        valid: Callable[[str], bool] = import_module(f"stdnum.{name}").is_valid
        return valid

    return lambda text: bool(module()(text))


def _any(_text: str) -> bool:
    return True


class _Form(NamedTuple):
    """A form of number that needs no word: its pattern and its checksum."""

    pattern: Pattern
    valid: Callable[[str], bool]


def _form(source: str, valid: Callable[[str], bool] = _any) -> _Form:
    return _Form(
        Pattern(rf"(?:^|[^A-Za-z0-9_.\-/])({source})(?:[^A-Za-z0-9_]|$)", ignore_case=True), valid
    )


def _ssn(text: str) -> bool:
    digits = "".join(c for c in text if c.isdigit())
    return digits[:3] not in {"000", "666"} and digits[3:5] != "00" and digits[5:] != "0000"


def _dated(at: int, order: str) -> Callable[[str], bool]:
    """Check that six digits from ``at`` are a date, ``order`` being ymd or dmy."""

    def valid(text: str) -> bool:
        digits = "".join(c for c in text if c.isdigit())
        first, month, last = digits[at : at + 2], digits[at + 2 : at + 4], digits[at + 4 : at + 6]
        day = int(last if order == "ymd" else first) % 40
        return 1 <= int(month) % 20 <= 12 and 1 <= day <= 31

    return valid


def _both(*checks: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda text: all(check(text) for check in checks)


def _birth_number(text: str) -> bool:
    long = sum(c.isdigit() for c in text) == 12
    return _dated(2 if long else 0, "ymd")(text) or _dated(0, "dmy")(text)


_SEP = r"(?: ?[\-.] ?| )"
_FORMS = (
    _form(rf"\d{{3}}{_SEP}\d{{2}}{_SEP}\d{{4}}", _ssn),  # US; the groups 3-2-4 are its own
    _form(r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]"),  # GB
    _form(
        r"[12][ .]?\d{2}[ .]?(?:0[1-9]|1[0-2]|[2-9]\d)[ .]?(?:\d{2}|2[AB])[ .]?\d{3}[ .]?\d{3}[ .]?\d{2}",
        _stdnum("fr.nir"),
    ),
    _form(r"[12] \d{2} (?:0[1-9]|1[0-2]) (?:\d{2}|2[AB]) \d{3} \d{3}(?: \d{2})?"),
    _form(r"\d{8}[ \-]?[A-HJ-NP-TV-Z]", _stdnum("es.dni")),
    _form(r"[XYZ][ \-]?\d{7}[ \-]?[A-HJ-NP-TV-Z]", _stdnum("es.nie")),
    _form(r"[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]"),  # IT: the form is telling enough
    _form(r"[A-Z]{3} ?[A-Z]{3} ?\d{2}[A-EHLMPRST]\d{2} ?[A-Z]\d{3}[A-Z]"),
    _form(r"756[.\- ]?\d{4}[.\- ]?\d{4}[.\- ]?\d{2}", _stdnum("ch.ssn")),
    _form(r"\d{2}\.\d{2}\.\d{2}[\- ]\d{3}[.\-]\d{2}"),  # BE
    _form(r"(?:19|20)?\d{6}[\-+]\d{4}", _birth_number),  # SE, DK, LV, KR
    _form(r"\d{6} \d{5}", _stdnum("no.fodselsnummer")),
    _form(r"\d{6}[\-+A-FU-Y]\d{3}[0-9A-FHJ-NPR-Y]", _stdnum("fi.hetu")),
    _form(r"\d{6}/\d{3,4}", _both(_dated(0, "ymd"))),  # CZ, SK
    _form(r"[1-9]\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{6}", _stdnum("ro.cnp")),
    _form(r"\d{3}\.\d{3}\.\d{3}-\d{2}"),  # BR
    _form(r"\d{2}-\d{8}-\d", _stdnum("ar.cuit")),
    _form(r"\d{1,2}\.\d{3}\.\d{3}-[\dK]"),  # CL
    _form(r"\d{7,8}-[\dK]", _stdnum("cl.rut")),
    _form(r"[A-Z][AEIOUX][A-Z]{2}\d{6}[HM][A-Z]{5}[A-Z0-9]\d"),  # MX
    _form(r"\d{4} \d{4} \d{4}", _stdnum("in_.aadhaar")),
    _form(r"\d{4}-\d{4}-\d{4}", _stdnum("in_.aadhaar")),
    _form(r"[A-Z]{3}[ABCFGHJLPT][A-Z]\d{4}[A-Z]"),  # IN
    _form(r"[1-9]\d{5}(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dX]"),  # CN
    _form(r"\d{6}-[0-9]\d{6}", _dated(0, "ymd")),  # KR
    _form(r"[STFGM]\d{7}[A-Z]"),  # SG
    _form(r"[A-Z]{1,2}\d{6}\([0-9A]\)"),  # HK
    _form(r"\d{6}-\d{2}-\d{4}", _dated(0, "ymd")),  # MY
    _form(r"\d-\d{4}-\d{5}-\d{2}-\d"),  # TH
    _form(r"\d{5}-\d{7}-\d"),  # PK
    _form(r"\d{3}-\d{3}-\d{3} \d{2}"),  # RU
    _form(r"784-\d{4}-\d{7}-\d"),  # AE
    _form(r"[12]\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{6}", _stdnum("ro.cnp")),
)


class NationalDetector:
    """Finds identity numbers."""

    name = "national"

    def find(self, view: View) -> list[Span]:
        """Return number spans; see `Detector.find`."""
        if not any(0x30 <= c <= 0x39 for c in view.skeleton):
            return []
        found = []
        for form in _FORMS:
            for match in form.pattern.matches(view):
                start, end = match.span(1)
                if not _decimal(view, end) and form.valid(
                    view.skeleton[start:end].decode("latin-1")
                ):
                    found.append(Span(start, end, EntityType.NATIONAL_ID))
        for begin, end in _WORDS.hits(view):
            word = view.skeleton[begin:end]
            if word.islower() and word in _ONLY_CAPITALS:
                continue  # ``sin 123456`` and ``run-20240115``
            if span := _announced(view, end):
                found.append(Span.of(span, EntityType.NATIONAL_ID))
        return found


def _decimal(view: View, end: int) -> bool:
    after = view.skeleton[end : end + 2]
    return after[:1] in {b".", b"-", b"/"} and after[1:2].isalnum()


def _announced(view: View, end: int) -> tuple[int, int] | None:
    for pattern in (_AFTER, _GAP):
        match = pattern.at(view, end, min(len(view.skeleton), end + 90))
        if match and (span := _number(view, *match.span(1))):
            return span
    return None


def _number(view: View, start: int, end: int) -> tuple[int, int] | None:
    token = view.skeleton[start:end]
    digits = sum(0x30 <= c <= 0x39 for c in token)
    if end - start > _MAX_SIZE or digits < _MIN_DIGITS - (len(token) >= 9):
        return None
    if token.count(b".") == 3 and all(p.isdigit() and int(p) < 256 for p in token.split(b".")):
        return None
    head = token.split(b" ")[0]
    if head.isalpha() and len(head) > 3:
        return None
    while end > start and not chr(view.skeleton[end - 1]).isalnum():
        end -= 1
    tail = token.rpartition(b" ")[2]
    if b" " in token and tail.isalpha() and tail.islower():
        end -= len(tail) + 1
    return start, end

"""Telephone numbers of the world.

The rule: a number with a country code, a number in a national form, or any run of the right
length near a word that announces a telephone. `phonenumbers` is asked only for runs that have
the form but neither a code nor a word, at most `_MAX_ASKED` times for one text; beyond that
the form alone decides, so that a hostile text is redacted more, not slower.
"""

import itertools
from functools import cache
from types import ModuleType

from pratique.redact.digits import Cluster, clusters
from pratique.redact.pattern import Keywords, Pattern
from pratique.redact.types import EntityType, Span
from pratique.redact.view import View

_WORDS = Keywords(
    "phone", "phones", "phone number", "telephone", "tel", "tele", "mobile", "mobil", "mobiltelefon", "cell", "cellphone", "call", "calls", "called", "calling", "fax", "whatsapp",
    "sms", "text me", "text her", "text him", "text us", "text them", "text", "txt", "number is", "my number", "my new number", "new number", "her number", "his number", "your number", "our number", "cell number", "contact number", "line is", "office line", "direct line", "line", "dial", "ring", "reach", "reached", "contact", "hotline", "landline", "handset", "phone no", "voicemail", "signal", "telegram", "viber",
    "telefon", "telefonnummer", "telefonnr", "handy", "handynummer", "festnetz", "ruf", "rufnummer", "anrufen", "ruf mich", "erreichbar", "erreichen", "durchwahl",
    "telephoner", "portable", "appelez", "appeler", "appelle", "telecopie", "joignable", "joindre", "numero de telephone", "gsm",
    "telefono", "movil", "celular", "llamar", "llame", "llama", "llamame", "telf", "tlf", "cel", "fijo", "cellulare", "chiamare", "chiami", "chiamami", "chiama", "recapito", "telefone", "telemovel", "ligue", "ligar", "zap", "fone",
    "telefoon", "telefoonnummer", "mobiel", "bel", "bellen", "bereikbaar", "telefonu", "komorka", "komorkowy", "zadzwon", "dzwonic", "zadzwonic", "mobilni", "mobilny", "zavolejte", "volejte",
    "puhelin", "puh", "puhelinnumero", "soita", "ring meg", "telefonszam", "hivjon", "mobiltelefonszam", "telefonu", "cep", "ara", "arayin", "cep telefonu", "gsm no", "telepon", "hp", "nomor", "dien thoai", "sdt", "di dong", "simu",
    "телефон", "телефона", "телефону", "тел", "моб", "мобильный", "звоните", "позвоните", "позвони", "звонить", "сотовый", "номер телефона", "факс", "мобільний", "телефонуйте",
    "电话", "手机", "電話", "手機", "携帯", "联系方式", "致电", "전화", "휴대폰", "연락처", "핸드폰", "هاتف", "جوال", "الهاتف", "اتصل", "موبايل", "טלפון", "נייד", "פלאפון", "τηλέφωνο", "τηλ", "κινητό", "फोन", "मोबाइल", "फ़ोन", "โทร", "โทรศัพท์", "เบอร์", "ফোন",
)  # fmt: skip
_WEAK = Keywords(
    "number",
    "no",
    "nr",
    "nummer",
    "numero",
    "numer",
    "me at",
    "me on",
    "us at",
    "us on",
    "him at",
    "her at",
    "номер",
    "번호",
    "番号",
    "号码",
)
_NOT = Keywords(
    "order", "invoice", "ticket", "case", "issue", "isbn", "issn", "ean", "upc", "sku", "serial", "part", "model", "version", "build", "rfc", "ref", "tracking", "port", "ports", "pid", "row", "rows", "page", "pages", "step", "epoch", "seed", "size", "bytes", "byte", "offset", "id", "ids", "uid", "gid", "job", "run", "batch", "hash", "commit", "revision", "total", "price",
    "cost", "usd", "eur", "date", "time", "timestamp", "since", "year", "years", "lat", "lon", "latitude", "longitude", "coordinates", "population", "score", "loss", "lr", "doi", "arxiv", "cve", "patent",
    "zip", "zipcode", "account", "acct", "routing", "iban", "card", "passport", "ssn", "sum", "range", "mod", "bestellnummer", "rechnung", "auftrag", "commande", "facture", "pedido", "factura", "licence", "license", "policy", "mrn",
)  # fmt: skip
_EXTENSION = Pattern(
    r"[ ,;]{0,2}(?:x|ext\.?|extension|poste|durchwahl|dw|anexo|ramal|доб\.?|#|int\.?)[ .:]{0,2}\d{1,6}",
    ignore_case=True,
)
_AFTER = Pattern(
    r" (?:erreichbar|zu erreichen|anrufen|telefonisch|te bereiken|bereikbaar)|[\"')]?,? (?:is|ist|est|es|e) (?:my|his|her|our|their|the|meine?|mon|mi|il mio) [a-z ]{0,12}(?:phone|mobile|cell|number|nummer|telefon|handy|portable|numero|movil|telefono)",
    ignore_case=True,
)
_DATE = Pattern(
    r"(?:19|20)\d\d[\-/. _](?:0?[1-9]|1[0-2])[\-/. _](?:0?[1-9]|[12]\d|3[01])(?:[^\d]|$)"
    r"|(?:0?[1-9]|[12]\d|3[01])[\-/. ](?:0?[1-9]|[12]\d|3[01])[\-/. ](?:19|20)\d\d(?:[^\d]|$)"
)
_THOUSANDS = Pattern(r"\d{1,3}(?:(?:\.\d{3})+|(?:,\d{3})+)$")
_MAX_ASKED = 200
_CODES = frozenset(
    "1 7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 86 90 91 92 93 94 95 98".split()
)
_CODES_2 = frozenset("21 22 23 24 25 26 29 35 37 38 42 50 59 67 68 69 80 85 87 88 96 97 99".split())
# Groups that people write without a country code, and the first digits they may have.
_NANP = {(3, 3, 4)}
_REGIONS = ("GB", "DE", "FR", "IT", "ES", "NL", "BE", "CH", "AT", "AU", "JP", "KR", "CN", "BR", "IN", "SE", "PL", "ZA", "TR", "NZ", "IE", "FI", "NG", "ID", "TH", "VN", "IL", "EG", "UA", "RO", "HU", "GR", "MY", "PH", "TW", "HK", "SG", "KE", "PK", "BD", "SA", "AE")  # fmt: skip


class PhoneDetector:
    """Finds telephone numbers."""

    name = "phone"

    def find(self, view: View) -> list[Span]:
        """Return number spans; see `Detector.find`."""
        found = []
        asked = 0
        for cluster in clusters(view):
            for first, last in _parts(view, cluster):
                start, end = _bounds(view, cluster, first, last)
                if _is_glued(view, start, end):
                    continue
                verdict = _form(view, cluster, (first, last), (start, end))
                if verdict is None:
                    asked += 1
                    verdict = asked > _MAX_ASKED or _known(cluster.digits[first:last])
                if verdict:
                    found.append(Span(start, _with_extension(view, end), EntityType.PHONE))
        return found


def _parts(view: View, cluster: Cluster) -> list[tuple[int, int]]:
    """Cut a cluster where one number ends and the next begins."""
    skeleton = view.skeleton
    cuts = [0]
    for (_, end), (begin, _) in zip(cluster.groups, cluster.groups[1:], strict=False):
        gap = skeleton[cluster.at[end - 1] + 1 : cluster.at[begin]]
        if (
            b"\n" in gap
            or b"," in gap
            or b"|" in gap
            or (b"(" in gap[1:] and b")" not in gap and begin - cuts[-1] >= 7)
            or b"'" in gap
        ) or (gap in {b" / ", b" - "} and begin - cuts[-1] >= 7):
            cuts.append(begin)
    cuts.append(len(cluster.digits))
    return [(a, b) for a, b in itertools.pairwise(cuts) if b - a >= 5]


def _bounds(view: View, cluster: Cluster, first: int, last: int) -> tuple[int, int]:
    """Return where the number stands, its plus sign and opening bracket included."""
    start, end = cluster.span(first, last)
    skeleton = view.skeleton
    if start and skeleton[start - 1] == 0x28:
        start -= 1
    before = skeleton[max(0, start - 2) : start]
    if before.endswith(b"+"):
        start -= 1
        if start and skeleton[start - 1] == 0x28:
            start -= 1
    elif before == b"+ ":
        start -= 2
    return start, end


def _is_glued(view: View, start: int, end: int) -> bool:
    skeleton = view.skeleton
    before, after = skeleton[start - 1 : start] if start else b"", skeleton[end : end + 2]
    if before and (
        (chr(before[0]).isalnum() and before != b"\x82")
        or (before in b"_$#@=/\\.%&" and before != b"=" and not _tel_link(skeleton, start))
    ):
        return not _WORDS.before(view, start, 3)
    if before == b"-" and skeleton[start - 2 : start - 1].isalnum():
        return True
    if skeleton[start : start + 1] == b"+" or _WORDS.before(view, start, 12) is not None:
        return False  # announced: what touches its end is the next sentence
    if after[:1].isalpha() and after[:1] != b"\x82" and after[:1].lower() not in {b"x", b"e"}:
        return True
    return after[:1] in {b"_", b"%", b"@", b"$"} or (
        after[:1] in {b"-", b"/", b"."} and after[1:2].isalpha()
    )


def _tel_link(skeleton: bytes, start: int) -> bool:
    return skeleton[max(0, start - 10) : start].endswith((b"wa.me/", b"//"))


def _form(
    view: View, cluster: Cluster, part: tuple[int, int], place: tuple[int, int]
) -> bool | None:
    """Decide by form and words; None when the numbering plans must be asked."""
    (first, last), (start, end) = part, place
    digits = cluster.digits[first:last]
    size = len(digits)
    sizes = cluster.sizes(first, last)
    skeleton = view.skeleton
    plus = b"+" in skeleton[start : cluster.at[first]]
    if size > 17 or size < 6:
        return False
    if plus and size >= 8 and _has_code(digits):
        return True
    if _DATE.at(view, cluster.at[first]) and size <= 14:
        return False
    announced = _WORDS.before(view, start, 40)
    if announced is None and size >= 8 and _AFTER.at(view, end):
        return True
    refused = _refused(view, start)
    if announced is not None and size <= 15 and (refused is None or refused < announced):
        return True
    if refused is not None:
        return False
    if digits.startswith("00") and 10 <= size <= 16 and _has_code(digits.removeprefix("00")):
        return len(sizes) > 1 or size > 11
    if (
        _WEAK.before(view, start, 24) is not None
        and 8 <= size <= 13
        and len(sizes) > 1
        and not _THOUSANDS.regexp.match(view.skeleton[start:end])
    ):
        return True
    return _national(view, digits, sizes, start, end)


def _refused(view: View, start: int) -> int | None:
    """Return where a word ends that stands before the number on its line and says it is none."""
    refused = _NOT.before(view, start, 20)
    return None if refused is not None and b"\n" in view.skeleton[refused:start] else refused


def _national(view: View, digits: str, sizes: tuple[int, ...], start: int, end: int) -> bool | None:
    text = view.skeleton[start:end]
    size = len(digits)
    if sizes in _NANP or sizes in {(1, 3, 3, 4), (3, 3, 3, 4)}:
        if sizes == (3, 3, 4):
            return text[:1] == b"(" or b"-" in text or b"." in text or digits[0] in "23456789"
        return digits[0] in "18" or digits[:3] == "001"
    if b"," in text or b"*" in text or b"_" in text or b"\x01" in text:
        return False
    if len(sizes) == 1:
        # Ten or eleven digits without a break: only with a word, or behind a trunk 0 in brackets.
        return False
    if text[:1] == b"(" and b")" in text and 8 <= size <= 12 and max(sizes) <= 8:
        return True
    if digits[0] == "0" and 9 <= size <= 12 and max(sizes) <= 8 and sizes[0] >= 2:
        return None
    if sizes == (5, 5) and digits[0] in "6789":
        return True
    if digits[0] == "8" and size == 11 and sizes[:2] == (1, 3):  # Russia
        return True
    return None if sizes in {(3, 3, 3), (3, 2, 2, 2)} and digits[0] in "679" else False


def _has_code(digits: str) -> bool:
    return digits[0] in "17" or digits[:2] in _CODES or digits[:2] in _CODES_2


@cache
def _library() -> ModuleType:
    import phonenumbers  # noqa: PLC0415  13 MB of tables, needed for few texts

    return phonenumbers


def _known(digits: str) -> bool:
    """Ask the numbering plans whether somewhere this is a valid number."""
    library = _library()
    for region in _REGIONS:
        try:
            number = library.parse(digits, region)
        except library.NumberParseException:
            continue
        if library.is_valid_number_for_region(number, region):
            return True
    return False


def _with_extension(view: View, end: int) -> int:
    match = _EXTENSION.at(view, end)
    return int(match.end()) if match else end

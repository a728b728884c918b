"""Passport numbers and machine-readable zones.

The rule: passport numbers of most countries look like any reference, so the word decides; the
machine-readable lines of a document are taken whole, wherever they stand.
"""

from pratique.redact.pattern import Keywords, Pattern
from pratique.redact.types import EntityType, Span
from pratique.redact.view import View

_WORDS = Keywords(
    "passport", "passport number", "passport no", "passport num", "passport #", "passports", "reisepass", "reisepassnummer", "passnummer", "pass nr", "passnr", "passeport", "numero de passeport", "pasaporte", "numero de pasaporte", "passaporto", "numero di passaporto", "passaporte", "paspoort", "paspoortnummer",
    "paszport", "numer paszportu", "paszportu", "pas", "cestovni pas", "pass", "passi", "utlevel", "pasaport", "pasaport no", "pasaportul", "pasaport numarasi", "putovnica", "pasos", "pasu", "cislo pasu", "pasua", "passin", "paso numeris", "ho chieu", "paspor", "nomor paspor", "travel document", "travel document number", "passnumer",
    "паспорт", "паспорта", "загранпаспорт", "серия и номер", "паспорт серия", "номер паспорта", "护照", "护照号", "護照", "護照號碼", "パスポート", "旅券", "旅券番号", "여권", "여권번호", "جواز", "جواز السفر", "رقم الجواز", "דרכון", "διαβατήριο", "διαβατηρίου", "पासपोर्ट", "หนังสือเดินทาง", "พาสปอร์ต",
)  # fmt: skip
_NUMBER = Pattern(
    r"[^\n\d\]]{0,36}?(?:^|[^A-Za-z0-9])([A-Z]{1,3}[ \-]?\d{5,9}[A-Z]?|[A-Z]\d[A-Z0-9]{6,8}|[A-Z0-9]{2,3}\d{4,7}[A-Z0-9]{0,3}|\d{2}[A-Z]{2}\d{5}|\d{2} ?\d{2} ?(?:#|N|№|\x01)? ?\d{6}|\d{8,9}|\d{2} ?\d{7}|\d{7}|[CFGHJKLMNPRTVWXYZ][CFGHJKLMNPRTVWXYZ0-9]{8}|[A-Z]{2} ?\d{3} ?\d{3,4}|\d{3}[ \-]\d{3}[ \-]\d{3})(?:[^A-Za-z0-9]|$)",
    ignore_case=True,
)
_ZONE = Pattern(
    r"(?:P[A-Z<]|[IACV][A-Z<])[A-Z<]{3}[A-Z0-9<]{25,39}(?:\s{1,2}[A-Z0-9<]{30,44}){0,2}|[A-Z0-9<]{9}\d[A-Z<]{3}\d{7}[MFX<]\d{7}[A-Z0-9<]{2,20}",
    "<",
)
_ZONE_FREE = Pattern(r"[A-Z0-9]{9}\d[A-Z]{3}\d{7}[MF]\d{7}[A-Z0-9<]{14,16}")
_REACH = 72


class PassportDetector:
    """Finds passport numbers."""

    name = "passport"

    def find(self, view: View) -> list[Span]:
        """Return number spans; see `Detector.find`."""
        found = [
            Span.of(m.span(), EntityType.PASSPORT)
            for m in _ZONE.matches(view)
            if b"<<" in m.group() or m.group().count(b"<") > 1
        ]
        for _, end in _WORDS.hits(view):
            match = _NUMBER.at(view, end - 1, min(len(view.skeleton), end + _REACH))
            if match and sum(0x30 <= c <= 0x39 for c in match.group(1)) >= 3:
                word = view.skeleton[max(0, end - 5) : end].lower()
                direct = match.start(1) - end <= 12
                if direct or not (word.endswith((b" pas", b" pass"))):
                    found.append(Span.of(match.span(1), EntityType.PASSPORT))
        return found

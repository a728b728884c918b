"""International bank account numbers.

The rule: two letters of a country with IBANs, its length and the ISO 7064 mod 97-10 checksum;
near the word itself a wrong checksum is forgiven, because a mistyped account is still somebody's.
"""

from stdnum.iso7064 import mod_97_10

from pratique.redact.pattern import Keywords, Pattern
from pratique.redact.types import EntityType, Span
from pratique.redact.view import View

_CANDIDATE = Pattern(r"[A-Za-z]{2}[ \-._]?\d[ \-._]?\d(?:[ \-./_]{0,2}[A-Za-z0-9]){11,60}")
_WORDS = Keywords(
    "iban", "account", "konto", "kontonummer", "compte", "cuenta", "conto", "bankverbindung", "rekening", "rekeningnummer", "conta",
    "konta", "rachunek", "счет", "счёт", "tilinumero", "hesap", "口座", "账户", "bank",
)  # fmt: skip
_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29, "BY": 28,
    "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18,
    "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HN": 28, "HR": 21, "HU": 28,
    "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20,
    "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28,
    "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24,
    "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26,
    "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}  # fmt: skip


class IbanDetector:
    """Finds bank account numbers."""

    name = "iban"

    def find(self, view: View) -> list[Span]:
        """Return account spans; see `Detector.find`."""
        found = []
        for match in _CANDIDATE.matches(view):
            start = match.start()
            before = view.skeleton[start - 1 : start] if start else b""
            if before.isalnum() and not view.skeleton[:start].lower().endswith(b"iban"):
                continue
            if end := _end(view, start, match.end()):
                found.append(Span(start, end, EntityType.IBAN))
        return found


def _end(view: View, start: int, limit: int) -> int:
    """Return where the account number that begins at ``start`` ends, or 0."""
    skeleton = view.skeleton
    size = _LENGTHS.get(skeleton[start : start + 2].decode("latin-1").upper())
    if size is None:
        return 0
    at, left = start, size
    while at < limit and left:
        left -= skeleton[at : at + 1].isalnum()
        at += 1
    if left:
        return 0
    compact = bytes(c for c in skeleton[start:at] if chr(c).isalnum()).decode("latin-1").upper()
    glued = skeleton[at : at + 1].isalnum()
    if not glued and _checksum(compact):
        return at
    if glued and not _checksum(compact):
        return 0
    return at if glued or _WORDS.before(view, start, 32) is not None else 0


def _checksum(compact: str) -> bool:
    return bool(mod_97_10.is_valid(compact[4:] + compact[:4]))

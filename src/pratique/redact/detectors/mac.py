"""Hardware addresses: MAC and EUI-64 in their usual spellings.

The rule: six or eight pairs of hexadecimal digits with one and the same separator, standing
alone, are an address; a longer run of pairs is a fingerprint.
"""

from pratique.redact.pattern import Keywords, Pattern
from pratique.redact.types import EntityType, Span
from pratique.redact.view import View

_PAIRS = Pattern(
    r"(?:^|[^0-9A-Za-z])([0-9A-Fa-f]{2}(?:[:\-][0-9A-Fa-f]{2}){5,}|[0-9A-Fa-f]{2}(?: [0-9A-Fa-f]{2}){5})"
)
_DOTTED = Pattern(r"[0-9A-Fa-f]{4}(?:[.\-:][0-9A-Fa-f]{4}){2}")
_BARE = Pattern(r"[0-9A-Fa-f]{12}")
_WORDS = Keywords(
    "mac", "mac address", "mac adresse", "mac addr", "hwaddr", "ether", "ethernet", "hardware address", "bssid", "wlan", "wifi",
    "bluetooth", "direccion mac", "adresse mac", "indirizzo mac", "nic", "lladdr", "mac地址", "MACアドレス", "мак", "мас",
)  # fmt: skip
_SIZES = {17, 23}


class MacDetector:
    """Finds hardware addresses."""

    name = "mac"

    def find(self, view: View) -> list[Span]:
        """Return address spans; see `Detector.find`."""
        found = []
        for match in _PAIRS.matches(view):
            start, end = match.span(1)
            if end - start in _SIZES and _alone(view, start, end) and _uniform(view, start, end):
                found.append(Span(start, end, EntityType.MAC))
        for pattern in (_DOTTED, _BARE):
            for match in pattern.matches(view):
                start, end = match.span()
                if not _alone(view, start, end):
                    continue
                dotted = pattern is _DOTTED and view.skeleton[start + 4 : start + 5] == b"."
                if (
                    dotted and not view.skeleton[start:end].replace(b".", b"").isdigit()
                ) or _WORDS.before(view, start, 32):
                    found.append(Span(start, end, EntityType.MAC))
        return found


def _alone(view: View, start: int, end: int) -> bool:
    before, after = view.skeleton[start - 1 : start] if start else b"", view.skeleton[end : end + 2]
    if before.isalnum() or before in {b":", b"-", b".", b"_", b"/"} or before > b"\x7f":
        # "MAC:00:1A…" has a colon before it that belongs to the sentence.
        if before not in {b":", b"-", b"/"} or view.skeleton[start - 2 : start - 1].isdigit():
            return False
        if before != b":" or not _WORDS.before(view, start, 4):
            return False
    return not (
        after[:1].isalnum()
        or (after[:1] in {b":", b"-", b"."} and after[1:2].isalnum())
        or after[:1] == b"_"
    )


def _uniform(view: View, start: int, end: int) -> bool:
    token = view.skeleton[start:end]
    separators = set(token[2::3])
    if len(separators) != 1:
        return False
    if separators == {0x20}:
        return _WORDS.before(view, start, 32) is not None
    # 2024-01-02-03-04-05 and 12:34:56:… are clocks, not cards.
    return not token.replace(b":", b"").replace(b"-", b"").isdigit() or bool(
        _WORDS.before(view, start, 32)
    )

"""Payment cards.

The rule: the prefix of a network, its length and the Luhn checksum; near the word itself a
wrong checksum is forgiven.
"""

from collections.abc import Iterator

from pratique.redact.digits import Cluster, attached, clusters
from pratique.redact.pattern import Keywords
from pratique.redact.types import EntityType, Span
from pratique.redact.view import View

_WORDS = Keywords(
    "card", "cards", "charge", "charged", "paid with", "pay with", "paying with", "payment", "checkout", "purchase", "billed",  "credit card", "debit card", "card number", "creditcard", "kreditkarte", "kartennummer", "kreditkartennummer", "karte", "visa",
    "mastercard", "amex", "american express", "discover", "diners", "jcb", "unionpay", "maestro", "carte", "carte bancaire", "carte bleue", "tarjeta", "carta",
    "carta di credito", "cartao", "karta", "karty", "kort", "kortnummer", "kreditkort", "betaalkaart", "creditcardnummer", "kaart", "pan", "cc", "kart", "kortti", "luottokortti",
    "карта", "карты", "карте", "карту", "картой", "номер карты", "信用卡", "卡号", "カード", "카드", "بطاقة", "כרטיס", "κάρτα", "कार्ड", "บัตร", "bankkarte", "kartu", "kártya", "kartya",
)  # fmt: skip
_REFERENCE = Keywords(
    "order", "invoice", "tracking", "shipment", "serial", "sku", "part", "isbn", "ean", "upc", "gtin", "barcode", "imei", "timestamp", "epoch", "trace", "span", "build",
    "commit", "seed", "bytes", "id", "uid", "snowflake", "offset", "nanoseconds", "ns", "us", "population", "pi",
)  # fmt: skip
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


class CardDetector:
    """Finds card numbers."""

    name = "card"

    def find(self, view: View) -> list[Span]:
        """Return card spans; see `Detector.find`."""
        found = []
        for cluster in clusters(view):
            if len(cluster.digits) < 12:
                continue
            for first, last in _windows(view, cluster):
                found.append(Span.of(cluster.span(first, last), EntityType.CARD))
        return found


def _windows(view: View, cluster: Cluster) -> Iterator[tuple[int, int]]:
    digits = cluster.digits
    luhn = _Luhn(digits)
    ends = {last for _, last in cluster.groups}
    taken = 0
    for first, _ in cluster.groups:
        if first < taken:
            continue
        for size in _sizes(digits, first):
            last = first + size
            if last not in ends or attached(view, *cluster.span(first, last)):
                continue
            if _accepted(view, cluster, first, last, luhn.valid(first, last)):
                yield first, last
                taken = last
                break


def _accepted(view: View, cluster: Cluster, first: int, last: int, valid: bool) -> bool:
    start, end = cluster.span(first, last)
    grouped = list(cluster.sizes(first, last))
    usual = grouped[:3] == [4, 4, 4] or grouped in ([4, 6, 5], [4, 6, 4])
    before = view.skeleton[start - 1 : start] if start else b""
    if before == b"." and view.skeleton[start - 2 : start - 1].isdigit():
        return False  # the decimals of a number
    if valid:
        if len(set(cluster.digits[first:last])) == 1:
            return False
        if usual or _WORDS.near(view, start, end):
            return True
        if len(grouped) == 1:
            if start <= 1 and end >= len(view.text) - 1:
                return True  # nothing but the number
            return last - first > 13 and _REFERENCE.before(view, start, 16) is None
        return _even(grouped)
    return usual and _WORDS.near(view, start, end, 32, 12)


def _even(grouped: list[int]) -> bool:
    """Accept groups as people make them: all alike, but for the last."""
    return len(set(grouped[:-1])) == 1 and grouped[-1] <= 2 * grouped[0] + 4


def _sizes(digits: str, first: int) -> tuple[int, ...]:
    """Return the lengths that a card with this prefix may have; none when no network has it."""
    one, two = digits[first], digits[first : first + 2]
    four = digits[first : first + 4]
    if len(four) < 4:
        return ()
    if one == "4":
        return (16, 19, 13)
    if "51" <= two <= "55" or "2221" <= four <= "2720":
        return (16,)
    if two in {"34", "37"}:
        return (15,)
    if two in {"36", "38", "39"} or "300" <= four[:3] <= "305":
        return (14, 16)
    if two == "35":
        return (16,)
    if two in {"60", "62", "64", "65", "81", "82"}:
        return (16, 19, 17, 18)
    if two in {"50", "56", "57", "58", "59", "61", "63", "66", "67", "68", "69"}:
        return (16, 19, 18, 12, 13)
    if "2200" <= four <= "2204" or four in {"9792", "1800", "2131"}:
        return (16, 15) if four not in {"1800", "2131"} else (15,)
    return ()


class _Luhn:
    """The Luhn checksum of any window of a digit string in constant time."""

    __slots__ = ("_sums",)

    def __init__(self, digits: str) -> None:
        sums = [[0], [0]]
        for index, char in enumerate(digits):
            value = ord(char) - 0x30
            for parity in (0, 1):
                doubled = index % 2 == parity
                sums[parity].append(sums[parity][-1] + (_DOUBLED[value] if doubled else value))
        self._sums = sums

    def valid(self, first: int, last: int) -> bool:
        """Say whether the digits ``first`` to ``last`` pass."""
        sums = self._sums[last % 2]  # the digit before the last one is doubled
        return (sums[last] - sums[first]) % 10 == 0

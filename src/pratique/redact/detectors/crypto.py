"""Addresses and extended keys of crypto currencies.

The rule: base58 and bech32 addresses must pass their own checksum; forms without one (Ethereum,
Monero, Cardano) must be complete, and forms that other things share need the word.
"""

from hashlib import sha256

from stdnum import bitcoin

from pratique.redact.pattern import Keywords, Pattern
from pratique.redact.types import EntityType, Span
from pratique.redact.view import View

_BASE58 = Pattern(r"[1-9A-HJ-NP-Za-km-z]{25,}")
_BECH32 = Pattern(
    r"(?:bc1|tb1|ltc1|bc1p)[02-9ac-hj-np-z]{20,87}|(?:BC1|LTC1)[02-9AC-HJ-NP-Z]{20,87}", "1"
)
_ETHEREUM = Pattern(r"0[xX][0-9a-fA-F]{40}", "0x")
_LONG = Pattern(
    r"addr1[02-9ac-hj-np-z]{50,}|stake1[02-9ac-hj-np-z]{50,}|(?:cosmos|osmo|terra|juno|inj|celestia)1[02-9ac-hj-np-z]{38}|bnb1[02-9ac-hj-np-z]{38}|(?:bitcoincash:)?[qp][02-9ac-hj-np-z]{41}"
    r"|(?:tz[1-4]|KT1)[1-9A-HJ-NP-Za-km-z]{33}|[0-9a-fA-F]{64}\.near|(?:EQ|UQ)[A-Za-z0-9_\-]{46}|G[A-Z2-7]{55}|S[A-Z2-7]{55}|(?:npub|nsec)1[02-9ac-hj-np-z]{58}|lnbc[0-9a-z]{60,}|0x[0-9a-fA-F]{62,64}"
)
_WORDS = Keywords(
    "bitcoin", "btc", "wallet", "crypto", "ethereum", "eth", "solana", "sol", "xrp", "ripple", "tron", "trx", "usdt", "litecoin", "ltc", "dogecoin", "doge", "monero", "xmr", "zcash", "dash", "cardano", "ada", "polkadot", "dot",
    "blockchain", "donate", "send to", "adresse bitcoin", "cartera", "monedero", "portefeuille", "portafoglio", "carteira", "кошелек", "кошелёк", "биткоин", "钱包", "ウォレット", "지갑", "محفظة", "geldborse", "cuzdan", "portfel", "coin", "token address", "stellar", "xlm", "polygon", "bch", "ton",
)  # fmt: skip
_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_INDEX = {c: i for i, c in enumerate(_ALPHABET)}
_RIPPLE = str.maketrans("rpshnaf39wBUDNEGHJKLM4PQRST7VWXYZ2bcdeCg65jkm8oFqi1tuvAxyz", _ALPHABET)
_MAX_BASE58 = 120


class CryptoDetector:
    """Finds purse addresses."""

    name = "crypto"

    def find(self, view: View) -> list[Span]:
        """Return address spans; see `Detector.find`."""
        spans = [m.span() for m in _BASE58.matches(view) if _is_base58(view, *m.span())]
        spans += [m.span() for m in _BECH32.matches(view) if _bech32(view, *m.span())]
        spans += [
            m.span() for p in (_ETHEREUM, _LONG) for m in p.matches(view) if _whole(view, *m.span())
        ]
        return [Span(start, end, EntityType.CRYPTO) for start, end in spans]


def _whole(view: View, start: int, end: int) -> bool:
    before, after = view.skeleton[start - 1 : start] if start else b"", view.skeleton[end : end + 1]
    if before.isalnum() or after.isalnum() or before == b"_" or after == b"_":
        return False
    token = view.skeleton[start:end]
    if token[:2].lower() == b"0x":
        return len(set(token[2:].lower())) > 2
    if token[:1] in b"GSqpEU":
        return (len(token) == 56 and _WORDS.near(view, start, end)) or (
            token[:1] in b"qpEU" and _WORDS.near(view, start, end)
        )
    return any(0x30 <= c <= 0x39 for c in token)


def _bech32(view: View, start: int, end: int) -> bool:
    token = view.skeleton[start:end].decode("latin-1")
    return _whole(view, start, end) and (
        bool(bitcoin.is_valid(token.lower()))
        or token[:3].lower() != "bc1"
        or _WORDS.near(view, start, end)
        or len(token) in {42, 62}
    )


def _is_base58(view: View, start: int, end: int) -> bool:
    before, after = view.skeleton[start - 1 : start] if start else b"", view.skeleton[end : end + 1]
    if (
        before.isalnum()
        or after.isalnum()
        or (before in {b"_", b"-", b"+", b"/"} and before != b"/")
        or after in {b"_", b"+"}
        or end - start > _MAX_BASE58
    ):
        return False
    token = view.skeleton[start:end].decode("latin-1")
    if token[0] in "rX" and _checksum(token.translate(_RIPPLE) if token[0] == "r" else token):
        return True
    if _checksum(token):
        return True
    if token[0] in "48" and len(token) in {95, 106}:
        return True
    usual = (
        (token[0] in "13" and len(token) <= 35)
        or (token[0] in "LMDTXAr" and 33 <= len(token) <= 35)
        or 43 <= len(token) <= 44
    )
    mixed = (
        any(c.isdigit() for c in token)
        and any(c.isupper() for c in token)
        and any(c.islower() for c in token)
    )
    return usual and mixed and _WORDS.near(view, start, end)


def _checksum(token: str) -> bool:
    """Check base58check: the last four bytes are a double SHA-256 of the rest."""
    number = 0
    for char in token:
        number = number * 58 + _INDEX[char]
    zeros = len(token) - len(token.lstrip("1"))
    data = b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")
    return len(data) >= 21 and sha256(sha256(data[:-4]).digest()).digest()[:4] == data[-4:]

"""What a timestamp token says outside its signature: exactly one plain signer, nothing loose.

The library verifies the signature with the key and digest that it finds, and reads past the signer's
version, its signature algorithm and unsigned attributes. This module refuses a token in which these
are anything but what they must be, so that no byte of a token can change unnoticed. RFC 5652, 5.3.
"""

from typing import Final

from pratique.errors import FormatError

_SEQUENCE: Final = 0x30
_SET: Final = 0x31
_INTEGER: Final = 0x02
_OID: Final = 0x06
_OCTETS: Final = 0x04
_TAG0: Final = 0xA0
MAX_PARTS: Final = 64

# digest algorithm -> signature algorithms that go with it, as DER object identifiers (contents only)
_RSA: Final = "2a864886f70d010101"
_PAIRS: Final[dict[str, frozenset[str]]] = {
    "608648016503040201": frozenset({"2a8648ce3d040302", "2a864886f70d01010b", _RSA}),  # SHA-256
    "608648016503040202": frozenset({"2a8648ce3d040303", "2a864886f70d01010c", _RSA}),  # SHA-384
    "608648016503040203": frozenset({"2a8648ce3d040304", "2a864886f70d01010d", _RSA}),  # SHA-512
}


def check_signer(response: bytes) -> None:
    """Raise FormatError unless the one signer of a TimeStampResp (DER) is plain."""
    _status, content = _parts(_one(response, _SEQUENCE), 2)
    _type, wrapped = _parts(_body(content, _SEQUENCE), 2)
    signed = _all(_body(wrapped, _TAG0))
    if len(signed) != 1:
        raise FormatError("timestamp token holds more than one signed content")
    data = _all(_body(signed[0], _SEQUENCE))
    if not data or data[0] != (
        _INTEGER,
        b"\x03",
    ):  # RFC 5652, 5.1, where what is signed is no plain data
        raise FormatError("timestamp token has an unknown version")
    signers = _all(_body(data[-1], _SET))
    if len(signers) != 1:
        raise FormatError("timestamp token has more than one signer")
    fields = _all(_body(signers[0], _SEQUENCE))
    tags = [tag for tag, _ in fields]
    if tags != [_INTEGER, _SEQUENCE, _SEQUENCE, _TAG0, _SEQUENCE, _OCTETS]:
        raise FormatError("timestamp token's signer has missing or unsigned attributes")
    if fields[0][1] != b"\x01":
        raise FormatError("timestamp token's signer has an unknown version")
    if _algorithm(fields[4]) not in _PAIRS.get(_algorithm(fields[2]), frozenset()):
        raise FormatError("timestamp token's signature algorithm is not that of its digest")


def _algorithm(field: tuple[int, bytes]) -> str:
    parts = _all(_body(field, _SEQUENCE))
    if not parts or parts[0][0] != _OID or parts[1:] not in ([], [(0x05, b"")]):
        raise FormatError("timestamp token has an algorithm with parameters")
    return parts[0][1].hex()


def _one(data: bytes, tag: int) -> bytes:
    found = _all(data)
    if len(found) != 1:
        raise FormatError("timestamp is not one DER value")
    return _body(found[0], tag)


def _parts(data: bytes, count: int) -> list[tuple[int, bytes]]:
    found = _all(data)
    if len(found) != count:
        raise FormatError("timestamp has an unexpected shape")
    return found


def _body(part: tuple[int, bytes], tag: int) -> bytes:
    if part[0] != tag:
        raise FormatError("timestamp has an unexpected shape")
    return part[1]


def _all(data: bytes) -> list[tuple[int, bytes]]:
    """Split DER into (tag, contents) pairs. Definite, shortest lengths only."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(data):
        if len(found) >= MAX_PARTS or at + 2 > len(data):
            raise FormatError("timestamp is not valid DER")
        tag, length = data[at], data[at + 1]
        at += 2
        if length >= 0x80:
            size = length & 0x7F
            raw = data[at : at + size]
            if not 1 <= size <= 4 or len(raw) != size or raw[0] == 0:
                raise FormatError("timestamp is not valid DER")
            length = int.from_bytes(raw)
            at += size
            if length < 0x80:
                raise FormatError("timestamp is not valid DER")
        if at + length > len(data):
            raise FormatError("timestamp is not valid DER")
        found.append((tag, data[at : at + length]))
        at += length
    return found

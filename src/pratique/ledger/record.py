"""One event as one line: OCSF 1.9 in the canonical JSON of RFC 8785, chained to the line before.

A line is the JSON object alone; its newline is not part of the leaf. Every line carries OCSF's
`attestation_list` with the SHA-256 `fingerprint` of the object without that fingerprint, and the
fingerprint of the event before: so an edit shows at its own line, a deletion or a swap at the next.
What covers all of it is the Merkle tree over the lines (merkle.py), not this chain.

For the values that occur here (ASCII keys, integers, printable text) Python's own encoder writes what
RFC 8785 prescribes; the tests hold it against the rfc8785 package. Reading is strict: any other
spelling of the same JSON, a float, or a line beyond `MAX_LINE_BYTES` is refused.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from pratique import __version__
from pratique.errors import FormatError
from pratique.ledger.events import Event, fields_of
from pratique.ledger.ocsf import shape

MAX_LINE_BYTES: Final = 65_536
OCSF_VERSION: Final = "1.9.0"
_PRODUCT: Final = {"name": "pratique", "vendor_name": "pratique", "version": __version__}
_FINGERPRINT: Final = '"fingerprint":{"algorithm":"SHA-256","algorithm_id":3,"value":"'
_FINGERPRINT_BYTES: Final = _FINGERPRINT.encode()
_INSERT_LENGTH: Final = len(_FINGERPRINT_BYTES) + 64 + len(b'"},')

_encode = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False, check_circular=False
).encode


def _no_float(text: str) -> NoReturn:
    raise ValueError(f"a number of another kind: {text[:20]}")


_decode = json.JSONDecoder(parse_float=_no_float, parse_constant=_no_float).decode


def canonical(value: object) -> bytes:
    """Write JSON as RFC 8785 does, for ASCII keys and integers. Raises ValueError on surrogates."""
    return _encode(value).encode()


@dataclass(frozen=True, slots=True)
class Chain:
    """Which log lines belong to: its origin, and the id of the key that signs for it (hex)."""

    origin: str
    authority: str
    marker: bytes = field(init=False)
    """The bytes of a line that its fingerprint follows. They cannot occur inside a string."""

    def __post_init__(self) -> None:
        marker = (
            f'"attestation_list":[{{"authority_uid":{_encode(self.authority)},'
            f'"chain_uid":{_encode(self.origin)},'
        )
        object.__setattr__(self, "marker", marker.encode())


def render(
    event: Event, *, number: int, previous: str, time_ms: int, chain: Chain
) -> tuple[bytes, str]:
    """Write an event as a line (no newline) and return it with its fingerprint.

    `number` is its place in the log, from 0; `previous` the fingerprint of the event before ("" for the
    first); `time_ms` milliseconds since 1970, UTC. Raises TypeError if the event is not on the allow-list or a field has not its form.
    """
    fields = fields_of(event)
    attestation: dict[str, Any] = {
        "authority_uid": chain.authority,
        "chain_uid": chain.origin,
        "uid": str(number),
    }
    if previous:
        attestation["prev_event"] = {
            "fingerprint": {"algorithm": "SHA-256", "algorithm_id": 3, "value": previous}
        }
    body = canonical(
        {
            **shape(event.kind, fields),
            "attestation_list": [attestation],
            "metadata": {
                "product": _PRODUCT,
                "profiles": ["ai_operation", "record_integrity"],
                "sequence": number,
                "version": OCSF_VERSION,
            },
            "time": time_ms,
            "unmapped": {"kind": event.kind, **fields},
        }
    )
    fingerprint = hashlib.sha256(body).hexdigest()
    marker = chain.marker
    at = body.index(marker) + len(marker)
    return body[:at] + f'{_FINGERPRINT}{fingerprint}"}},'.encode() + body[at:], fingerprint


@dataclass(frozen=True, slots=True)
class Record:
    """One line, read back. `value` is the whole OCSF object."""

    number: int
    fingerprint: str
    previous: str
    value: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """Which event it is."""
        return str(self.value["unmapped"]["kind"])

    @property
    def fields(self) -> dict[str, Any]:
        """The event's own fields."""
        return {k: v for k, v in self.value["unmapped"].items() if k != "kind"}

    @property
    def time_ms(self) -> int:
        """When it was written, in milliseconds since 1970, UTC."""
        return int(self.value["time"])


def parse(line: bytes, chain: Chain) -> Record:
    """Read one line of the log of `chain`: canonical, and with a fingerprint that fits its bytes.

    Raises FormatError otherwise. Does NOT check the number or the link to the line before: see
    verify.py.
    """
    if len(line) > MAX_LINE_BYTES:
        raise FormatError(f"it is longer than {MAX_LINE_BYTES} bytes")
    try:
        value = _decode(line.decode("utf-8"))
        if type(value) is not dict or canonical(value) != line:
            raise FormatError("it is not in canonical form")
    except (ValueError, RecursionError) as error:
        raise FormatError("it is not JSON of this log") from error
    try:
        attestation = value["attestation_list"][0]
        fingerprint = attestation["fingerprint"]["value"]
        previous = attestation.get("prev_event", {"fingerprint": {"value": ""}})["fingerprint"][
            "value"
        ]
        number, sequence = attestation["uid"], value["metadata"]["sequence"]
        kind = value["unmapped"]["kind"]
        moment = value["time"]
    except (LookupError, TypeError, AttributeError) as error:
        raise FormatError("it lacks what every event of the log has") from error
    if type(sequence) is not int or number != str(sequence) or type(moment) is not int:
        raise FormatError("its number is malformed")
    if type(kind) is not str or type(previous) is not str:
        raise FormatError("its kind or link is malformed")
    if fingerprint != _fingerprint_of(line, chain):
        raise FormatError("its fingerprint does not fit its content")
    return Record(sequence, fingerprint, previous, value)


def _fingerprint_of(line: bytes, chain: Chain) -> str:
    marker = chain.marker
    at = line.find(marker)
    if at < 0:
        raise FormatError("it belongs to another log")
    at += len(marker)
    if not line.startswith(_FINGERPRINT_BYTES, at):
        raise FormatError("its fingerprint is malformed")
    digest = hashlib.sha256(line[:at])
    digest.update(line[at + _INSERT_LENGTH :])
    return digest.hexdigest()

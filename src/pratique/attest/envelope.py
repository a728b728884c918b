"""The signature file: a Sigstore bundle (v0.3) around one DSSE envelope with one signature.

This module only takes the file apart and puts it together. It decides nothing about trust and never
looks into the payload, which nobody has verified yet. Field order, spelling and base64 are canonical
(see `canonical`); unknown fields, a second signature and mixed methods are refused.

Sources: Sigstore bundle format v0.3; DSSE 1.0 (pre-authentication encoding); Model Signing v1.0,
sections 4.1 and 11.1 (forms that earlier versions wrote and that a verifier must accept).
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Final

from pratique.attest import canonical
from pratique.attest.canonical import Json, items, only_keys, text
from pratique.errors import FormatError

MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
IN_TOTO: Final = "application/vnd.in-toto+json"
MAX_CERTIFICATES: Final = 10
MAX_TIMESTAMPS: Final = 4
MAX_MATERIAL_BYTES: Final = 64 * 1024
_KEY_DETAILS: Final = frozenset(
    {"PKIX_ECDSA_P256_SHA_256", "PKIX_ECDSA_P384_SHA_384", "PKIX_ECDSA_P521_SHA_512"}
)
_TOP: Final = ("mediaType", "verificationMaterial", "dsseEnvelope")


@dataclass(frozen=True, slots=True)
class KeyMaterial:
    """Which key: its id, or (from model_signing before 1.1) its PEM text; RFC 3161 responses."""

    hint: str = ""
    pem: bytes = b""
    timestamps: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class ChainMaterial:
    """Certificates in DER, leaf first, and RFC 3161 responses over the raw signature."""

    certificates: tuple[bytes, ...]
    timestamps: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class SigstoreMaterial:
    """A Sigstore keyless signature; the library reads the whole `file`."""

    file: bytes


Material = KeyMaterial | ChainMaterial | SigstoreMaterial


@dataclass(frozen=True, slots=True)
class SignatureFile:
    """One signature file, taken apart and not yet verified."""

    material: Material
    payload_type: str
    payload: bytes
    signature: bytes

    @property
    def signed_bytes(self) -> bytes:
        """What the signature is over."""
        return pre_authentication(self.payload_type, self.payload)


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """DSSE's encoding of type and payload: what is signed."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def write(parts: SignatureFile) -> bytes:
    """Put a signature file together, in the spelling of model_signing 1.1."""
    material: dict[str, object]
    match parts.material:
        case KeyMaterial():
            material = {"publicKey": {"hint": parts.material.hint}, "tlogEntries": []}
            material |= _write_timestamps(parts.material.timestamps)
        case ChainMaterial():
            chain = [{"rawBytes": _b64(der)} for der in parts.material.certificates]
            material = {"x509CertificateChain": {"certificates": chain}, "tlogEntries": []}
            material |= _write_timestamps(parts.material.timestamps)
        case SigstoreMaterial():
            return parts.material.file
    envelope = {
        "payload": _b64(parts.payload),
        "payloadType": parts.payload_type,
        "signatures": [{"sig": _b64(parts.signature), "keyid": ""}],
    }
    return canonical.dump_in_order(
        {"mediaType": MEDIA_TYPE, "verificationMaterial": material, "dsseEnvelope": envelope}
    )


def read(data: bytes) -> SignatureFile:
    """Take a signature file apart. Raises FormatError; the caller has capped the size."""
    bundle = only_keys(
        canonical.parse(data, "signature file", canonical.FILE_LAYOUTS), "signature file", _TOP
    )
    _in_order(bundle, _TOP)
    if bundle["mediaType"] != MEDIA_TYPE:
        raise FormatError("signature file is not a Sigstore bundle v0.3 (mediaType)")
    envelope = only_keys(
        bundle["dsseEnvelope"], "DSSE envelope", ("payload", "payloadType", "signatures")
    )
    signatures = list(items(envelope["signatures"], "signatures", 1))
    if not signatures:
        raise FormatError("DSSE envelope has no signature")
    _in_order(envelope, ("payload", "payloadType", "signatures"))
    material = _material(bundle["verificationMaterial"], data)
    signature = only_keys(signatures[0], "DSSE signature", ("sig",), ("keyid",))
    _in_order(signature, ("sig", "keyid"))
    if signature.get("keyid") not in (None, ""):
        raise FormatError("DSSE signature has a keyid, which nothing would check")
    return SignatureFile(
        material=material,
        payload_type=text(envelope["payloadType"], "payloadType"),
        payload=_unb64(envelope["payload"], "payload"),
        signature=_unb64(signature["sig"], "sig", MAX_MATERIAL_BYTES),
    )


def _material(value: Json, data: bytes) -> Material:
    if not isinstance(value, dict):
        raise FormatError("verificationMaterial is not a JSON object")
    kinds = [k for k in ("publicKey", "x509CertificateChain", "certificate") if k in value]
    if len(kinds) != 1:
        raise FormatError("verificationMaterial names no signing method, or more than one")
    kind = kinds[0]
    if kind == "certificate":
        # Spelling and content are Sigstore's to check: see `keyless`.
        return SigstoreMaterial(data)
    order = (kind, "tlogEntries", "timestampVerificationData")
    only_keys(value, "verificationMaterial", (kind,), order[1:])
    _in_order(value, order)
    if value.get("tlogEntries", []) != []:
        raise FormatError("a key or certificate signature carries log entries nobody would check")
    stamps: tuple[bytes, ...] = ()
    if "timestampVerificationData" in value:
        stamps = _timestamps(value["timestampVerificationData"])
    if kind == "publicKey":
        return _key(value[kind], stamps)
    return ChainMaterial(_chain(value[kind]), stamps)


def _key(value: Json, stamps: tuple[bytes, ...]) -> KeyMaterial:
    if isinstance(value, dict) and "hint" in value:
        key = only_keys(value, "publicKey", ("hint",))
        return KeyMaterial(hint=text(key["hint"], "hint"), timestamps=stamps)
    key = only_keys(value, "publicKey", ("rawBytes", "keyDetails"))
    _in_order(key, ("rawBytes", "keyDetails"))
    if text(key["keyDetails"], "keyDetails") not in _KEY_DETAILS:
        raise FormatError("publicKey has unknown keyDetails")
    pem = _unb64(key["rawBytes"], "rawBytes", MAX_MATERIAL_BYTES)
    return KeyMaterial(pem=pem, timestamps=stamps)


def _chain(value: Json) -> tuple[bytes, ...]:
    chain = only_keys(value, "x509CertificateChain", ("certificates",))
    certificates = tuple(
        _unb64(
            only_keys(c, "certificate", ("rawBytes",))["rawBytes"], "rawBytes", MAX_MATERIAL_BYTES
        )
        for c in items(chain["certificates"], "certificates", MAX_CERTIFICATES)
    )
    if not certificates:
        raise FormatError("x509CertificateChain is empty")
    return certificates


def _timestamps(value: Json) -> tuple[bytes, ...]:
    data = only_keys(value, "timestampVerificationData", ("rfc3161Timestamps",))
    stamps = tuple(
        _unb64(
            only_keys(s, "timestamp", ("signedTimestamp",))["signedTimestamp"],
            "signedTimestamp",
            MAX_MATERIAL_BYTES,
        )
        for s in items(data["rfc3161Timestamps"], "rfc3161Timestamps", MAX_TIMESTAMPS)
    )
    if not stamps or len(set(stamps)) != len(stamps):
        raise FormatError("rfc3161Timestamps is empty or has one twice")
    return stamps


def _write_timestamps(stamps: tuple[bytes, ...]) -> dict[str, object]:
    if not stamps:
        return {}
    written = [{"signedTimestamp": _b64(stamp)} for stamp in stamps]
    return {"timestampVerificationData": {"rfc3161Timestamps": written}}


def _in_order(value: dict[str, Json], order: tuple[str, ...]) -> None:
    if list(value) != [key for key in order if key in value]:
        raise FormatError("signature file is not in canonical form: fields in another order")


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unb64(value: Json, what: str, limit: int | None = None) -> bytes:
    encoded = text(value, what)
    if limit is not None and len(encoded) > limit:
        raise FormatError(f"{what} is too long")
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FormatError(f"{what} is not base64") from error
    if _b64(data) != encoded:
        raise FormatError(f"{what} is not canonical base64")
    return data

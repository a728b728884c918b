"""Keys that never leave a smart card or HSM: PKCS#11, named by an RFC 7512 URI.

`pkcs11:token=LABEL;object=LABEL?module-path=/usr/lib/…/module.so` (or `id=%01` instead of an object
label). ECDSA keys only. The digest is made here, the card signs it; the signature is checked against
the card's public key before it is used, so that a wrong key pair cannot spoil a bundle. Needs the
extra `pratique[hsm]`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, unquote_to_bytes

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from pratique.attest.keys import (
    PasswordPrompt,
    hash_for,
    key_id_of,
    public_pem,
    supported_public_key,
    verify_raw,
)
from pratique.attest.values import Identity, Method
from pratique.core.ids import shown
from pratique.errors import FormatError, SealError, UsageError

if TYPE_CHECKING:
    import pkcs11

SCHEME: Final = "pkcs11:"
_PATH: Final = frozenset({"token", "object", "id", "serial", "manufacturer", "model", "type"})


@dataclass(frozen=True, slots=True)
class KeyUri:
    """The parts of a PKCS#11 URI that find one key."""

    module: str
    token: str
    label: str | None
    key_id: bytes | None


def parse_uri(text: str) -> KeyUri:
    """Read an RFC 7512 URI. Raises UsageError unless it names module, token and one key."""
    path, _, query = text.removeprefix(SCHEME).partition("?")
    parts = dict(p.partition("=")[::2] for p in path.split(";") if p)
    asked = dict(p.partition("=")[::2] for p in query.split("&") if p)
    if unknown := sorted(parts.keys() - _PATH):
        raise UsageError(f"the key URI has the unknown part {shown(unknown[0])}")
    module, token = unquote(asked.get("module-path", "")), unquote(parts.get("token", ""))
    label = unquote(parts["object"]) if "object" in parts else None
    key_id = unquote_to_bytes(parts["id"]) if "id" in parts else None
    if not module.startswith("/") or not token or not (label or key_id):
        raise UsageError(
            "the key URI lacks module-path, token, or object or id",
            hint="pkcs11:token=LABEL;object=LABEL?module-path=/usr/lib/…/module.so",
        )
    return KeyUri(module, token, label, key_id)


class HsmSigner:
    """A signer whose private key stays in its token; a session is open only while signing."""

    def __init__(self, uri: KeyUri, pin: str) -> None:
        self._uri = uri
        self._pin = pin
        with _session(uri, pin) as session:
            self._public = _public_key(session, uri)
            _private_key(session, uri)  # absent: say so now, not after the gate's work
        self._pem = public_pem(self._public)

    @property
    def key_id(self) -> str:
        """Hex SHA-256 of the public PEM."""
        return key_id_of(self._pem)

    @property
    def identity(self) -> Identity:
        """The key itself."""
        return Identity(Method.KEY, self.key_id)

    @property
    def public_pem(self) -> bytes:
        """Canonical PEM of the public half."""
        return self._pem

    def sign(self, data: bytes) -> bytes:
        """Sign `data`. Raises SealError if the token does not, or signs with another key."""
        from pkcs11 import Mechanism  # noqa: PLC0415  # an optional extra

        hasher = hashes.Hash(hash_for(self._public))
        hasher.update(data)
        with _session(self._uri, self._pin) as session:
            raw = bytes(
                _private_key(session, self._uri).sign(hasher.finalize(), mechanism=Mechanism.ECDSA)
            )
        half = len(raw) // 2
        signature = encode_dss_signature(int.from_bytes(raw[:half]), int.from_bytes(raw[half:]))
        if not verify_raw(self._public, signature, data):
            raise SealError(
                "the token signed with another key than its public one",
                hint="check the object label and id of both halves",
            )
        return signature


def load_hsm_signer(uri: str, pin_prompt: PasswordPrompt | None) -> HsmSigner:
    """Return a signer for a key in a token; asks `pin_prompt` once. Raises SealError."""
    parsed = parse_uri(uri)
    if pin_prompt is None:
        raise SealError("the token's PIN was not given", hint="--password-file, or a terminal")
    return HsmSigner(parsed, pin_prompt().decode())


@contextmanager
def _session(uri: KeyUri, pin: str) -> "Iterator[pkcs11.Session]":
    try:
        import pkcs11  # noqa: PLC0415  # an optional extra
    except ImportError as error:
        raise SealError(
            "keys in tokens need the extra `hsm`", hint="pip install 'pratique[hsm]'"
        ) from error
    try:
        with pkcs11.lib(uri.module).get_token(token_label=uri.token).open(user_pin=pin) as session:
            yield session
    except pkcs11.PinIncorrect as error:
        raise SealError(
            "the token's PIN is wrong", hint="a token locks after a few tries"
        ) from error
    except (pkcs11.PKCS11Error, OSError, RuntimeError) as error:
        raise SealError(
            f"the token {shown(uri.token)} cannot be used: {type(error).__name__} {error}".rstrip(),
            hint="check module-path, token and object in the key URI",
        ) from error


def _private_key(session: "pkcs11.Session", uri: KeyUri) -> "pkcs11.SignMixin":
    from pkcs11 import ObjectClass, SignMixin  # noqa: PLC0415  # as above

    key = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=uri.label, id=uri.key_id)
    if not isinstance(key, SignMixin):
        raise SealError("the token's key may not sign")
    return key


def _public_key(session: "pkcs11.Session", uri: KeyUri) -> ec.EllipticCurvePublicKey:
    from pkcs11 import ObjectClass, PublicKey  # noqa: PLC0415  # as above
    from pkcs11.util.ec import encode_ec_public_key  # noqa: PLC0415

    found = session.get_key(object_class=ObjectClass.PUBLIC_KEY, label=uri.label, id=uri.key_id)
    if not isinstance(found, PublicKey):
        raise SealError("the token's key has no public half")
    try:
        key = serialization.load_der_public_key(encode_ec_public_key(found))
        supported = supported_public_key(key)
    except (ValueError, KeyError, FormatError) as error:
        raise SealError("the token's key is not an ECDSA key that can be used here") from error
    if not isinstance(supported, ec.EllipticCurvePublicKey):
        raise SealError("the token's key is not an ECDSA key")
    return supported

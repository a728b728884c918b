"""Private and public keys: few algorithms, one file form each, no overwriting.

A private key is PKCS#8 PEM, mode 0600, encrypted when a password is given. A public key is one
canonical PEM text, and a key's id is the hex SHA-256 of exactly that text, so that a key has one
name everywhere. Anything else (RSA, other curves, several keys in one file) is refused.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, Protocol, get_args

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from pratique.attest.values import Identity, Method
from pratique.core.ids import shown
from pratique.errors import FormatError, SealError, UsageError

Algorithm = Literal["p256", "p384", "ed25519"]
Crypto = Literal["default", "fips"]
PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
PasswordPrompt = Callable[[], bytes]

MAX_KEY_BYTES: Final = 16 * 1024
_CURVES: Final[dict[str, ec.EllipticCurve]] = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1()}
_HASH: Final[dict[str, hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),  # read and used, since the peer makes such keys; not offered
}


class Signer(Protocol):
    """Makes raw signatures over bytes with one key.

    ECDSA signatures are DER over the hash of the curve's size, as Model Signing v1.0 has it;
    Ed25519 signatures are the 64 raw bytes.
    """

    @property
    def key_id(self) -> str:
        """Hex SHA-256 of `public_pem`."""
        ...

    @property
    def identity(self) -> Identity:
        """What the signature will say of its maker."""
        ...

    @property
    def public_pem(self) -> bytes:
        """Canonical SubjectPublicKeyInfo PEM."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Return the signature over `data`. Raises SealError when the key cannot be used."""
        ...


class KeySigner:
    """A signer whose private key is in this process."""

    __slots__ = ("_key", "_pem")

    def __init__(self, key: PrivateKey) -> None:
        self._key = key
        self._pem = public_pem(key.public_key())

    @property
    def key_id(self) -> str:
        """Hex SHA-256 of the public PEM."""
        return key_id_of(self._pem)

    @property
    def identity(self) -> Identity:
        """The key itself: who holds it is for the trust root to say."""
        return Identity(Method.KEY, self.key_id)

    @property
    def public_pem(self) -> bytes:
        """Canonical PEM of the public half."""
        return self._pem

    @property
    def private_key(self) -> PrivateKey:
        """The key object, for signing trust metadata inside `attest`."""
        return self._key

    def sign(self, data: bytes) -> bytes:
        """Sign `data`."""
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(data)
        return self._key.sign(data, ec.ECDSA(_HASH[self._key.curve.name]))


def public_pem(key: PublicKey) -> bytes:
    """Return the canonical PEM text of a public key."""
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def key_id_of(pem: bytes) -> str:
    """Hex SHA-256 of a canonical public PEM."""
    return hashlib.sha256(pem).hexdigest()


def parse_public_key(pem: bytes) -> PublicKey:
    """Return the key in `pem`. Guarantees a supported algorithm and canonical text.

    Raises FormatError for anything but one PEM key in the spelling that `public_pem` gives.
    """
    if len(pem) > MAX_KEY_BYTES:
        raise FormatError("public key file is too large")
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise FormatError(
            "not a PEM public key", hint="give the .pub file of `keys new`"
        ) from error
    supported = supported_public_key(key)
    if public_pem(supported) != pem:
        raise FormatError("public key is not in canonical PEM form")
    return supported


def supported_public_key(key: object) -> PublicKey:
    """Return `key` if its algorithm is one of ours. Raises FormatError otherwise."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _HASH:
        return key
    raise FormatError(
        "key is neither ECDSA (P-256, P-384, P-521) nor Ed25519",
        hint="make one with `pratique keys new`",
    )


def verify_raw(key: PublicKey, signature: bytes, data: bytes) -> bool:
    """Say whether `signature` over `data` was made with the private half of `key`."""
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, data)
        else:
            key.verify(signature, data, ec.ECDSA(_HASH[key.curve.name]))
    except InvalidSignature:
        return False
    return True


def hash_for(key: ec.EllipticCurvePublicKey) -> hashes.HashAlgorithm:
    """Return the hash that goes with a curve: SHA-256 for P-256, and so on."""
    return _HASH[key.curve.name]


def crypto_problem(key: PublicKey, crypto: Crypto) -> str | None:
    """Say why `key` may not be used under a policy's `crypto` setting, or None.

    `fips` admits ECDSA on the NIST curves (FIPS 186-5). Ed25519 is in that standard too, but few
    validated modules offer it, so it is not admitted.
    """
    if crypto == "fips" and isinstance(key, ed25519.Ed25519PublicKey):
        return 'Ed25519 is not admitted under crypto = "fips"'
    return None


def generate_key(prefix: Path, algorithm: Algorithm = "p256", password: bytes | None = None) -> str:
    """Write `PREFIX.key` (PKCS#8, mode 0600) and `PREFIX.pub`; return the key's id.

    Guarantees that nothing is overwritten: raises UsageError if either file exists.
    """
    if algorithm not in get_args(Algorithm):
        raise UsageError(f"unknown key algorithm {shown(algorithm)}", hint="p256, p384 or ed25519")
    if not prefix.name:
        raise UsageError(f"{prefix} is no name for a key", hint="e.g. `pratique keys new ann`")
    secret, public = prefix.with_name(prefix.name + ".key"), prefix.with_name(prefix.name + ".pub")
    for path in (secret, public):
        if os.path.lexists(path):
            raise UsageError(f"{path} exists and is not overwritten", hint="choose another name")
    key: PrivateKey
    if algorithm == "ed25519":
        key = ed25519.Ed25519PrivateKey.generate()
    else:
        key = ec.generate_private_key(_CURVES[algorithm])
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password is not None:
        if not password:
            raise UsageError("the password is empty", hint="leave --password out for a plain key")
        encryption = serialization.BestAvailableEncryption(password)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
    signer = KeySigner(key)
    _write_new(secret, pem, 0o600)
    _write_new(public, signer.public_pem, 0o644)
    return signer.key_id


def load_signer(path: Path, password_prompt: PasswordPrompt | None = None) -> KeySigner:
    """Return a signer for the private key file at `path`.

    Asks `password_prompt` once if the key is encrypted. Raises SealError (exit 6) if the file is
    missing, is readable by others, is not a key of ours, or the password is wrong.
    """
    data = _read_private(path)
    try:
        key = _decode_private(data, path, password_prompt)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SealError(
            f"{path} is not a usable private key, or the password is wrong",
            hint="give the .key file of `pratique keys new`",
        ) from error
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return KeySigner(key)
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _HASH:
        return KeySigner(key)
    raise SealError(
        f"{path} is neither an ECDSA (P-256, P-384, P-521) nor an Ed25519 key",
        hint="make one with `pratique keys new`",
    )


def _decode_private(data: bytes, path: Path, prompt: PasswordPrompt | None) -> object:
    try:
        return serialization.load_pem_private_key(data, password=None)
    except TypeError as error:
        # cryptography's way of saying that the key is encrypted
        if prompt is None:
            raise SealError(
                f"{path} is encrypted and no password was given",
                hint="give --password-file, or run on a terminal",
            ) from error
    return serialization.load_pem_private_key(data, password=prompt())


def _read_private(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(MAX_KEY_BYTES + 1)
    except OSError as error:
        raise SealError(
            f"cannot read the key {path}: {error.strerror}",
            hint="make one with `pratique keys new`",
        ) from error
    if mode & 0o077:
        raise SealError(
            f"others may read the key {path} (mode {mode & 0o777:04o})", hint=f"chmod 600 {path}"
        )
    if len(data) > MAX_KEY_BYTES:
        raise SealError(f"{path} is too large for a private key", hint="give the .key file")
    return data


def _write_new(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())

"""Whether a commit's own signature is by a key that the policy lists. Offline, SSH keys only.

The answer is information, never a gate: an unsigned commit is ordinary. Only `VERIFIED` says that a
listed key signed these very bytes; everything else says why not.
"""

import base64
import binascii
import enum
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from pratique.errors import FormatError, PolicyError
from pratique.formats.git import Commit
from pratique.formats.sshsig import Reader, SshSignature, parse_ssh_signature, ssh_string

_NAMESPACE: Final = b"git"
_MIN_RSA_BITS: Final = 2048
_RSA_HASHES: Final = {"rsa-sha2-256": hashes.SHA256(), "rsa-sha2-512": hashes.SHA512()}
_CURVE_HASHES: Final = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}


class SignatureState(enum.StrEnum):
    """What is known of a commit's signature."""

    UNSIGNED = "unsigned"
    VERIFIED = "verified"
    """By a key that the policy lists, over these bytes."""
    OTHER_KEY = "signed by a key that the policy does not list"
    UNCHECKED = "signed in a form that is not checked here (OpenPGP, X.509, hardware key)"
    INVALID = "malformed, or not over this commit"


@dataclass(frozen=True, slots=True)
class CommitSignature:
    """`key` is the signer's fingerprint (`SHA256:…`, as ssh-keygen -l prints), or ""."""

    state: SignatureState
    key: str = ""


def check_commit_signature(commit: Commit, listed: Iterable[str]) -> CommitSignature:
    """Say what `commit`'s signature is worth under the `listed` keys (authorized_keys lines)."""
    if commit.signature is None:
        return CommitSignature(SignatureState.UNSIGNED)
    if not commit.signature.startswith(b"-----BEGIN SSH SIGNATURE-----"):
        return CommitSignature(SignatureState.UNCHECKED)
    blobs = {parse_authorized_key(line) for line in listed}
    try:
        signature = parse_ssh_signature(commit.signature)
    except FormatError:
        return CommitSignature(SignatureState.INVALID)
    key = fingerprint(signature.public_key)
    if signature.public_key not in blobs:
        return CommitSignature(SignatureState.OTHER_KEY, key)
    digest = hashlib.new(signature.hash_name, commit.signed).digest()
    try:
        good = signature.namespace == _NAMESPACE and _verifies(signature, digest)
    except (UnsupportedAlgorithm, ValueError):
        return CommitSignature(SignatureState.UNCHECKED, key)
    except (InvalidSignature, FormatError):
        good = False
    return CommitSignature(SignatureState.VERIFIED if good else SignatureState.INVALID, key)


def parse_authorized_key(line: str) -> bytes:
    """Return the wire form of one `TYPE BASE64 [COMMENT]` line. Raises PolicyError otherwise."""
    parts = line.split()
    try:
        blob = base64.b64decode(parts[1], validate=True)
        if ssh_string(parts[0].encode()) != blob[: len(parts[0]) + 4]:
            raise ValueError(parts[0])
    except (IndexError, ValueError, binascii.Error) as error:
        raise PolicyError(
            "the policy's commit_signing_keys hold a line that is no SSH public key",
            hint="write each as ssh-keygen prints it: TYPE BASE64 COMMENT",
        ) from error
    return blob


def fingerprint(blob: bytes) -> str:
    """Return `SHA256:…` of a public key in wire form."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _verifies(signature: SshSignature, digest: bytes) -> bool:
    """Raise InvalidSignature or ValueError, or return True."""
    kind = Reader(signature.public_key).string()
    line = kind + b" " + base64.b64encode(signature.public_key)
    key = load_ssh_public_key(line)
    message = signature.covered(digest)
    match key:
        case ed25519.Ed25519PublicKey() if signature.algorithm == "ssh-ed25519":
            key.verify(signature.blob, message)
        case rsa.RSAPublicKey() if signature.algorithm in _RSA_HASHES:
            if key.key_size < _MIN_RSA_BITS:
                return False
            key.verify(
                signature.blob, message, padding.PKCS1v15(), _RSA_HASHES[signature.algorithm]
            )
        case ec.EllipticCurvePublicKey() if signature.algorithm == kind.decode("latin-1"):
            reader = Reader(signature.blob)
            der = encode_dss_signature(reader.integer(), reader.integer())
            reader.end()
            key.verify(der, message, ec.ECDSA(_CURVE_HASHES[key.curve.key_size]))
        case _:
            return False
    return True

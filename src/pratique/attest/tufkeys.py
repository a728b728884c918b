"""Our keys as TUF keys: the same algorithms, the same id, one way of writing them.

A key whose id in the metadata is not its own would count twice towards a threshold, so every key of
a root or delegation is checked when the metadata is read.
"""

from collections.abc import Mapping
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ed25519
from securesystemslib.signer import Key, SecretsHandler, Signature, SSlibKey
from securesystemslib.signer import Signer as TufSigner

from pratique.attest.keys import PublicKey, Signer, key_id_of, parse_public_key, public_pem
from pratique.errors import FormatError, VerificationRefused

_ECDSA: Final = frozenset({"ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"})


def tuf_key(public: PublicKey) -> SSlibKey:
    """Return `public` as TUF writes it, under our key id."""
    return SSlibKey.from_crypto(public, keyid=key_id_of(public_pem(public)))


class MetadataSigner(TufSigner):
    """Lets any signer of ours sign trust metadata."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self._key = tuf_key(parse_public_key(signer.public_pem))

    @property
    def public_key(self) -> SSlibKey:
        """The public half."""
        return self._key

    def sign(self, payload: bytes) -> Signature:
        """Sign canonical metadata bytes."""
        return Signature(self._signer.key_id, self._signer.sign(payload).hex())

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: SecretsHandler | None = None
    ) -> "MetadataSigner":
        """Not offered: keys are loaded by `keys.load_signer` only."""
        raise NotImplementedError


def check_keys(keys: Mapping[str, Key] | None) -> None:
    """Raise VerificationRefused unless each key is of a known kind and bears its own id."""
    for keyid, key in (keys or {}).items():
        try:
            own = key_id_of(public_pem(_public(key)))
        except (ValueError, FormatError) as error:
            raise VerificationRefused("the trust set has a key of an unknown kind") from error
        if own != keyid or own != key.keyid:
            raise VerificationRefused("a key of the trust set goes by a name that is not its own")


def _public(key: Key) -> PublicKey:
    text = str(key.keyval["public"])
    if (key.keytype, key.scheme) == ("ed25519", "ed25519"):
        return ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))
    if key.keytype == "ecdsa" and key.scheme in _ECDSA:
        return parse_public_key(text.encode())
    raise FormatError("unknown kind of key")

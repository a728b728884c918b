"""From a signature file to an identity: whose credential made it, and when, as others vouch for it.

A result means that the signature over payload type and payload is valid and that the trust root's
authorities vouch for the credential. It does NOT say that the holder may sign anything: that is for
`verify`. The payload has not been looked at.
"""

from dataclasses import dataclass
from datetime import datetime

from pratique.attest.envelope import ChainMaterial, KeyMaterial, SignatureFile
from pratique.attest.keys import Crypto, crypto_problem, key_id_of, verify_raw
from pratique.attest.trustroot import Authorities
from pratique.attest.values import Identity, Method
from pratique.core.ids import shown
from pratique.errors import VerificationRefused


@dataclass(frozen=True, slots=True)
class Authentic:
    """A valid signature: by which identity, at which vouched time, over which bytes."""

    identity: Identity
    signed_at: datetime | None
    payload_type: str
    payload: bytes
    key_id: str | None = None
    """The key that made it; None for the passing keys of Sigstore."""


def authenticate(
    parts: SignatureFile, authorities: Authorities, *, now: datetime, crypto: Crypto
) -> Authentic:
    """Verify one signature. Raises VerificationRefused unless it is valid in every respect.

    `now` judges certificates that bear no timestamp, revocation lists, and times in the future.
    """
    material = parts.material
    if isinstance(material, KeyMaterial):
        return _by_key(parts, material, authorities, crypto=crypto)
    key_id = None
    if isinstance(material, ChainMaterial):
        # X.509 and ASN.1 are read only when a signature needs them.
        from pratique.attest import certificate  # noqa: PLC0415

        found: tuple[Identity, datetime | None] = certificate.verify(
            parts, material, authorities, now=now, crypto=crypto
        )
        key_id = certificate.leaf_key_id(material)
    else:
        # Importing sigstore takes longer than verifying a key signature does.
        from pratique.attest import keyless  # noqa: PLC0415

        found = keyless.verify(parts, authorities, crypto=crypto)
    identity, when = found
    return Authentic(identity, when, parts.payload_type, parts.payload, key_id)


def _by_key(
    parts: SignatureFile, material: KeyMaterial, authorities: Authorities, *, crypto: Crypto
) -> Authentic:
    key_id = material.hint or key_id_of(material.pem)
    key = authorities.keys.get(key_id)
    if key is None:
        raise VerificationRefused(
            f"signed with the key {shown(key_id[:16])}, which nobody in the trust root holds",
            hint="install a trust root that names the signer, or have somebody else sign",
        )
    if (problem := crypto_problem(key, crypto)) is not None:
        raise VerificationRefused(problem, hint="have it signed with an ECDSA key")
    if not verify_raw(key, parts.signature, parts.signed_bytes):
        raise VerificationRefused(
            "the signature is not valid: payload or signature was altered",
            hint="fetch the bundle again from whoever sealed it",
        )
    when = None
    if material.timestamps:
        from pratique.attest import timestamp  # noqa: PLC0415  # as above

        when = timestamp.verify(material.timestamps, parts.signature, authorities.timestamp_chains)
    return Authentic(Identity(Method.KEY, key_id), when, parts.payload_type, parts.payload, key_id)

"""The certificate method: a chain to a carried authority, valid and unrevoked when it signed.

"When it signed" is the RFC 3161 timestamp if there is one, else now. The leaf must be for code
signing, name exactly one e-mail address or URI, and no certificate of the chain may stand on its
issuer's revocation list. Such a list must be in the trust set for every issuer, and must have been
fresh when the set was installed: without it nobody could say that nothing is revoked.

Stricter than the peer's verifier, which accepts expired leaves and any name. Sources: RFC 5280
sections 5 and 6; Model Signing v1.0, section 8.2.
"""

import itertools
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from pratique.attest import timestamp
from pratique.attest.envelope import MAX_CERTIFICATES, ChainMaterial, SignatureFile
from pratique.attest.keys import (
    Crypto,
    PublicKey,
    Signer,
    crypto_problem,
    key_id_of,
    public_pem,
    supported_public_key,
    verify_raw,
)
from pratique.attest.timestamp import TimestampAuthority
from pratique.attest.trustroot import Authorities
from pratique.attest.values import Identity, Method
from pratique.errors import FormatError, SealError, VerificationRefused

_HASHES: Final = frozenset({"sha256", "sha384", "sha512"})
_HINT: Final = "have it signed with a certificate of an authority in the trust root"


def verify(
    parts: SignatureFile,
    material: ChainMaterial,
    authorities: Authorities,
    *,
    now: datetime,
    crypto: Crypto,
) -> tuple[Identity, datetime | None]:
    """Return who signed and the vouched time, or None. Raises VerificationRefused."""
    when = None
    if material.timestamps:
        when = timestamp.verify(material.timestamps, parts.signature, authorities.timestamp_chains)
    try:
        chain = _chain(material, authorities, when or now)
        identity = _identity(chain[0])
        _not_revoked(chain, authorities, when)
        key = supported_public_key(chain[0].public_key())
    except (VerificationRefused, FormatError) as error:
        raise VerificationRefused(error.message, hint=error.hint or _HINT) from error
    except Exception as error:  # malformed certificates raise what they like
        raise VerificationRefused("its certificates cannot be read", hint=_HINT) from error
    if (problem := crypto_problem(key, crypto)) is not None:
        raise VerificationRefused(problem, hint="have it signed with an ECDSA key")
    if not verify_raw(key, parts.signature, parts.signed_bytes):
        raise VerificationRefused(
            "the signature is not valid: payload or signature was altered",
            hint="fetch the bundle again from whoever sealed it",
        )
    return identity, when


def leaf_key_id(material: ChainMaterial) -> str:
    """Return the id of the leaf's key, so that revoking the key reaches it. Call after `verify`."""
    leaf = x509.load_der_x509_certificate(material.certificates[0])
    return key_id_of(public_pem(supported_public_key(leaf.public_key())))


def _chain(
    material: ChainMaterial, authorities: Authorities, when: datetime
) -> list[x509.Certificate]:
    if not authorities.certificate_roots:
        raise VerificationRefused("the trust root carries no certificate authority", hint=_HINT)
    given = [x509.load_der_x509_certificate(der) for der in material.certificates]
    roots = [x509.load_der_x509_certificate(der) for der in authorities.certificate_roots]
    # Client verification asks for the client-auth usage; ours is code signing, checked below.
    ca = ExtensionPolicy.webpki_defaults_ca().may_be_present(
        x509.ExtendedKeyUsage, Criticality.NON_CRITICAL, None
    )
    leaf = ExtensionPolicy.webpki_defaults_ee().require_present(
        x509.ExtendedKeyUsage, Criticality.AGNOSTIC, None
    )
    verifier = (
        PolicyBuilder()
        .store(Store(roots))
        .time(when)
        .max_chain_depth(MAX_CERTIFICATES)
        .extension_policies(ca_policy=ca, ee_policy=leaf)
        .build_client_verifier()
    )
    try:
        chain = list(verifier.verify(given[0], given[1:]).chain)
    except VerificationError as error:
        raise VerificationRefused(
            "its certificate does not chain to an authority of the trust root, "
            f"or was not valid on {when:%Y-%m-%d}",
            hint=_HINT,
        ) from error
    usage = chain[0].extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    if ExtendedKeyUsageOID.CODE_SIGNING not in usage:
        raise VerificationRefused("its certificate is not for code signing", hint=_HINT)
    try:
        signing = chain[0].extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return chain
    if not signing.digital_signature:
        raise VerificationRefused("its certificate is not for signing", hint=_HINT)
    return chain


def _identity(leaf: x509.Certificate) -> Identity:
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    emails = names.get_values_for_type(x509.RFC822Name)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(emails) + len(uris) != 1:
        raise VerificationRefused(
            "its certificate names no e-mail address or URI, or more than one", hint=_HINT
        )
    return Identity(Method.CERTIFICATE, (emails or uris)[0])


def _not_revoked(
    chain: list[x509.Certificate], authorities: Authorities, when: datetime | None
) -> None:
    lists = [x509.load_der_x509_crl(data) for data in authorities.crls]
    for certificate, issuer in itertools.pairwise(chain):
        own = [c for c in lists if c.issuer == issuer.subject and _signed_by(c, issuer)]
        fresh = [c for c in own if _fresh(c, authorities.as_of)]
        if not fresh:
            raise VerificationRefused(
                f"the trust root has no {'fresh ' if own else ''}revocation list "
                f"of {issuer.subject.rfc4514_string()[:120]}",
                hint="bring a trust set with a current crl/NAME.crl",
            )
        for crl in fresh:
            _not_on(crl, certificate, when)


def _not_on(
    crl: x509.CertificateRevocationList, certificate: x509.Certificate, when: datetime | None
) -> None:
    if crl.signature_hash_algorithm is None or crl.signature_hash_algorithm.name not in _HASHES:
        raise VerificationRefused(
            "a revocation list in the trust root uses a weak hash", hint=_HINT
        )
    if any(extension.critical for extension in crl.extensions):
        # Delta and partial lists say so in a critical extension: they do not speak of everything.
        raise VerificationRefused(
            "a revocation list in the trust root is not a full one", hint=_HINT
        )
    entry = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
    if entry is None:
        return
    since = entry.revocation_date_utc
    try:
        invalid = entry.extensions.get_extension_for_class(x509.InvalidityDate).value
        since = min(since, invalid.invalidity_date_utc)
    except x509.ExtensionNotFound:
        pass
    if when is None or when >= since:
        raise VerificationRefused(
            f"its certificate was revoked on {since:%Y-%m-%d}, and nothing shows that it signed before",
            hint=_HINT,
        )


def _signed_by(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    key = issuer.public_key()
    return crl.is_signature_valid(key)  # type: ignore[arg-type]  # a CA's key is one that signs


def _fresh(crl: x509.CertificateRevocationList, as_of: datetime) -> bool:
    return crl.next_update_utc is not None and crl.next_update_utc >= as_of


class CertificateSigner:
    """Signs with a key and the certificates that vouch for it, and has the signature timestamped."""

    def __init__(
        self,
        signer: Signer,
        certificates: tuple[x509.Certificate, ...],
        authority: TimestampAuthority | None = None,
    ) -> None:
        self._signer = signer
        self._certificates = certificates
        self._authority = authority
        self._identity = _identity(certificates[0])

    @property
    def key_id(self) -> str:
        """Hex SHA-256 of the public PEM."""
        return self._signer.key_id

    @property
    def identity(self) -> Identity:
        """The leaf's e-mail address or URI."""
        return self._identity

    @property
    def public_pem(self) -> bytes:
        """Canonical PEM of the public key."""
        return self._signer.public_pem

    def sign(self, data: bytes) -> bytes:
        """Sign `data`."""
        return self._signer.sign(data)

    def material(self, signature: bytes) -> ChainMaterial:
        """Return the certificates, and a timestamp over `signature` where an authority was given."""
        stamps = (self._authority.stamp(signature),) if self._authority else ()
        chain = tuple(c.public_bytes(Encoding.DER) for c in self._certificates)
        return ChainMaterial(chain, stamps)


def load_certificate_signer(
    signer: Signer, certificates: Path, authority: TimestampAuthority | None = None
) -> CertificateSigner:
    """Join `signer` with a PEM file of certificates, leaf first, root left out.

    Raises SealError unless the leaf is for this key and names one person.
    """
    try:
        chain = tuple(x509.load_pem_x509_certificates(certificates.read_bytes()))
        key: PublicKey = supported_public_key(chain[0].public_key())
        if public_pem(key) != signer.public_pem:
            raise SealError(
                f"{certificates} is not for this key", hint="the leaf has to come first in the file"
            )
        return CertificateSigner(signer, chain, authority)
    except OSError as error:
        raise SealError(f"cannot read {certificates}: {error.strerror}") from error
    except (ValueError, x509.ExtensionNotFound, FormatError, VerificationRefused) as error:
        raise SealError(f"{certificates} cannot be signed with: {error}") from error

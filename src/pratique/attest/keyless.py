"""Sigstore keyless signatures, verified offline against the `trusted_root.json` in the trust set.

sigstore-python does the work (certificate, SCT, log inclusion, checkpoint, timestamps). What it leaves
open is closed here: the file is in canonical form; every timestamp in it verifies; and the whole is
verified once more against a trusted root cut down to the authorities that were valid at the vouched
time, since the library does not enforce `validFor.end` of certificate authorities and logs.
"""

import base64
import json
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from sigstore.errors import Error as SigstoreError
from sigstore.models import Bundle, TrustedRoot
from sigstore.verify import Verifier
from sigstore.verify import policy as policies
from sigstore_models.bundle.v1 import Bundle as FileModel
from sigstore_models.common.v1 import TimeRange
from sigstore_models.rekor.v1 import InclusionProof
from sigstore_models.trustroot import v1 as trustroot

from pratique.attest import timestamp
from pratique.attest.envelope import SignatureFile, SigstoreMaterial
from pratique.attest.keys import Crypto, crypto_problem, supported_public_key
from pratique.attest.trustroot import Authorities
from pratique.attest.values import Identity, Method
from pratique.errors import FormatError, VerificationRefused

_HINT: Final = "have it signed again, or bring a trust set with the right trusted_root.json"
_ISSUER: Final = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_UTF8_STRING: Final = b"\x0c"
MAX_TIMESTAMPS: Final = 4


def verify(
    parts: SignatureFile, authorities: Authorities, *, crypto: Crypto
) -> tuple[Identity, datetime]:
    """Return who signed and when, as log or timestamp authority vouch. Raises VerificationRefused."""
    if not isinstance(parts.material, SigstoreMaterial):
        raise TypeError("not a Sigstore signature")
    if authorities.sigstore is None:
        raise VerificationRefused("the trust root carries no trusted_root.json", hint=_HINT)
    try:
        bundle = _read(parts.material.file)
        root = trustroot.TrustedRoot.from_json(authorities.sigstore)
        identity = _identity(bundle.signing_certificate)
        signed = _verify(root, bundle, identity)
        file = FileModel.from_json(parts.material.file)
        _nothing_loose(file, root)
        times = _times(file, parts.signature, root)
        _verify_as_of(times, root, bundle, identity)
        key = supported_public_key(bundle.signing_certificate.public_key())
    except VerificationRefused:
        raise
    except FormatError as error:
        raise VerificationRefused(error.message, hint=_HINT) from error
    except SigstoreError as error:
        raise VerificationRefused(f"Sigstore: {error}"[:300], hint=_HINT) from error
    except Exception as error:  # malformed certificates raise ValueError and others
        raise VerificationRefused("the Sigstore signature cannot be read", hint=_HINT) from error
    if signed != (parts.payload_type, parts.payload):
        raise VerificationRefused("the signed payload is not the one in the file", hint=_HINT)
    if (problem := crypto_problem(key, crypto)) is not None:
        raise VerificationRefused(problem, hint="have it signed with an ECDSA key")
    return identity, min(times)


def _read(file: bytes) -> Bundle:
    bundle = Bundle.from_json(file)
    if json.loads(bundle.to_json()) != json.loads(file):
        raise VerificationRefused("the signature file has fields nobody would check", hint=_HINT)
    return bundle


def _verify(root: trustroot.TrustedRoot, bundle: Bundle, identity: Identity) -> tuple[str, bytes]:
    policy = policies.AllOf(
        [policies.Identity(identity=identity.subject), policies.OIDCIssuerV2(identity.issuer)]
    )
    return Verifier(trusted_root=TrustedRoot(root)).verify_dsse(bundle, policy)


def _verify_as_of(
    times: list[datetime], root: trustroot.TrustedRoot, bundle: Bundle, identity: Identity
) -> None:
    """Verify again with those authorities only that were valid when the signature was made."""
    for when in times:
        try:
            _verify(_valid_at(root, when), bundle, identity)
        except SigstoreError as error:
            raise VerificationRefused(
                f"it rests on an authority that was not valid on {when:%Y-%m-%d}: {error}"[:300],
                hint=_HINT,
            ) from error


def _identity(certificate: x509.Certificate) -> Identity:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    emails = names.get_values_for_type(x509.RFC822Name)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(emails) + len(uris) != 1:
        raise VerificationRefused("the certificate names nobody, or more than one", hint=_HINT)
    try:
        issuer = certificate.extensions.get_extension_for_oid(_ISSUER).value
    except x509.ExtensionNotFound as error:
        raise VerificationRefused("the certificate names no issuer", hint=_HINT) from error
    if not isinstance(issuer, x509.UnrecognizedExtension) or issuer.value[:1] != _UTF8_STRING:
        raise VerificationRefused("the certificate names no issuer", hint=_HINT)
    # One or two length bytes; the library's own policy compares the value once more.
    text = issuer.value[2:] if issuer.value[1] < 0x80 else issuer.value[3:]
    return Identity(Method.SIGSTORE, (emails or uris)[0], text.decode())


def _nothing_loose(file: FileModel, root: trustroot.TrustedRoot) -> None:
    """Refuse what the library reads past: fields of a log entry that no signature covers."""
    logs = {log.log_id.key_id for log in root.tlogs}
    for entry in file.verification_material.tlog_entries:
        proof = entry.inclusion_proof
        if entry.log_id.key_id not in logs:
            raise VerificationRefused("the log entry names an unknown log", hint=_HINT)
        # With a promise the index is that of the whole log and signed; the proof's is of a shard.
        if entry.inclusion_promise is None and entry.log_index != proof.log_index:
            raise VerificationRefused("the log entry's index is not that of its proof", hint=_HINT)
        _checkpoint(proof)


def _checkpoint(proof: InclusionProof) -> None:
    """C2SP tlog-checkpoint: origin, size, root; a blank line; signatures by name."""
    if proof.checkpoint is None:  # the library saw to it
        raise VerificationRefused("the log entry bears no checkpoint", hint=_HINT)
    note, _, signatures = proof.checkpoint.envelope.partition("\n\n")
    origin, size, root_hash = note.split("\n")[:3]
    if size != str(proof.tree_size) or base64.b64decode(root_hash) != proof.root_hash:
        raise VerificationRefused("the log's proof is not for its checkpoint", hint=_HINT)
    names = [line.split(" ")[1] for line in signatures.splitlines()]
    if not all(name and origin.startswith(name) for name in names):
        raise VerificationRefused("the log's checkpoint is not signed by its origin", hint=_HINT)


def _times(file: FileModel, signature: bytes, root: trustroot.TrustedRoot) -> list[datetime]:
    """All times that somebody vouches for: RFC 3161 timestamps, the log's signed integration time."""
    found: list[datetime] = []
    material = file.verification_material
    stamps = material.timestamp_verification_data
    if stamps is not None and stamps.rfc3161_timestamps:
        tokens = tuple(s.signed_timestamp for s in stamps.rfc3161_timestamps[: MAX_TIMESTAMPS + 1])
        if len(tokens) > MAX_TIMESTAMPS:
            raise VerificationRefused("the signature bears too many timestamps", hint=_HINT)
        chains = tuple(
            tuple(c.raw_bytes for c in authority.cert_chain.certificates)
            for authority in root.timestamp_authorities
        )
        found.append(timestamp.verify(tokens, signature, chains))
    found.extend(
        datetime.fromtimestamp(entry.integrated_time, UTC)
        for entry in material.tlog_entries
        if entry.inclusion_promise is not None and entry.integrated_time
    )
    if not found:
        raise VerificationRefused("nothing vouches for the time of the signature", hint=_HINT)
    return found


def _valid_at(root: trustroot.TrustedRoot, when: datetime) -> trustroot.TrustedRoot:
    """Return `root` without the authorities that were not valid at `when`."""
    return root.model_copy(
        update={
            "tlogs": [t for t in root.tlogs if _within(t.public_key.valid_for, when)],
            "ctlogs": [t for t in root.ctlogs if _within(t.public_key.valid_for, when)],
            "certificate_authorities": [
                a for a in root.certificate_authorities if _within(a.valid_for, when)
            ],
            "timestamp_authorities": [
                a for a in root.timestamp_authorities if _within(a.valid_for, when)
            ],
        }
    )


def _within(period: TimeRange | None, when: datetime) -> bool:
    if period is None:
        return False
    return period.start <= when and (period.end is None or when <= period.end)

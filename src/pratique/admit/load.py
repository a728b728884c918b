"""Open what was admitted earlier. Nothing is taken on the record's word: every process verifies again.

1. the store's owner and modes; find the record by name, label or id
2. signatures, roles, expiry, revocation, age of the trust (with the serving grace), as of now
3. the record is about what was signed; SHA256SUMS and bundle.json are the signed ones
4. the stored bytes: signed chunk digests on all cores, or SHA-256 under `crypto = "fips"` (now or at
   admission, which then has not compared the chunk digests with the bytes)
"""

from datetime import datetime
from pathlib import Path

from pratique.admit.admitted import AdmittedBundle
from pratique.admit.checks import check_listed, check_sums
from pratique.admit.record import admitted_bundle
from pratique.admit.shape import MAX_SIGNATURE_BYTES, read_signed, refusing
from pratique.admit.verify import wanted_digests
from pratique.attest.install import installed_trust
from pratique.attest.trustroot import SERVING_GRACE, TrustRoot
from pratique.attest.verify import VerifiedStatement, verify_signatures
from pratique.core.bundle import DOCUMENT, SUMS
from pratique.core.ids import Digest, RelPath
from pratique.core.policy import Policy
from pratique.core.progress import Progress
from pratique.errors import VerificationRefused
from pratique.formats.bundle import MAX_DOCUMENT_BYTES, parse_bundle_document
from pratique.store import records
from pratique.store.cas import Store, open_store
from pratique.store.content import recheck_content
from pratique.store.measure import Wanted
from pratique.store.records import AdmissionRecord


def open_admitted(
    home: Path,
    reference: str,
    *,
    now: datetime,
    policy: Policy,
    progress: Progress | None = None,
) -> AdmittedBundle:
    """Return an admitted bundle that may be used now. Guarantees what `admit` does, but the gate.

    Raises:
        UnreadableInput: nothing of that name is admitted here.
        UsageError: the reference is ambiguous.
        VerificationRefused: revoked, expired, approvals missing, or bytes changed in the store.
        StorageError: the store may be written by others, or cannot be read.
    """
    store = open_store(home)
    with store.shared():
        record = records.resolve(store, reference)
        trust = installed_trust(home)
        statement = check_signatures(store, record, trust=trust, policy=policy, now=now)
        root = store.tree(record.tree)
        check_sums(root, statement.files)
        data = read_signed(root, DOCUMENT, statement.files[DOCUMENT], MAX_DOCUMENT_BYTES)
        with refusing():
            document = parse_bundle_document(data)
        check_listed(document, statement.files)
        wanted = _usable_digests(policy, record)
        with refusing():
            content = recheck_content(
                store,
                record.tree,
                document.files,
                {path: statement.files[path] for path in (DOCUMENT, SUMS)},
                statement.bundle_id,
                wanted=wanted,
                progress=progress,
            )
    name = name_of(store, reference, record)
    return admitted_bundle(name, statement, document, content, policy, wanted=wanted)


def check_signatures(
    store: Store, record: AdmissionRecord, *, trust: TrustRoot, policy: Policy, now: datetime
) -> VerifiedStatement:
    """Verify the stored signature files of an admitted bundle, as of `now`. Looks at no content.

    Cheap: what a running server does again when the trust or its revocations change.
    """
    with refusing():
        statement = verify_signatures(
            {name: _envelope(store, name, digest) for name, digest in record.signatures.items()},
            trust=trust,
            now=now,
            rules=policy.trust,
            crypto=policy.crypto,
            grace=SERVING_GRACE,
        )
    if statement.bundle_id != record.bundle_id:
        raise VerificationRefused(
            f"the record of {record.label} holds the signatures of another bundle",
            hint="admit the bundle again",
        )
    return statement


def name_of(store: Store, reference: str, record: AdmissionRecord) -> str:
    """What to call an admitted bundle: the name it was asked for by, else its own."""
    if any(alias.name == reference for alias in records.aliases(store)):
        return reference
    return record.name


def _usable_digests(policy: Policy, record: AdmissionRecord) -> Wanted:
    """The chunk digests count only where admission held them against the bytes."""
    checked = record.policy.crypto != "fips"
    return wanted_digests(policy) if checked else Wanted.SHA256


def _envelope(store: Store, name: str, digest: Digest) -> bytes:
    place = store.object(digest)
    data = read_signed(place.parent, RelPath(place.name), digest, MAX_SIGNATURE_BYTES)
    del name
    return data

"""The moment of admission: the record is written, then the name is pointed. Both in one step each."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pratique.admit.admitted import AdmittedBundle
from pratique.admit.names import next_alias
from pratique.attest.commit_proof import CommitProof
from pratique.attest.verify import VerifiedStatement
from pratique.core.bundle import BundleDocument, BundlePolicy, SealedFile
from pratique.core.ids import BundleId, Digest, parse_alias
from pratique.core.policy import Policy
from pratique.core.proof import mint
from pratique.core.recorded import Around, unrecorded
from pratique.errors import StorageError, UnreadableInput
from pratique.store.cas import Store
from pratique.store.content import StoredContent, store_bytes
from pratique.store.measure import Wanted
from pratique.store.records import (
    AdmissionRecord,
    Alias,
    read_admission,
    read_alias,
    write_admission,
    write_alias,
)


def tree_of(store: Store, bundle: BundleId) -> str | None:
    """The tree of an earlier admission of the same bundle, or None.

    A damaged record is as good as none: admitting again writes it anew.
    """
    try:
        return read_admission(store, bundle).tree
    except (UnreadableInput, StorageError):
        return None


def new_record(
    store: Store,
    document: BundleDocument,
    content: StoredContent,
    signatures: Mapping[str, bytes],
    *,
    policy: Policy,
    now: datetime,
    proof: CommitProof | None,
) -> AdmissionRecord:
    """Say what is to be admitted. Puts the signature files into the store; decides nothing yet."""
    for data in signatures.values():
        store_bytes(store, data)
    return AdmissionRecord(
        schema="pratique.admission/v1",
        bundle_id=content.bundle_id,
        name=document.name,
        label=document.label,
        repo=document.source.repo,
        commit=document.source.commit,
        commit_time=None if proof is None else proof.committer.when,
        taken_at=document.taken_at,
        admitted_at=now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        policy=BundlePolicy(name=policy.name, digest=policy.digest, crypto=policy.crypto),
        size=sum(file.size for file in content.files),
        tree=content.name,
        signatures={
            name: Digest(hashlib.sha256(data).hexdigest()) for name, data in signatures.items()
        },
        verity=dict(content.verity),
    )


@dataclass(frozen=True, slots=True)
class Decision:
    """What is about to hold: the record, and the name with its new move; `before` it pointed there."""

    store: Store
    document: BundleDocument
    record: AdmissionRecord
    alias: Alias
    moves: bool
    before: BundleId | None
    rollback: str | None


def decide(
    store: Store,
    document: BundleDocument,
    record: AdmissionRecord,
    name: str,
    rollback: str | None,
    *,
    around: Around[Decision] = unrecorded,
) -> BundleId | None:
    """Admit: write the record, then point `name` at it. Returns what it pointed at before.

    Raises VerificationRefused, and writes nothing, if the name would go back without a reason.
    """
    with store.deciding():
        current = read_alias(store, parse_alias(name))
        moves = current is not None and current.bundle_id != record.bundle_id
        held = _record_or_none(store, current.bundle_id) if current and moves else None
        alias = next_alias(name, current, held, record, rollback=rollback)
        before = None if current is None else current.bundle_id
        decision = Decision(store, document, record, alias, alias != current, before, rollback)
        with around(decision):
            write_admission(store, record)
            if decision.moves:
                write_alias(store, alias)
    return before


def admitted_bundle(
    name: str,
    statement: VerifiedStatement,
    document: BundleDocument,
    content: StoredContent,
    policy: Policy,
    *,
    wanted: Wanted,
    replaced: BundleId | None = None,
) -> AdmittedBundle:
    """Make the proof, from the proofs that it rests on. For `admit` and `open_admitted` alone.

    `wanted`: the digests that were held against the bytes; no others are handed on.
    """
    if content.bundle_id != statement.bundle_id:
        raise RuntimeError("content and statement are of different bundles")
    permitted = set(statement.rungs)
    return mint(
        AdmittedBundle,
        bundle_id=statement.bundle_id,
        name=name,
        label=document.label,
        model_dir=content.root / "model",
        files=document.files if wanted is Wanted.BOTH else _without_chunks(document.files),
        document=document,
        approvals=tuple(statement.approvals),
        permitted_rungs=tuple(rung for rung in policy.serve.rungs if rung in permitted),
        permitted_variants=tuple(
            v.name
            for v in document.variants
            # Who forbids quantised weights forbids them however they came to be.
            if v.name in permitted.intersection(policy.serve.rungs)
            and (statement.variants is None or v.name in statement.variants)
        ),
        expires=statement.expires,
        statement=statement,
        content=content,
        replaced=replaced,
    )


def _without_chunks(files: tuple[SealedFile, ...]) -> tuple[SealedFile, ...]:
    return tuple(file.model_copy(update={"chunks": ()}) for file in files)


def _record_or_none(store: Store, bundle: BundleId) -> AdmissionRecord | None:
    try:
        return read_admission(store, bundle)
    except UnreadableInput:
        return None

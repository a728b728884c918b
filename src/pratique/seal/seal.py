"""VettedSnapshot → SealedBundle: a bundle under its final name is whole, signed and on the disk.

1. a staging folder beside the target, ours alone;
2. what was taken in (`intake`) is moved there with the digests measured then; anything else is
   copied while being hashed, and refused if it differs from the vetted digest;
3. evidence, then `bundle.json`, then `SHA256SUMS`, whose digest is the bundle's id;
4. the signature, over digests only: nothing of the model is parsed in this process;
5. everything flushed, then one rename.

Before the rename nothing bears the final name; a failure removes the staging folder, and what a
killed process leaves is removed by the next run. The same snapshot, policy and clock give the same
bytes, signatures aside.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pratique import __version__
from pratique.attest.keys import Signer
from pratique.attest.sign import SignsStatements, sign_payload
from pratique.core.bundle import (
    DOCUMENT,
    PAYLOAD,
    SIGNATURES,
    SUFFIX,
    SUMS,
    VETTER_SIGNATURE,
    AbsentFile,
    BundleDocument,
    BundlePolicy,
    BundleSource,
    ForeignRepository,
    SealedFile,
    Variant,
    bundle_id_of,
    sums_of,
)
from pratique.core.ids import BundleId, Digest, RelPath, shown
from pratique.core.policy import Policy
from pratique.core.progress import Progress
from pratique.core.recorded import Around, unrecorded
from pratique.core.snapshot import VettedSnapshot
from pratique.core.variants import METHODS
from pratique.errors import SealError
from pratique.formats.bundle import encode_bundle_document
from pratique.seal.plan import Carried, Plan, plan_payload
from pratique.seal.staging import publish, staging_for
from pratique.seal.variants import MadeVariant
from pratique.store import disk, tree
from pratique.store.measure import Measured, Wanted, measure, measure_all, measure_bytes

_RUNTIME: Final = {"python": ">=3.11", "pratique": ">=0.1"}


@dataclass(frozen=True, slots=True)
class SealedBundle:
    """A bundle that was written, signed and flushed under its final name."""

    path: Path
    bundle_id: BundleId
    document: BundleDocument
    key_id: str
    signature: Digest
    """Of the vetter's signature file."""

    @property
    def label(self) -> str:
        """NAME@REV8."""
        return self.document.label


@dataclass(frozen=True, slots=True)
class Sealing:
    """What is to be sealed and how. `evidence` is by name below `evidence/`.

    `left_behind` maps paths that nothing loads to the reason for not carrying them; `absent` lists
    paths of the commit that were never fetched. `clock` is written as the bundle's time. `variants`
    are copies that the gate passed; their files must stay until the bundle is written. `taken` is
    what was measured when the snapshot was taken in, by folder: those files are moved, not copied.
    """

    vetted: VettedSnapshot
    policy: Policy
    clock: datetime
    evidence: Mapping[str, bytes]
    left_behind: Mapping[RelPath, str]
    absent: tuple[AbsentFile, ...] = ()
    variants: tuple[MadeVariant, ...] = ()
    taken: Mapping[Path, Sequence[Measured]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.policy.digest != self.vetted.verdict.policy.digest:
            raise RuntimeError("the verdict was given under another policy")

    @property
    def wanted(self) -> Wanted:
        """Which digests this policy admits."""
        return Wanted.SHA256 if self.policy.crypto == "fips" else Wanted.BOTH


def seal(
    sealing: Sealing,
    signer: Signer | SignsStatements,
    target: Path,
    *,
    progress: Progress | None = None,
    around: Around[SealedBundle] = unrecorded,
) -> SealedBundle:
    """Write and sign a bundle at `target`. Guarantees that it is whole, or that it is not there.

    `around` is entered before the one rename, to keep an account of it.

    Raises:
        SealError: the target exists, somebody else is sealing it, or a file changed since vetting.
        StorageError: the disk is full, or reading or writing failed.
    """
    plan = _plan(sealing)
    with staging_for(target) as staging:
        with disk.storing(str(target)):
            disk.make_folder(staging / SIGNATURES)
            _make_folders(staging / PAYLOAD, plan)
        payload = staging / PAYLOAD
        document, sums = _fill(sealing, plan, payload, progress)
        data = encode_bundle_document(document)
        with disk.storing(str(target)):
            disk.write_new(payload / DOCUMENT, data)
            disk.write_new(payload / SUMS, sums)
        signature = sign_payload(_signed_files(document, data, sums), signer)
        with disk.storing(str(target)):
            disk.write_new(staging / SIGNATURES / VETTER_SIGNATURE, signature)
            disk.flush_filesystem(staging)
        sealed = SealedBundle(
            target, bundle_id_of(sums), document, signer.identity.subject, _digest(signature)
        )
        with around(sealed), disk.storing(str(target)):
            publish(staging, target)
    return sealed


def recompute(sealing: Sealing, *, progress: Progress | None = None) -> Mapping[RelPath, Digest]:
    """Return what `SHA256SUMS` of this sealing would list, without writing anything."""
    plan = _plan(sealing)
    document, _ = _fill(sealing, plan, None, progress)
    data = encode_bundle_document(document)
    listed = {file.path: file.sha256 for file in document.files}
    return {**listed, DOCUMENT: _digest(data)}


def _plan(sealing: Sealing) -> Plan:
    return plan_payload(
        sealing.vetted, sealing.evidence, sealing.left_behind, sealing.variants, sealing.taken
    )


def label_path(sealing_label: str, folder: Path) -> Path:
    """Where a bundle goes by default: FOLDER/NAME@REV8.bundle."""
    return folder / f"{sealing_label}{SUFFIX}"


def _fill(
    sealing: Sealing, plan: Plan, payload: Path | None, progress: Progress | None
) -> tuple[BundleDocument, bytes]:
    """Move or copy (or only read) all files; return the document about them, and SHA256SUMS."""
    by_path = {item.path: item for item in plan.carried}

    def work(path: RelPath, *, ahead: bool) -> Measured:
        return _carry(by_path[path], sealing.wanted, payload, progress, ahead=ahead)

    sizes = [(item.path, _size(item)) for item in plan.carried if item.found is None]
    found = measure_all(sizes, work, progress=progress, what="sealing")
    found += [_move(item, item.found, payload) for item in plan.carried if item.found is not None]
    found += [_write(path, data, sealing.wanted, payload) for path, data in plan.written.items()]
    document = _document(sealing, plan, found)
    entries = [(file.path, file.sha256) for file in document.files]
    sums = sums_of([*entries, (DOCUMENT, _digest(encode_bundle_document(document)))])
    return document, sums


def _document(sealing: Sealing, plan: Plan, found: list[Measured]) -> BundleDocument:
    snapshot, policy = sealing.vetted.snapshot, sealing.policy
    source = snapshot.source
    hub = source.kind == "hub"
    files = sorted(found, key=lambda m: m.path.encode())
    return BundleDocument(
        schema="pratique.bundle/v1",
        name=snapshot.name,
        source=BundleSource(
            kind=source.kind,
            repo=source.repo,
            commit=source.commit,
            # A local path says nothing to the far side and differs between machines.
            requested=source.requested if hub else None,
            endpoint=source.endpoint if hub else None,
        ),
        commit_proof=snapshot.proof.value,
        taken_at=moment(snapshot.taken_at),
        created=moment(sealing.clock),
        policy=BundlePolicy(name=policy.name, digest=policy.digest, crypto=policy.crypto),
        verdict="PASSED",
        subject=snapshot.manifest.digest,
        chunking="blake3/64MiB" if sealing.wanted is Wanted.BOTH else None,
        files=tuple(
            SealedFile(path=m.path, size=m.size, sha256=m.sha256, chunks=m.chunks) for m in files
        ),
        aside=plan.aside,
        absent=sealing.absent,
        variants=tuple(
            Variant(name=made.name, method=METHODS[made.name], statement=made.statement_path)
            for made in sealing.variants
        ),
        foreign=tuple(
            ForeignRepository(repo=code.pin.repo, commit=code.pin.commit)
            for code in snapshot.foreign
        ),
        runtime=dict(_RUNTIME),
        made_by={"pratique": __version__},
    )


def _digest(data: bytes) -> Digest:
    return Digest(hashlib.sha256(data).hexdigest())


def moment(time: datetime) -> str:
    """Write a time as bundles do: UTC, to the second."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _signed_files(
    document: BundleDocument, data: bytes, sums: bytes
) -> Iterator[tuple[RelPath, Digest]]:
    yield from ((file.path, file.sha256) for file in document.files)
    yield DOCUMENT, _digest(data)
    yield SUMS, Digest(bundle_id_of(sums))


# --- files ------------------------------------------------------------------------------------------


def _size(item: Carried) -> int:
    with tree.opened_folder(item.root) as root, tree.opened(root, item.origin) as descriptor:
        return os.fstat(descriptor).st_size


def _move(item: Carried, found: Measured, payload: Path | None) -> Measured:
    """Put a file that was hashed as it came into our private folder in its place."""
    if item.digest not in {None, found.sha256}:
        raise RuntimeError("the verdict is about other bytes than those that were taken in")
    if payload is not None:
        with disk.storing(shown(item.path)):
            place = item.root / item.origin
            place.chmod(disk.FILE_MODE)  # who wrote it decides nothing about the bundle
            place.rename(payload / item.path)
    return replace(found, path=item.path)


def _carry(
    item: Carried,
    wanted: Wanted,
    payload: Path | None,
    progress: Progress | None,
    *,
    ahead: bool,
) -> Measured:
    """Read one file once: hash it, and copy it if there is a `payload`. Refuse other bytes."""
    with (
        tree.opened_folder(item.root) as root,
        tree.opened(root, item.origin) as source,
        _target(item.path, payload) as sink,
    ):

        def write(block: memoryview) -> None:
            if sink is not None:
                with disk.storing(shown(item.path)):
                    disk.write_all(sink, block)

        found = measure(source, item.path, wanted, ahead=ahead, sink=write, progress=progress)
    if item.digest is not None and found.sha256 != item.digest:
        raise SealError(
            f"{shown(item.path)} is no longer the file that was vetted",
            hint="something writes to the snapshot: stop it, fetch and vet again",
        )
    return found


@contextlib.contextmanager
def _target(path: RelPath, payload: Path | None) -> Iterator[int | None]:
    if payload is None:
        yield None
        return
    with disk.storing(shown(path)):
        descriptor = disk.create(payload / path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _write(path: RelPath, data: bytes, wanted: Wanted, payload: Path | None) -> Measured:
    if payload is not None:
        with disk.storing(shown(path)):
            disk.write_new(payload / path, data)
    return measure_bytes(path, data, wanted)


def _make_folders(payload: Path, plan: Plan) -> None:
    disk.make_folder(payload)
    paths = [*(item.path for item in plan.carried), *plan.written]
    for folder in sorted({Path(*path.split("/")[:n]) for path in paths for n in _depths(path)}):
        disk.make_folder(payload / folder)


def _depths(path: RelPath) -> range:
    return range(1, path.count("/") + 1)

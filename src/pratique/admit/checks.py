"""The checks between a verified statement and a believed bundle. Each raises, or returns what it read.

They take the signed list and measured bytes and parse nothing else than bytes whose SHA-256 is in
that list.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from pratique.admit.commit import prove_commit, prove_files
from pratique.admit.copies import check_copies
from pratique.admit.shape import read_signed, refusing
from pratique.attest.commit_proof import CommitProof
from pratique.core.bundle import (
    DOCUMENT,
    FOREIGN_PROVENANCE,
    MODEL,
    PROVENANCE,
    SUMS,
    BundleDocument,
    foreign_manifests,
    model_manifest,
    sums_of,
)
from pratique.core.foreign import FOREIGN, Pin
from pratique.core.ids import Digest, RelPath, shown
from pratique.core.manifest import Manifest
from pratique.core.policy import Policy
from pratique.core.snapshot import MAX_AHEAD
from pratique.errors import VerificationRefused
from pratique.formats.bundle import MAX_DOCUMENT_BYTES, parse_bundle_document
from pratique.store.content import differs
from pratique.store.measure import Measured, Wanted

_SEAL_AGAIN: Final = "have the bundle sealed again; its vetter signed something inconsistent"


def check_digests(found: Iterable[Measured], signed: Mapping[RelPath, Digest]) -> None:
    """Raise VerificationRefused, naming the first file whose bytes are not the signed ones."""
    for file in found:
        if signed[file.path] != file.sha256:
            raise differs(file.path)


def check_sums(root: Path, signed: Mapping[RelPath, Digest]) -> None:
    """`SHA256SUMS` must say exactly what the signature says, of every file but itself."""
    expected = sums_of((path, digest) for path, digest in signed.items() if path != SUMS)
    if read_signed(root, SUMS, signed[SUMS], len(expected)) != expected:
        raise VerificationRefused(
            "SHA256SUMS does not list what the signature covers", hint=_SEAL_AGAIN
        )


def check_document(
    root: Path, signed: Mapping[RelPath, Digest], found: Iterable[Measured], wanted: Wanted
) -> BundleDocument:
    """`bundle.json` must describe these very files: path, size, SHA-256 and chunk digests.

    That the chunk digests describe the bytes which the SHA-256 describes is what lets later loads
    rely on them.
    """
    data = read_signed(root, DOCUMENT, signed[DOCUMENT], MAX_DOCUMENT_BYTES)
    with refusing():
        document = parse_bundle_document(data)
    check_listed(document, signed)
    listed = {file.path: file for file in document.files}
    for file in found:
        if (entry := listed.get(file.path)) is None:
            continue
        fast = wanted is Wanted.BOTH and document.chunking is not None
        if (entry.size, entry.sha256) != (file.size, file.sha256):
            raise VerificationRefused(
                f"bundle.json is wrong about {shown(file.path)}", hint=_SEAL_AGAIN
            )
        if fast and entry.chunks != file.chunks:
            raise VerificationRefused(
                f"the chunk digests of {shown(file.path)} are not those of its bytes",
                hint=_SEAL_AGAIN,
            )
    check_copies(root, document, signed)
    return document


def check_taken(document: BundleDocument, now: datetime) -> None:
    """No snapshot was taken tomorrow: beside one that was, every later version counts as older."""
    if datetime.fromisoformat(document.taken_at) > now + MAX_AHEAD:
        raise VerificationRefused(
            f"{document.label} says that it was taken at {document.taken_at}, and here it is "
            f"{now:%Y-%m-%d %H:%M}Z",
            hint="set the clock of this host if it is behind; else have the model fetched and sealed "
            "again where the clock is right",
        )


def check_listed(document: BundleDocument, signed: Mapping[RelPath, Digest]) -> None:
    """`bundle.json` must list what the signature covers, with the same SHA-256."""
    listed = {file.path: file.sha256 for file in document.files}
    if listed != {p: d for p, d in signed.items() if p not in {DOCUMENT, SUMS}}:
        raise VerificationRefused(
            "bundle.json lists other files than the signature", hint=_SEAL_AGAIN
        )


def check_commit(root: Path, document: BundleDocument, policy: Policy) -> CommitProof | None:
    """Tie the model's files to the commit that the bundle names, from the git objects in it.

    Code of other repositories is tied to theirs. Returns None for a source that has no commit to prove.

    Raises VerificationRefused if the proof fails, or is absent where the policy requires it.
    """
    for pin, manifest in foreign_manifests(document).items():
        _check_foreign(root, document, pin, manifest)
    if document.commit_proof != "verified":
        if document.source.kind == "hub" and policy.fetch.commit_proof == "required":
            raise VerificationRefused(
                f"{document.label} has no commit proof, which the policy requires",
                hint="fetch it from a Hub that offers git access, or decide otherwise in the policy",
            )
        return None
    if document.source.commit is None:
        raise VerificationRefused(
            "bundle.json claims a commit proof but names no commit", hint=_SEAL_AGAIN
        )
    return prove_commit(
        root / PROVENANCE,
        _git_objects(document, PROVENANCE),
        root / MODEL,
        model_manifest(document),
        commit=document.source.commit,
        left_out=[*(a.path for a in document.absent), *(a.path for a in document.aside)],
        signing_keys=policy.fetch.commit_signing_keys,
    )


def _check_foreign(root: Path, document: BundleDocument, pin: Pin, manifest: Manifest) -> None:
    """Tie code of another repository to the commit it is pinned to. Nothing else of it need be here."""
    folder = f"{FOREIGN_PROVENANCE}/{pin.label}"
    objects = _git_objects(document, folder)
    prove_files(root / folder, objects, root / FOREIGN / pin.label, manifest, commit=pin.commit)


def _git_objects(document: BundleDocument, folder: str) -> dict[RelPath, Digest]:
    """The git objects that the bundle carries below `folder`."""
    return {
        RelPath(file.path.removeprefix(f"{folder}/")): file.sha256
        for file in document.files
        if file.path.startswith(f"{folder}/git/")
    }

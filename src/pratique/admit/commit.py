"""Tie files on disk to a commit, reading only bytes whose SHA-256 is known beforehand."""

import hashlib
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Final

from pratique.admit.shape import read_signed, refusing
from pratique.attest.commit_proof import (
    CommitProof,
    ProofObjects,
    ProvedFile,
    load_proof,
    small_files,
    verify_commit_proof,
    verify_files,
)
from pratique.core.ids import CommitSha, Digest, GitId, RelPath
from pratique.core.manifest import FileEntry, Manifest
from pratique.store import tree
from pratique.store.content import differs

_MAX_OBJECT_BYTES: Final = 64 * 2**20
_BLOCK: Final = 2**20


def prove_commit(
    provenance: Path,
    objects: Mapping[RelPath, Digest],
    model: Path,
    manifest: Manifest,
    *,
    commit: CommitSha,
    left_out: Collection[str],
    signing_keys: Iterable[str],
) -> CommitProof:
    """Show that `manifest` is what `commit` has, but for `left_out`.

    `objects` are the files below `provenance` to read, by digest; `model` is where the manifest's
    files are. SHA-1 is computed of those files only that git names by their own bytes.

    Raises VerificationRefused, also for malformed git objects.
    """
    with refusing():
        found, files = _read(provenance, objects, model, manifest)
        return verify_commit_proof(
            found, files, commit=commit, left_out=left_out, signing_keys=signing_keys
        )


def prove_files(
    provenance: Path,
    objects: Mapping[RelPath, Digest],
    model: Path,
    manifest: Manifest,
    *,
    commit: CommitSha,
) -> None:
    """Show that every file of `manifest` is one of `commit`'s, whatever else the commit has.

    Arguments and refusals as for `prove_commit`.
    """
    with refusing():
        found, files = _read(provenance, objects, model, manifest)
        verify_files(found, files, commit=commit)


def _read(
    provenance: Path, objects: Mapping[RelPath, Digest], model: Path, manifest: Manifest
) -> tuple[ProofObjects, dict[RelPath, ProvedFile]]:
    """Return the git objects, and what must be known of each file to tie it to them."""
    found = load_proof(
        {
            str(path): read_signed(provenance, path, digest, _MAX_OBJECT_BYTES)
            for path, digest in objects.items()
        }
    )
    files = {file.path: ProvedFile(file.size, file.sha256) for file in manifest}
    small = small_files(found, files)
    for file in manifest:
        if file.path in small:
            blob = _blob_id(model, file)
            files[file.path] = ProvedFile(file.size, file.sha256, blob)
    return found, files


def _blob_id(model: Path, file: FileEntry) -> GitId:
    """The git blob id of a file, from bytes that are shown to have its SHA-256."""
    # SHA-1 is git's name for the bytes; what is believed is the SHA-256 beside it.
    name = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
    content = hashlib.sha256()
    with tree.opened_folder(model) as folder, tree.opened(folder, file.path) as descriptor:
        while block := os.read(descriptor, _BLOCK):
            name.update(block)
            content.update(block)
    if content.hexdigest() != file.sha256:
        raise differs(file.path)
    return GitId(name.hexdigest())

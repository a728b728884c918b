"""The commit proof: these files are, byte for byte, those of this commit. Pure and offline.

The commit id covers its tree, each tree covers its entries, an entry's blob id covers a small file's
bytes or a large file's LFS pointer, and a pointer covers the large file's SHA-256 and size. Every id
on the way is recomputed here from the bytes carried under `provenance/git/`::

    git/commit          the commit's body
    git/trees/ID        one tree's body each
    git/blobs/ID        blobs that are no model file: `.git*` files and LFS pointers of odd spelling

A file that the commit does not have, one that differs, and one that is missing without being listed
as left out are all refused. What this does NOT show: that the repository's owner meant it, or that
SHA-1 is collision-free; the SHA-256 of every byte is what pratique signs.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pratique.attest.commit_signature import CommitSignature, check_commit_signature
from pratique.core.candidate import EntryKind
from pratique.core.ids import CommitSha, Digest, GitId, RelPath, parse_git_id, shown
from pratique.errors import FormatError, VerificationRefused
from pratique.formats.git import (
    MAX_COMMIT_BYTES,
    MAX_TREE_BYTES,
    Commit,
    GitObjects,
    LfsPointer,
    ObjectKind,
    PathEntry,
    Person,
    is_git_material,
    object_id,
    parse_lfs_pointer,
    walk_commit,
)

COMMIT_FILE: Final = "git/commit"
TREES: Final = "git/trees"
BLOBS: Final = "git/blobs"
MAX_BLOB_BYTES: Final = 1 << 20
_MAX_OBJECTS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class ProvedFile:
    """What is known of one file at rest. `git_id` may be None where the file is large (LFS)."""

    size: int
    sha256: Digest
    git_id: GitId | None = None


@dataclass(frozen=True, slots=True)
class CommitProof:
    """A commit to which `files` files were tied. Made by `verify_commit_proof` alone.

    `left_out` are the commit's paths that were not carried as model files, with their git ids.
    """

    commit: CommitSha
    author: Person
    committer: Person
    message: str
    signature: CommitSignature
    files: int
    left_out: tuple[tuple[str, GitId], ...]


@dataclass(frozen=True, slots=True)
class ProofObjects:
    """A commit with its trees and odd blobs, ids recomputed."""

    commit_id: CommitSha
    commit: Commit
    paths: tuple[PathEntry, ...]
    objects: GitObjects

    @classmethod
    def of(cls, objects: GitObjects, commit: CommitSha) -> "ProofObjects":
        """Walk from `commit`. Raises FormatError when an object is missing or malformed."""
        parsed, paths = walk_commit(objects, commit)
        return cls(commit, parsed, paths, objects)

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Yield (path below provenance/, bytes) of what must be carried to prove this again."""
        for oid, (kind, body) in self.objects.bodies.items():
            match kind:
                case "commit" if oid == GitId(self.commit_id):
                    yield COMMIT_FILE, body
                case "tree":
                    yield f"{TREES}/{oid}", body
                case "blob":
                    yield f"{BLOBS}/{oid}", body
                case _:
                    continue

    def pointer(self, entry: PathEntry) -> LfsPointer | None:
        """Return the carried pointer behind `entry`, or None when its blob is not carried."""
        have = self.objects.bodies.get(entry.id)
        return parse_lfs_pointer(have[1]) if have is not None and have[0] == "blob" else None


def load_proof(source: Path | Mapping[str, bytes]) -> ProofObjects:
    """Read what `files()` wrote: a provenance directory, or its files' bytes by relative path.

    Raises:
        FormatError: an object is malformed, missing, too large or not what its name says.
        UnreadableInput: the directory cannot be read.
    """
    found = dict(_read(source) if isinstance(source, Path) else source)
    if COMMIT_FILE not in found:
        raise FormatError("there is no commit under provenance/git")
    bodies: list[tuple[ObjectKind, bytes]] = [("commit", found[COMMIT_FILE])]
    kinds: tuple[tuple[str, ObjectKind], ...] = ((TREES, "tree"), (BLOBS, "blob"))
    for path, body in found.items():
        for folder, kind in kinds:
            if path.startswith(folder + "/"):
                if object_id(kind, body) != parse_git_id(path.removeprefix(folder + "/")):
                    raise FormatError(f"provenance/{path} is not the object it is named for")
                bodies.append((kind, body))
    commit = CommitSha(object_id("commit", found[COMMIT_FILE]))
    return ProofObjects.of(GitObjects.of(bodies), commit)


def _read(directory: Path) -> Iterator[tuple[str, bytes]]:
    yield COMMIT_FILE, _bytes(directory / COMMIT_FILE, MAX_COMMIT_BYTES)
    for folder, limit in ((TREES, MAX_TREE_BYTES), (BLOBS, MAX_BLOB_BYTES)):
        try:
            names = sorted(entry.name for entry in (directory / folder).iterdir())
        except FileNotFoundError:
            continue
        except OSError as error:
            raise FormatError(f"provenance/{folder} cannot be listed: {error.strerror}") from error
        if len(names) > _MAX_OBJECTS:
            raise FormatError(f"provenance/{folder} holds too many objects")
        for name in names:
            yield f"{folder}/{parse_git_id(name)}", _bytes(directory / folder / name, limit)


def _bytes(path: Path, limit: int) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as stream:
            body = stream.read(limit + 1)
    except OSError as error:
        raise FormatError(f"git object {path.name} cannot be read: {error.strerror}") from error
    if len(body) > limit:
        raise FormatError(f"git object {path.name} is larger than {limit} bytes")
    return body


def small_files(proof: ProofObjects, files: Mapping[RelPath, ProvedFile]) -> frozenset[RelPath]:
    """Return those of `files` whose git id must be known: no LFS pointer accounts for them.

    Lets a caller compute SHA-1 of small files only, and SHA-256 of everything.
    """
    entries = {entry.path: entry for entry in proof.paths}
    return frozenset(
        path
        for path, file in files.items()
        if path in entries and not _by_pointer(proof, entries[path], file)
    )


def verify_commit_proof(
    source: ProofObjects | Path | Mapping[str, bytes],
    files: Mapping[RelPath, ProvedFile],
    *,
    commit: CommitSha | None = None,
    left_out: Collection[str] = (),
    signing_keys: Iterable[str] = (),
) -> CommitProof:
    """Tie every one of `files` to the commit in `source`, and every path of the commit to a file.

    `commit` is the id that it must be, where the caller knows it. `left_out` names paths of the
    commit that are deliberately absent; `.git*` files may always be. `signing_keys` are the
    policy's `commit_signing_keys`.

    Raises:
        VerificationRefused: a file is not in the commit, differs from it, or is missing.
        FormatError: the git objects are malformed or incomplete.
    """
    proof = source if isinstance(source, ProofObjects) else load_proof(source)
    verify_files(proof, files, commit=proof.commit_id if commit is None else commit)
    absent = tuple((e.path, e.id) for e in proof.paths if e.path not in files)
    for missing, _ in absent:
        if missing not in left_out and not is_git_material(missing):
            raise VerificationRefused(
                f"{shown(missing)} is in commit {proof.commit_id} but not here",
                hint="a file was removed after the fetch; fetch the snapshot again",
            )
    return CommitProof(
        commit=proof.commit_id,
        author=proof.commit.author,
        committer=proof.commit.committer,
        message=proof.commit.message,
        signature=check_commit_signature(proof.commit, signing_keys),
        files=len(files),
        left_out=absent,
    )


def verify_files(
    proof: ProofObjects, files: Mapping[RelPath, ProvedFile], *, commit: CommitSha
) -> None:
    """Tie every one of `files` to the commit, which must be `commit`. Says nothing of what is missing.

    Raises VerificationRefused: another commit, a file that is not in it, or differs from it.
    """
    if proof.commit_id != commit:
        raise VerificationRefused(
            f"the git objects are of commit {proof.commit_id}, not of {commit}",
            hint="fetch the snapshot again",
        )
    entries = {entry.path: entry for entry in proof.paths}
    for path, file in files.items():
        _tie(proof, entries.get(path), path, file)


def _tie(proof: ProofObjects, entry: PathEntry | None, path: str, file: ProvedFile) -> None:
    if entry is None or entry.kind is not EntryKind.FILE:
        raise VerificationRefused(
            f"{shown(path)} is not a file of commit {proof.commit_id}",
            hint="a file was added after the fetch; fetch the snapshot again",
        )
    if not _by_pointer(proof, entry, file) and file.git_id != entry.id:
        raise VerificationRefused(
            f"{shown(path)} differs from commit {proof.commit_id}",
            hint="the bytes were changed; fetch the snapshot again",
        )


def _by_pointer(proof: ProofObjects, entry: PathEntry, file: ProvedFile) -> bool:
    """Whether the entry's blob is an LFS pointer, canonical or carried, to this very file."""
    claimed = LfsPointer(sha256=file.sha256, size=file.size)
    if claimed.blob_id == entry.id:
        return True
    try:
        return proof.pointer(entry) == claimed
    except FormatError:
        return False

"""Bytes into the store, and the proof that they are there: hashed while copied, or hashed again.

`StoredContent` is made only here. It says: in this process, every file of the tree was found to hold
exactly the bytes that its digest names, and the tree holds nothing else. It does not say who signed
those digests.
"""

import errno
import hashlib
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

import blake3

from pratique.core.bundle import CHUNK_BYTES, SealedFile
from pratique.core.ids import BundleId, Digest, RelPath, shown
from pratique.core.progress import Progress, Quiet
from pratique.core.proof import Proof, mint
from pratique.errors import FormatError, StorageError, UnreadableInput, VerificationRefused
from pratique.store import disk, tree, verity
from pratique.store.cas import OBJECT_MODE, SEALED_FOLDER_MODE, Store, owner_problem
from pratique.store.measure import (
    BLOCK_BYTES,
    LARGE_BYTES,
    Measured,
    Wanted,
    measure,
    measure_all,
    on_all_cores,
)


@final
class StoredContent(Proof):
    """A payload in the store whose every byte was hashed in this process.

    `name` is the tree's name in the store, `root` its directory; `files` say path, size, digests.
    `verity` maps digests to what fs-verity enforces for them, where the file system offers it.
    """

    __slots__ = ("bundle_id", "files", "name", "root", "verity")

    bundle_id: BundleId
    name: str
    root: Path
    files: tuple[Measured, ...]
    verity: Mapping[Digest, str]


def store_content(
    store: Store,
    payload: Path,
    expected: Mapping[RelPath, Digest],
    bundle_id: BundleId,
    *,
    wanted: Wanted,
    present: str | None = None,
    progress: Progress | None = None,
) -> StoredContent:
    """Copy the files of `payload` into the store, hashing what is written.

    `expected` names all files and their digests; listing the folder is the caller's business.
    `present` is the tree of an earlier admission, reused if it still holds these very objects.
    Call inside `store.shared()`.

    Raises:
        VerificationRefused: a file is not what its digest says. Names the file.
        StorageError: the disk is full, or reading or writing failed.
    """
    with store.scratch() as scratch, tree.opened_folder(payload) as source:
        intake = _Intake(store, scratch, source, expected, wanted, progress or Quiet())
        sizes = [(path, _size_of(source, path)) for path in expected]
        _need_room(store, scratch, {expected[path]: size for path, size in sizes})
        files = measure_all(sizes, intake.take, progress=progress, what="copying into the store")
        with disk.storing("the store"):
            name = present if present and _holds(store, present, expected) else None
            if name is None:
                name = _build_tree(store, scratch, expected, bundle_id)
    return mint(
        StoredContent,
        bundle_id=bundle_id,
        name=name,
        root=store.tree(name),
        files=tuple(files),
        verity=dict(intake.verity),
    )


def _need_room(store: Store, scratch: Path, sizes: Mapping[Digest, int]) -> None:
    """A file that somebody made huge, with holes, would fill the disk before its digest is known."""
    new = sum(size for digest, size in sizes.items() if not store.object(digest).exists())
    disk.need_room(scratch, new, "what the store lacks of the bundle")


@dataclass(frozen=True, slots=True)
class _Intake:
    """Takes one file after another into `objects/`. `take` runs in several threads."""

    _store: Store
    _scratch: Path
    _source: int
    _expected: Mapping[RelPath, Digest]
    _wanted: Wanted
    _progress: Progress
    verity: dict[Digest, str] = field(default_factory=dict)

    def take(self, path: RelPath, *, ahead: bool) -> Measured:
        """Copy while hashing; keep the copy only under the digest that was expected."""
        digest = self._expected[path]
        place = self._store.object(digest)
        if self._intact(place, digest):
            found = self._measure(path, None, ahead=ahead)
        else:
            found = self._copy(path, place, ahead=ahead)
        if enforced := verity.measured(place):
            self.verity[digest] = enforced
        return found

    def _intact(self, place: Path, digest: Digest) -> bool:
        """Whether the store has these bytes already. A damaged copy is replaced, not trusted."""
        if not place.exists():
            return False
        try:
            with (
                tree.opened_folder(place.parent) as folder,
                tree.opened(folder, RelPath(place.name)) as f,
            ):
                if owner_problem(os.fstat(f)):
                    return False
                return measure(f, RelPath(place.name), Wanted.SHA256).sha256 == digest
        except FormatError:  # a link or a folder was put in its place: replaced like other damage
            return False

    def _measure(self, path: RelPath, sink: int | None, *, ahead: bool) -> Measured:
        def write(block: memoryview) -> None:
            if sink is not None:
                with disk.storing(shown(path)):
                    disk.write_all(sink, block)

        with tree.opened(self._source, path) as descriptor:
            found = measure(
                descriptor,
                path,
                self._wanted,
                ahead=ahead,
                sink=write,
                progress=self._progress,
            )
        if found.sha256 != self._expected[path]:
            raise differs(path)
        return found

    def _copy(self, path: RelPath, place: Path, *, ahead: bool) -> Measured:
        fresh = self._scratch / secrets.token_hex(8)
        with disk.storing(shown(path)):
            descriptor = disk.create(fresh, 0o600)
        try:
            found = self._measure(path, descriptor, ahead=ahead)
        finally:
            os.close(descriptor)
        with disk.storing(shown(path)):
            fresh.chmod(OBJECT_MODE)
            verity.enable(fresh)
            place.parent.mkdir(mode=0o700, exist_ok=True)
            _put(fresh, place)
        return found


def store_bytes(store: Store, data: bytes) -> Digest:
    """Keep a few bytes under their digest, flushed to the disk; return it. For signature files."""
    digest = Digest(hashlib.sha256(data).hexdigest())
    place = store.object(digest)
    with store.scratch() as scratch, disk.storing("a signature file"):
        fresh = scratch / "bytes"
        disk.write_new(fresh, data, OBJECT_MODE)
        place.parent.mkdir(mode=0o700, exist_ok=True)
        _put(fresh, place)
        disk.flush_folder(place.parent)
    return digest


def _put(fresh: Path, place: Path) -> None:
    """Rename over whatever is there; a folder, which a file cannot replace, is removed first."""
    if place.is_dir() and not place.is_symlink():
        disk.remove_tree(place)
    fresh.rename(place)


def differs(path: str) -> VerificationRefused:
    """The refusal of a file whose bytes are not the signed ones."""
    return VerificationRefused(
        f"{shown(path, 200)} is not the file that was signed: its bytes differ",
        hint="the bundle was changed or damaged on the way: carry it again from the sealed original",
    )


def _size_of(source: int, path: RelPath) -> int:
    with tree.opened(source, path) as descriptor:
        return os.fstat(descriptor).st_size


def _holds(store: Store, name: str, expected: Mapping[RelPath, Digest]) -> bool:
    """Whether the tree `name` is exactly these objects, by inode."""
    root = store.tree(name)
    try:
        if not root.is_dir() or tree.walk(root).files != tuple(sorted(expected, key=str.encode)):
            return False
    except (FormatError, UnreadableInput):  # links and other things that were put there
        return False
    return all(
        (root / path).lstat().st_ino == store.object(digest).lstat().st_ino
        for path, digest in expected.items()
    )


def _build_tree(
    store: Store, scratch: Path, expected: Mapping[RelPath, Digest], bundle_id: BundleId
) -> str:
    """Make the tree of links under a new name: flushed, read-only, then renamed into place."""
    fresh = scratch / "tree"
    disk.make_folder(fresh, 0o700)
    folders = {
        Path(*path.split("/")[:depth]) for path in expected for depth in range(path.count("/") + 1)
    }
    for folder in sorted(folders - {Path()}):
        disk.make_folder(fresh / folder, 0o700)
    for path, digest in expected.items():
        _link(store.object(digest), fresh / path)
    for folder in sorted(folders - {Path()}, reverse=True):
        (fresh / folder).chmod(SEALED_FOLDER_MODE)
    disk.flush_filesystem(fresh)
    name = f"{bundle_id}-{secrets.token_hex(4)}"
    fresh.rename(store.tree(name))
    # Only now: a folder that its owner cannot write to cannot be moved to another folder.
    store.tree(name).chmod(SEALED_FOLDER_MODE)
    disk.flush_folder(store.root / "trees")
    return name


def _link(source: Path, target: Path) -> None:
    """Hard-link, or copy where a file has all the links its file system can count (EMLINK)."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno != errno.EMLINK:
            raise
        disk.write_new(target, source.read_bytes(), OBJECT_MODE)


# --- looking again --------------------------------------------------------------------------------


def recheck_content(
    store: Store,
    name: str,
    files: Sequence[SealedFile],
    known: Mapping[RelPath, Digest],
    bundle_id: BundleId,
    *,
    wanted: Wanted,
    progress: Progress | None = None,
) -> StoredContent:
    """Hash a stored tree again: by signed chunk digests on all cores, or by SHA-256.

    `files` are the signed list's entries; `known` the files beside it that have no entry there
    (`bundle.json`, `SHA256SUMS`), by digest. The chunk digests count only because admission has
    checked that they describe the bytes that the SHA-256 describes.

    Raises VerificationRefused naming the file that differs, is missing, extra or writable.
    """
    root = store.tree(name)
    listed = tuple(sorted((*known, *(f.path for f in files)), key=str.encode))
    refuse_other_files(tree.walk(root).files, listed)
    with tree.opened_folder(root) as folder:
        _check_modes(folder, listed)
        (progress or Quiet()).begin("checking stored bytes", sum(f.size for f in files))
        jobs: list[_Job] = [(file, at) for file in files for at in _chunks_of(file, wanted)]
        jobs.sort(key=lambda job: -job[0].size)
        on_all_cores(_batches(jobs), lambda batch: _recheck_batch(folder, batch, progress))
        found = [Measured(f.path, f.size, f.sha256, f.chunks) for f in files]
        found += [_recheck_known(folder, path, digest) for path, digest in known.items()]
    return mint(
        StoredContent,
        bundle_id=bundle_id,
        name=name,
        root=root,
        files=tuple(sorted(found, key=lambda m: m.path.encode())),
        verity={},
    )


_WHOLE: Final = -1
_Job = tuple[SealedFile, int]


def _chunks_of(file: SealedFile, wanted: Wanted) -> range:
    """The chunks to check, or _WHOLE where SHA-256 of the whole file is to be used."""
    if wanted is Wanted.SHA256 or not file.chunks:
        return range(_WHOLE, _WHOLE + 1)
    return range(len(file.chunks))


def _batches(jobs: list[_Job]) -> list[list[_Job]]:
    large = [job for job in jobs if job[0].size >= LARGE_BYTES]
    small = [job for job in jobs if job[0].size < LARGE_BYTES]
    return [[job] for job in large] + [small[at : at + 128] for at in range(0, len(small), 128)]


def _recheck_batch(folder: int, batch: list[_Job], progress: Progress | None) -> list[None]:
    for file, at in batch:
        _recheck(folder, file, at, progress)
    return []


def _recheck(folder: int, file: SealedFile, at: int, progress: Progress | None) -> None:
    with tree.opened(folder, file.path) as descriptor:
        if os.fstat(descriptor).st_size != file.size:
            raise differs(file.path)
        if at == _WHOLE:
            if (
                measure(descriptor, file.path, Wanted.SHA256, progress=progress).sha256
                != file.sha256
            ):
                raise differs(file.path)
        elif _chunk_digest(descriptor, file, at, progress) != file.chunks[at]:
            raise differs(file.path)


def _chunk_digest(descriptor: int, file: SealedFile, at: int, progress: Progress | None) -> str:
    hasher = blake3.blake3()
    offset, end = at * CHUNK_BYTES, min((at + 1) * CHUNK_BYTES, file.size)
    buffer = memoryview(bytearray(min(BLOCK_BYTES, end - offset)))
    while offset < end:
        try:
            count = os.preadv(descriptor, [buffer[: end - offset]], offset)
        except OSError as error:
            raise StorageError(f"{shown(file.path)} cannot be read: {error.strerror}") from error
        if count == 0:
            raise differs(file.path)
        hasher.update(buffer[:count])
        offset += count
        if progress is not None:
            progress.advance(count)
    return hasher.hexdigest()


def _recheck_known(folder: int, path: RelPath, digest: Digest) -> Measured:
    with tree.opened(folder, path) as descriptor:
        found = measure(descriptor, path, Wanted.SHA256)
    if found.sha256 != digest:
        raise differs(path)
    return found


def _check_modes(folder: int, paths: Sequence[RelPath]) -> None:
    for path in paths:
        with tree.opened(folder, path) as descriptor:
            found = os.fstat(descriptor)
        if owner_problem(found) or found.st_mode & 0o222:
            raise VerificationRefused(
                f"{shown(path, 200)} in the store is writable or belongs to somebody else",
                hint="run `pratique fsck`, then admit the bundle again",
            )


def refuse_other_files(found: Sequence[RelPath], listed: Sequence[RelPath]) -> None:
    """Raise VerificationRefused unless exactly the listed files are there. Names the first other."""
    there, wanted = set(found), set(listed)
    for path in sorted(wanted - there):
        raise VerificationRefused(
            f"{shown(path, 200)} is missing: it was signed but is not there",
            hint="carry the whole bundle again",
        )
    for path in sorted(there - wanted):
        raise VerificationRefused(
            f"{shown(path, 200)} is not covered by the signature",
            hint="somebody added or renamed a file: carry the bundle again from the sealed original",
        )

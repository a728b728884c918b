"""Quarantine: where untrusted snapshots are built and read.

A snapshot is made under another name and renamed once: a directory that bears a snapshot's name is
whole. Reading one hashes every file and compares; nothing is taken from `snapshot.json` on its word.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from pratique.core.bundle import source_problem
from pratique.core.foreign import FOREIGN, MAX_FOREIGN, Pin, parse_label
from pratique.core.ids import (
    CommitSha,
    Digest,
    RelPath,
    RepoId,
    parse_alias,
    parse_commit,
    parse_digest,
    parse_relpath,
    parse_repo_id,
    shown,
)
from pratique.core.manifest import FileEntry, Manifest
from pratique.core.snapshot import ForeignCode, Proof, Snapshot, SnapshotDocument, Source
from pratique.errors import FormatError, StorageError, UnreadableInput, VerificationRefused
from pratique.formats import json_strict
from pratique.store import tree

MODEL: Final = "model"
PROVENANCE: Final = "provenance"
DOCUMENT: Final = "snapshot.json"
_WORK: Final = ".pratique-fetch"
_BLOCK: Final = 1 << 20
_DOCUMENT_LIMITS: Final = json_strict.Limits(size=512 << 20, items=20_000_000)


def quarantine_dir(home: Path) -> Path:
    """Where snapshots live below a home."""
    return home / "quarantine"


def snapshot_dir_name(repo: RepoId, commit: CommitSha) -> str:
    """ORG--NAME@SHA."""
    return Pin(repo, commit).label


def hash_tree(directory: Path, *, tick: Callable[[int], None] | None = None) -> Manifest:
    """Hash every file below `directory` and return its manifest.

    Guarantees that all are regular files under portable, non-colliding names, reached without
    following a link. Several files at a time. `tick` is told how many bytes were read, from threads.

    Raises:
        FormatError: a link, special file or bad name.
        UnreadableInput: something cannot be read.
    """
    paths = tree.walk(directory).files
    with (
        tree.opened_folder(directory) as root,
        ThreadPoolExecutor(max_workers=max(2, min(8, os.cpu_count() or 2))) as pool,
    ):
        return Manifest.of(pool.map(lambda path: _hash_file(root, path, tick), paths))


def _hash_file(root: int, path: RelPath, tick: Callable[[int], None] | None) -> FileEntry:
    digest = hashlib.sha256()
    size = 0
    with tree.opened(root, path) as handle:
        before = os.fstat(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        buffer = bytearray(min(_BLOCK, max(before.st_size, 1)))
        view = memoryview(buffer)
        while count := os.readv(handle, [buffer]):
            digest.update(view[:count])
            size += count
            if tick is not None:
                tick(count)
    if size != before.st_size:
        raise UnreadableInput(
            f"{shown(path)} changed while it was read", hint="let nothing write to it, and repeat"
        )
    return FileEntry(path=path, size=size, sha256=Digest(digest.hexdigest()))


def open_snapshot(
    path: Path,
    *,
    now: datetime | None = None,
    hashed: Callable[[Path], Manifest] = hash_tree,
) -> Snapshot:
    """Read a snapshot directory, or a bare model directory, and hash all of it.

    Guarantees that the manifest is of the bytes on disk. For a snapshot, that they are those that
    fetch recorded. Does NOT check the commit proof again (`attest.commit_proof` does). A bare
    directory becomes a local source taken at `now`. `hashed` says what the files below a folder are;
    who gives another than `hash_tree` has hashed them.

    Raises:
        UnreadableInput: the directory cannot be read, or is malformed (FormatError).
        VerificationRefused: a file differs from what was recorded, is missing, or is new.
    """
    directory = path.resolve()  # the one link that is followed: the path that the user named
    if not directory.is_dir():
        raise UnreadableInput(f"{shown(str(path), 200)} is not a directory", hint="check the path")
    if is_snapshot(directory):
        return _recorded(directory, hashed)
    return Snapshot(
        name=directory_name(directory),
        source=Source(kind="local", requested=str(directory)),
        manifest=hashed(directory),
        proof=Proof.NOT_APPLICABLE,
        taken_at=now or datetime.now(UTC).replace(microsecond=0),
        model_dir=directory,
        provenance_dir=None,
    )


def directory_name(directory: Path) -> str:
    """What a model that lies there is called. Raises FormatError if that is no name."""
    try:
        return parse_alias(directory.name)
    except FormatError as error:
        raise FormatError(
            error.message,
            hint="a model is called like its directory: rename it, with letters, digits, '.', '_', '-'",
        ) from error


def recorded_snapshot(directory: Path, document: SnapshotDocument) -> Snapshot:
    """The snapshot that `document` records, whose writer has just hashed every byte itself.

    Does NOT look at the model's files: whoever did not write them calls `open_snapshot`.
    """
    return _snapshot(directory, document, _manifest(document), foreign_code(directory))


def is_snapshot(directory: Path) -> bool:
    """Whether this is laid out as `fetch` does it; else it is a bare model directory."""
    return (directory / DOCUMENT).exists() and (directory / MODEL).is_dir()


def _recorded(directory: Path, hashed: Callable[[Path], Manifest]) -> Snapshot:
    document, manifest = _as_recorded(directory, hashed)
    return _snapshot(directory, document, manifest, foreign_code(directory))


def _as_recorded(
    directory: Path, hashed: Callable[[Path], Manifest]
) -> tuple[SnapshotDocument, Manifest]:
    document = _parse_document(read_recorded(directory))
    recorded = _manifest(document)
    manifest = hashed(directory / MODEL)
    _compare(recorded, manifest)
    return document, manifest


def foreign_folders(folder: Path) -> tuple[tuple[Pin, Path], ...]:
    """The folders below `folder` (which need not be there), by the pins that they are named for.

    Looks at names only. Raises FormatError for a name that is none, a link, and too many.
    """
    if not folder.is_dir():
        return ()
    entries = sorted(folder.iterdir())
    if len(entries) > MAX_FOREIGN:
        raise FormatError(f"{folder.name}/ holds more than {MAX_FOREIGN} repositories")
    for entry in entries:
        if entry.is_symlink() or not entry.is_dir():
            raise FormatError(f"{shown(entry.name)} is not the folder of a pinned repository")
    return tuple((parse_label(entry.name), entry) for entry in entries)


def foreign_code(directory: Path) -> tuple[ForeignCode, ...]:
    """Read and hash what a snapshot brings of other repositories.

    Guarantees that each is what was recorded of the commit that its folder is named for.
    """
    return tuple(
        _foreign(pin, folder) for pin, folder in foreign_folders(directory / PROVENANCE / FOREIGN)
    )


def _foreign(pin: Pin, folder: Path) -> ForeignCode:
    document, manifest = _as_recorded(folder, hash_tree)
    recorded = (document.kind, document.repo, document.commit, document.proof)
    if recorded != ("hub", pin.repo, pin.commit, Proof.VERIFIED):
        raise FormatError(f"{shown(folder.name)} is not a proved commit of that repository")
    if (folder / PROVENANCE / FOREIGN).exists():
        raise FormatError(f"{shown(folder.name)} brings code of yet another repository")
    return ForeignCode(pin, manifest, folder)


def _snapshot(
    directory: Path,
    document: SnapshotDocument,
    manifest: Manifest,
    foreign: tuple[ForeignCode, ...],
) -> Snapshot:
    if problem := source_problem(document, document.proof):
        raise FormatError(f"{DOCUMENT} {problem}", hint="fetch the snapshot again")
    return Snapshot(
        name=parse_alias(document.name),
        source=Source(
            kind=document.kind,
            requested=document.requested,
            repo=parse_repo_id(document.repo) if document.repo is not None else None,
            commit=parse_commit(document.commit) if document.commit is not None else None,
            endpoint=document.endpoint,
        ),
        manifest=manifest,
        proof=Proof(document.proof),
        taken_at=_time(document.taken_at),
        model_dir=directory / MODEL,
        provenance_dir=directory / PROVENANCE,
        foreign=foreign,
    )


def read_document(directory: Path) -> SnapshotDocument:
    """Read `snapshot.json` strictly. Raises FormatError, UnreadableInput."""
    return _parse_document(_document_bytes(directory))


def read_recorded(directory: Path) -> bytes:
    """The bytes of `snapshot.json`, of a snapshot that holds nothing which does not belong there.

    Raises FormatError, UnreadableInput.
    """
    extra = sorted({entry.name for entry in directory.iterdir()} - {DOCUMENT, MODEL, PROVENANCE})
    if extra:
        raise FormatError(
            f"{shown(extra[0])} does not belong into a snapshot",
            hint="a snapshot holds snapshot.json, model/ and provenance/ and nothing else",
        )
    return _document_bytes(directory)


def _document_bytes(directory: Path) -> bytes:
    with (
        tree.opened_folder(directory) as root,
        tree.opened(root, RelPath(DOCUMENT)) as handle,
        os.fdopen(os.dup(handle), "rb") as stream,
    ):
        return stream.read(_DOCUMENT_LIMITS.size + 1)


def _parse_document(raw: bytes) -> SnapshotDocument:
    value = json_strict.parse_object(raw, _DOCUMENT_LIMITS)
    if value.get("schema") != "pratique.snapshot/v1":
        raise FormatError(
            f"{DOCUMENT} is of another version: {shown(str(value.get('schema')))}",
            hint="use the pratique that wrote it, or a newer one",
        )
    try:
        # Validated from the bytes, once json_strict has shown that they have one meaning only.
        return SnapshotDocument.model_validate_json(raw)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise FormatError(f"{DOCUMENT} is malformed at {shown(where)}") from error


def _manifest(document: SnapshotDocument) -> Manifest:
    return Manifest.of(
        FileEntry(parse_relpath(f.path), f.size, parse_digest(f.sha256)) for f in document.files
    )


def _compare(recorded: Manifest, found: Manifest) -> None:
    before = {entry.path: entry for entry in recorded}
    after = {entry.path: entry for entry in found}
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path):
            what = (
                "is missing" if path not in after else "is new" if path not in before else "changed"
            )
            raise VerificationRefused(
                f"{shown(path)} {what} since the snapshot was taken",
                hint="remove the snapshot and fetch it again; a snapshot is never edited",
            )


def _time(text: str) -> datetime:
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise FormatError(f"{DOCUMENT} has a malformed time: {shown(text)}") from error
    if when.tzinfo is None:
        raise FormatError(f"{DOCUMENT} has a time without a zone")
    if not 1970 <= when.year < 9999:  # no clock said so, and not every zone could write it
        raise FormatError(f"{DOCUMENT} has a time that cannot be: {shown(text)}")
    return when


@dataclass(frozen=True, slots=True)
class Workspace:
    """A snapshot in the making: `root` is kept after a failure, so that a fetch can go on.

    Only the holder of the lock writes there. `finish` gives it its final name in one rename.
    """

    root: Path
    final: Path

    @property
    def model(self) -> Path:
        """Verified files, under their own paths."""
        return self.root / "snapshot" / MODEL

    @property
    def provenance(self) -> Path:
        """The record, the server's answers, git objects."""
        return self.root / "snapshot" / PROVENANCE

    @property
    def parts(self) -> Path:
        """Downloads that are not whole yet, named by the digest they must end with."""
        return self.root / "parts"

    @property
    def heads(self) -> Path:
        """First bytes of files that are not here yet, under their own paths."""
        return self.root / "heads"

    def write(self, relative: str, data: bytes) -> None:
        """Write one of our own small files below the snapshot, whole or not at all."""
        target = self.root / "snapshot" / relative
        with _storing(relative):
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(target.name + ".new")
            temporary.write_bytes(data)
            temporary.replace(target)

    def finish(self, document: SnapshotDocument) -> Path:
        """Write `snapshot.json`, make everything durable, rename. Returns the final directory.

        The model's files are for whoever wrote them to make durable, as they come.
        """
        self.write(DOCUMENT, document_bytes(document))
        built = self.root / "snapshot"
        with _storing(str(self.final)):
            _sync(built, files_of=built / PROVENANCE)
            _sync_one(built / DOCUMENT)
            built.rename(self.final)
            _sync_one(self.final.parent)
        shutil.rmtree(self.root, ignore_errors=True)
        return self.final

    def discard(self) -> None:
        """Forget everything that was downloaded."""
        shutil.rmtree(self.root, ignore_errors=True)


def document_bytes(document: SnapshotDocument) -> bytes:
    """`snapshot.json` as it is written: sorted keys, one form."""
    value = document.model_dump(by_alias=True, mode="json")
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True) + "\n").encode()


@contextlib.contextmanager
def workspace(final: Path) -> Iterator[Workspace]:
    """Hold the work directory for a snapshot that will be called `final`.

    An existing one is taken up again. Raises StorageError when another process holds it.
    """
    root = final.parent / _WORK / final.name
    with _storing(str(root)):
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StorageError(
                f"another process is fetching into {root}",
                hint="wait for it to end, or give another --into",
            ) from error
        space = Workspace(root=root, final=final)
        with _storing(str(root)):
            for folder in (space.model, space.provenance, space.parts, space.heads):
                folder.mkdir(parents=True, exist_ok=True)
        yield space
    finally:
        os.close(lock)
        # Only when nothing else is being fetched beside it.
        with contextlib.suppress(OSError):
            root.parent.rmdir()


def _sync(directory: Path, *, files_of: Path) -> None:
    """Make all folders durable, and the files below `files_of`."""
    for folder, _, names in os.walk(directory, topdown=False):
        for name in names if Path(folder).is_relative_to(files_of) else ():
            _sync_one(Path(folder) / name)
        _sync_one(Path(folder))


def _sync_one(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _storing(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{shown(what, 200)} cannot be written: {error.strerror}",
            hint="free some space or choose another place; what was downloaded is kept",
        ) from error

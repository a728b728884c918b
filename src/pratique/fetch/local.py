"""A directory or an HF cache as a source: copied into quarantine while being hashed, pinned by manifest.

The rules: a directory may hold regular files only. A cache's links may lead only to blobs of the same
cache, and a blob whose name is a digest must have it. What is copied is what was hashed.
"""

import contextlib
import dataclasses
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pratique.attest.commit_proof import ProvedFile, verify_commit_proof
from pratique.core.candidate import Candidate, Gate, Listed
from pratique.core.findings import Verdict, VerdictState
from pratique.core.ids import (
    CommitSha,
    Digest,
    GitId,
    RelPath,
    RepoId,
    parse_alias,
    parse_commit,
    parse_relpath,
    parse_repo_id,
    shown,
)
from pratique.core.manifest import FileEntry, Manifest
from pratique.core.policy import Policy
from pratique.core.progress import Progress, Quiet
from pratique.core.snapshot import Proof, Snapshot
from pratique.core.stages import Stage
from pratique.errors import FetchError, FormatError, StorageError, UnreadableInput
from pratique.fetch import plan
from pratique.fetch.gating import gate_answer
from pratique.fetch.listing import with_folders
from pratique.fetch.pinning import HubRequest, Pinned, pin
from pratique.fetch.record import LocalRecord, write_local_record
from pratique.fetch.session import HubSession
from pratique.formats.git import blob_hasher, is_git_material
from pratique.store import tree
from pratique.store.quarantine import (
    Workspace,
    directory_name,
    open_snapshot,
    quarantine_dir,
    recorded_snapshot,
    workspace,
)

_BLOCK: Final = 1 << 20
_CACHE_REPO: Final = re.compile(r"models--(.+)\Z")
_BLOB_NAME: Final = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")
_SHARED: Final = "blobs"


@dataclass(frozen=True, slots=True)
class LocalSource:
    """Where the bytes are: `open` gives a descriptor of a regular file, `digests` what it must be."""

    kind: str
    requested: str
    name: str
    sizes: Mapping[RelPath, int]
    opener: Callable[[RelPath], "contextlib.AbstractContextManager[int]"]
    digests: Mapping[RelPath, str] = field(default_factory=dict)
    repo: RepoId | None = None
    commit: CommitSha | None = None


@contextlib.contextmanager
def directory_source(path: Path, name: str | None = None) -> Iterator[LocalSource]:
    """A plain directory, called `name` or by its own name. Raises UnreadableInput, FormatError for links and special files."""
    directory = path.resolve()  # the one link that is followed: the path that the user named
    if not directory.is_dir():
        raise UnreadableInput(f"{shown(str(path), 200)} is not a directory", hint="check the path")
    listing = tree.walk(directory)
    with tree.opened_folder(directory) as root:
        sizes: dict[RelPath, int] = {}
        for file in listing.files:
            with tree.opened(root, file) as handle:
                sizes[file] = os.fstat(handle).st_size
        yield LocalSource(
            kind="local",
            requested=_as_text(path.absolute()),
            name=directory_name(directory) if name is None else parse_alias(name),
            sizes=sizes,
            opener=lambda file: tree.opened(root, file),
        )


def _as_text(path: Path) -> str:
    """A path for people to read, as a document can hold it: bytes that are no UTF-8 are escaped."""
    return os.fsencode(path).decode(errors="backslashreplace")


def is_cache_snapshot(path: Path) -> bool:
    """Whether `path` looks like `models--ORG--NAME/snapshots/SHA` of a Hugging Face cache."""
    parts = path.absolute().parts
    return len(parts) > 3 and parts[-2] == "snapshots" and bool(_CACHE_REPO.match(parts[-3]))


@contextlib.contextmanager
def cache_source(path: Path) -> Iterator[LocalSource]:
    """One snapshot of a Hugging Face cache.

    Raises FormatError when a link leads out of the cache's blobs, UnreadableInput when it is broken.
    """
    directory = path.absolute()
    match = _CACHE_REPO.match(directory.parent.parent.name)
    if match is None or not directory.is_dir():
        raise UnreadableInput(
            f"{shown(str(path), 200)} is no cache snapshot", hint="check the path"
        )
    repo = parse_repo_id(match[1].replace("--", "/", 1))
    commit = parse_commit(directory.name)
    _refuse_linked(directory)
    found = _cache_files(directory)

    @contextlib.contextmanager
    def opener(file: RelPath) -> Iterator[int]:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            handle = os.open(found[file], flags)
        except OSError as error:
            raise UnreadableInput(
                f"{shown(file)} in the cache cannot be read: {error.strerror}",
                hint="let nothing write to the cache, and repeat",
            ) from error
        try:
            yield handle
        finally:
            os.close(handle)

    yield LocalSource(
        kind="hf-cache",
        requested=_as_text(directory),
        name=repo.rsplit("/", 1)[-1],
        sizes={file: real.stat().st_size for file, real in found.items()},
        opener=opener,
        digests={
            file: real.name
            for file, real in found.items()
            if (directory / file).is_symlink() and _BLOB_NAME.match(real.name)
        },
        repo=repo,
        commit=commit,
    )


def _refuse_linked(directory: Path) -> None:
    """The folders that say what is inside the cache must be in it themselves."""
    repo = directory.parent.parent
    for folder in (directory, directory.parent, repo / "blobs", repo.parent / _SHARED):
        if folder.is_symlink():
            raise FormatError(
                f"{shown(folder.name)} in the cache is a link to a folder",
                hint="a cache that links elsewhere was tampered with, or copied wrongly",
            )


def _cache_files(directory: Path) -> dict[RelPath, Path]:
    blobs = (directory.parent.parent / "blobs").resolve()
    shared = (directory.parent.parent.parent / _SHARED).resolve()
    found: dict[RelPath, Path] = {}
    for folder, folders, names in os.walk(directory):
        for name in folders:
            if (Path(folder) / name).is_symlink():
                raise FormatError(f"{shown(name)} in the cache is a link to a folder")
        for name in names:
            entry = Path(folder) / name
            path = parse_relpath(entry.relative_to(directory).as_posix())
            found[path] = _blob(entry, path, (blobs, shared))
    return found


def _blob(entry: Path, path: RelPath, allowed: tuple[Path, ...]) -> Path:
    try:
        real = entry.resolve(strict=True)
        mode = real.stat(follow_symlinks=False).st_mode
    except (OSError, RuntimeError) as error:
        raise UnreadableInput(
            f"{shown(path)} in the cache leads nowhere", hint="download the repository again"
        ) from error
    if not stat.S_ISREG(mode):
        raise FormatError(f"{shown(path)} in the cache is not a regular file")
    if entry.is_symlink() and not any(real.is_relative_to(folder) for folder in allowed):
        raise FormatError(
            f"{shown(path)} in the cache leads to {shown(str(real), 200)}, outside its blobs",
            hint="a cache that links elsewhere was tampered with, or copied wrongly",
        )
    return real


@dataclass(frozen=True, slots=True)
class LocalFetch:
    """One fetch from this machine. `session`, where given, is asked for the commit proof."""

    home: Path
    policy: Policy
    gate: Gate
    progress: Progress = field(default_factory=Quiet)
    into: Path | None = None
    session: HubSession | None = None
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def run(self, source: LocalSource) -> Snapshot:
        """Copy `source` into quarantine. The result is pinned by manifest.

        Raises:
            GateRefused, GateWantsApproval: the gate's answer.
            FetchError: a commit proof was asked for and the files are not of that commit.
            UnreadableInput, StorageError: the source, the disk.
        """
        selected = plan.selector(self.only, self.without)
        wanted = {
            path: size
            for path, size in source.sizes.items()
            if selected(path) and not is_git_material(path)
        }
        if not wanted:
            raise UnreadableInput(
                f"{shown(source.requested, 200)} has no file that is wanted",
                hint="check the path, --only and --without",
            )
        if source.kind == "local" and self.session is not None:
            raise FetchError(
                "a directory does not say which commit it is, so no server can be asked",
                hint="leave out --endpoint, or fetch ORG/NAME from it",
            )
        parent = (
            self.into.absolute() if self.into else quarantine_dir(self.home) / f"{source.name}@new"
        )
        if self.into is not None and parent.exists() and any(parent.iterdir()):
            raise UnreadableInput(f"{parent} exists and is not empty", hint="give another --into")
        with workspace(parent) as space:
            try:
                return self._take(source, wanted, space)
            finally:
                space.discard()

    def _take(
        self, source: LocalSource, wanted: Mapping[RelPath, int], space: Workspace
    ) -> Snapshot:
        listing = with_folders(Listed(path, size) for path, size in sorted(wanted.items()))
        verdicts = [(Stage.LISTING, self._judge(source, space, Stage.LISTING, listing))]
        self.progress.begin("copying", sum(wanted.values()))
        with ThreadPoolExecutor(max_workers=4) as pool:
            copies = dict(
                pool.map(lambda path: (path, self._copy(source, path, space)), sorted(wanted))
            )
        manifest = Manifest.of(FileEntry(p, c.size, c.sha256) for p, c in copies.items())
        judged = self._judge(source, space, Stage.CONTENT, listing, measured=manifest)
        verdicts.append((Stage.CONTENT, judged))
        pinned = self._prove(source, copies)
        record = LocalRecord(
            kind="hf-cache" if source.kind == "hf-cache" else "local",
            requested=source.requested,
            name=source.name,
            repo=source.repo,
            commit=source.commit,
            endpoint=self.session.endpoint.base if self.session is not None else None,
            proof=Proof.VERIFIED if pinned is not None else Proof.NOT_APPLICABLE,
            policy=self.policy,
            verdicts=tuple(verdicts),
            taken_at=datetime.now(UTC).replace(microsecond=0),
        )
        git_ids = {path: copy.git_id for path, copy in copies.items()}
        left_out = {p: s for p, s in source.sizes.items() if p not in wanted}
        document = write_local_record(
            space, record, manifest=manifest, git_ids=git_ids, left_out=left_out, pinned=pinned
        )
        final = self._final(source, manifest)
        if final.exists() and any(final.iterdir()):
            return open_snapshot(final)
        finished = dataclasses.replace(space, final=final).finish(document)
        return recorded_snapshot(finished, document)

    def _final(self, source: LocalSource, manifest: Manifest) -> Path:
        if self.into is not None:
            return self.into.absolute()
        return quarantine_dir(self.home) / f"{source.name}@{manifest.digest}"

    def _judge(
        self,
        source: LocalSource,
        space: Workspace,
        stage: Stage,
        listing: tuple[Listed, ...],
        *,
        measured: Manifest | None = None,
    ) -> Verdict:
        candidate = Candidate(
            name=source.name,
            root=space.model,
            repo=source.repo,
            commit=source.commit,
            listing=listing,
            measured=measured,
        )
        self.progress.begin("vetting", None)
        verdict = self.gate.judge(candidate, stage)
        if verdict.state is not VerdictState.PASSED:
            raise gate_answer(verdict, stage, Path(source.requested))
        return verdict

    def _copy(self, source: LocalSource, path: RelPath, space: Workspace) -> ProvedFile:
        target = space.model / path
        sha256, blob = hashlib.sha256(), blob_hasher(source.sizes[path])
        size = 0
        with source.opener(path) as handle, _writing(target) as out:
            while block := os.read(handle, _BLOCK):
                sha256.update(block)
                blob.update(block)
                out.write(block)
                size += len(block)
                self.progress.advance(len(block))
        if size != source.sizes[path]:
            raise UnreadableInput(
                f"{shown(path)} changed while it was copied", hint="let nothing write to it"
            )
        copy = ProvedFile(size, Digest(sha256.hexdigest()), GitId(blob.hexdigest()))
        expected = source.digests.get(path)
        if expected is not None and expected not in {copy.sha256, copy.git_id}:
            raise UnreadableInput(
                f"{shown(path)} in the cache is damaged: its blob does not have the digest it is "
                "named for",
                hint="download the repository again",
            )
        return copy

    def _prove(self, source: LocalSource, copies: Mapping[RelPath, ProvedFile]) -> Pinned | None:
        """Ask the server for the commit proof, where there is one to ask."""
        if self.session is None or source.repo is None or source.commit is None:
            return None
        request = HubRequest(source.repo, source.commit)
        pinned = pin(self.session, request, self.policy)
        if pinned.proof is None:
            return None
        verify_commit_proof(
            pinned.proof,
            copies,
            commit=source.commit,
            left_out=[item.path for item in pinned.items if item.path not in copies],
            signing_keys=self.policy.fetch.commit_signing_keys,
        )
        return pinned


@contextlib.contextmanager
def _writing(target: Path) -> "Iterator[_Writer]":
    writer: _Writer | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        writer = _Writer(target)
        yield writer
    finally:
        if writer is not None:
            writer.close()


class _Writer:
    """A new file; failures to write are the disk's, not the source's."""

    def __init__(self, target: Path) -> None:
        self._name = target.name
        self._handle = os.open(
            target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )

    def write(self, block: bytes) -> None:
        left = memoryview(block)
        try:
            while left:
                left = left[os.write(self._handle, left) :]
        except OSError as error:
            raise StorageError(
                f"{shown(self._name)} cannot be written: {error.strerror}",
                hint="free some space, or choose another home",
            ) from error

    def close(self) -> None:
        try:
            os.fsync(self._handle)
        finally:
            os.close(self._handle)

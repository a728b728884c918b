"""The one view of a repository that checks have: bounded reads, each document parsed once.

Every read is of a regular file reached without following links, is bounded, and is remembered: a
file that changes while it is being looked at is refused (`Repo.changed`).
"""

import hashlib
import mmap
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BufferedReader
from typing import Final, TypeVar, cast

from pratique.core.candidate import Candidate, EntryKind
from pratique.core.foreign import ForeignRoot
from pratique.core.ids import Digest, shown
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.formats import json_strict
from pratique.formats.gguf import MAX_HEADER as GGUF_MAX_HEADER
from pratique.formats.gguf import GgufHeader
from pratique.formats.gguf import parse_header as parse_gguf
from pratique.formats.json_strict import Json, JsonObject
from pratique.formats.safetensors import (
    LENGTH_BYTES,
    SafetensorsHeader,
    header_length,
    parse_header,
)
from pratique.vet.roles import Role, role_of
from pratique.vet.walk import Stamp, open_regular, stamp_of, walk

MIB: Final = 2**20
HEAD: Final = 64 * 1024
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in the repository. `path` is foreign text (may hold lone surrogates).

    `claimed` is the SHA-256 that the listing claims, or None.
    """

    path: str
    size: int
    kind: EntryKind
    role: Role
    executable: bool = False
    claimed: str | None = None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def folder(self) -> str:
        """All before the last slash; empty at the top."""
        return self.path.rpartition("/")[0]


class NotHere(FormatError):
    """The file's bytes are not on this side yet, or could not be read."""


def _alone(code: ForeignRoot) -> Candidate:
    pin = code.pin
    return Candidate(pin.repo.rsplit("/", 1)[-1], code.root, pin.repo, pin.commit)


class Repo:
    """A candidate at a stage. `foreign` is the code of other repositories that it brings, by repository.

    Raises FormatError from its readers for what is malformed, too large or not here; results and
    failures are both cached, so no document is parsed twice.
    """

    def __init__(
        self, candidate: Candidate, stage: Stage, note: Callable[[str], None] = lambda _: None
    ) -> None:
        self.candidate = candidate
        self.stage = stage
        self.reading = ""
        self._note = note
        self._noting = threading.Lock()
        self.problems: list[tuple[str, str]] = []
        self._stamps: dict[str, Stamp] = {}
        self._digests: dict[str, Digest] = {}
        self._cache: dict[tuple[str, str], object] = {}
        found = dict(self._walked())
        self.entries: tuple[Entry, ...] = self._listed(found)
        self._by_path = {entry.path: entry for entry in self.entries}
        if candidate.measured is not None:
            self._digests = {file.path: file.sha256 for file in candidate.measured}
        self.foreign: dict[str, Repo] = {
            one.pin.repo: Repo(_alone(one), Stage.CONTENT, note) for one in candidate.foreign
        }

    # --- what there is ---------------------------------------------------------------------------

    @property
    def overfull(self) -> bool:
        """Whether there are more names than the gate reads: then only that is said."""
        return any(path == "" for path, _ in self.problems)

    @property
    def files(self) -> Iterator[Entry]:
        """Entries that are regular files."""
        return (entry for entry in self.entries if entry.kind is EntryKind.FILE)

    def entry(self, path: str) -> Entry | None:
        """Return the entry at `path`, or None."""
        return self._by_path.get(path)

    def has(self, path: str) -> bool:
        """Whether `path` is listed as a regular file."""
        entry = self._by_path.get(path)
        return entry is not None and entry.kind is EntryKind.FILE

    def has_folder(self, folder: str) -> bool:
        """Whether any file is listed below `folder`."""
        prefix = folder.rstrip("/") + "/"
        return any(entry.path.startswith(prefix) for entry in self.entries)

    def here(self, path: str) -> bool:
        """Whether all bytes of the file can be read now."""
        return path in self._stamps and self.has(path)

    def role(self, path: str) -> Role:
        """Return the role that the name claims."""
        entry = self._by_path.get(path)
        return role_of(path) if entry is None else entry.role

    def with_role(self, *roles: Role) -> Iterator[Entry]:
        """Regular files of any of these roles, in listing order."""
        return (entry for entry in self.files if entry.role in roles)

    def named(self, name: str) -> Iterator[Entry]:
        """Regular files with this last part, in any folder."""
        return (entry for entry in self.files if entry.name == name)

    # --- bytes -----------------------------------------------------------------------------------

    def size(self, path: str) -> int:
        """Return the size in bytes: of the file if it is here, else as listed."""
        if path in self._stamps:
            return self._stamps[path].size
        entry = self._by_path.get(path)
        if entry is None:
            raise NotHere(f"{shown(path)} is not in the repository")
        return entry.size

    def open(self, path: str) -> BufferedReader:
        """Open a file that is here, unbuffered positions and all. The caller bounds what it reads."""
        if not self.here(path):
            raise NotHere("is not here")
        with self._noting:  # files are hashed by several threads; the channel is one
            if path != self.reading:
                self.reading = path
                self._note(path)
        return open_regular(self.candidate.root, path, self._stamps[path])

    def read(self, path: str, limit: int = 32 * MIB) -> bytes:
        """Return all bytes. Raises FormatError above `limit`, NotHere if they are not here."""
        if not self.here(path):
            raise NotHere("is not here")
        if self._stamps[path].size > limit:
            raise FormatError(f"is larger than {limit / MIB:g} MiB")
        with self.open(path) as file:
            data = file.read(limit + 1)
        if len(data) != self._stamps[path].size:
            raise FormatError("changed while it was being read")
        self._remember(path, data)
        return data

    def head(self, path: str, count: int = HEAD) -> bytes:
        """Return the first `count` bytes, or as many as are here (files or fetched heads)."""
        if self.here(path):
            with self.open(path) as file:
                return file.read(count)
        if self.candidate.heads is not None and self.has(path):
            try:
                with open_regular(self.candidate.heads, path, None) as file:
                    return file.read(count)
            except FormatError:
                return b""
        return b""

    def tail(self, path: str, count: int) -> bytes:
        """Return the last `count` bytes of a file that is here."""
        with self.open(path) as file:
            file.seek(max(0, self._stamps[path].size - count))
            return file.read(count)

    @contextmanager
    def mapped(self, path: str) -> Iterator[memoryview]:
        """All bytes of a file that is here, as a read-only view: memory stays flat."""
        with self.open(path) as file:
            if not self._stamps[path].size:
                yield memoryview(b"")
                return
            with (
                mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages,
                memoryview(pages) as view,
            ):
                yield view

    def sha256(self, path: str) -> Digest:
        """SHA-256 of a file that is here: computed once, in one pass, with flat memory."""
        if path not in self._digests:
            with self.open(path) as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                if stamp_of(os.fstat(file.fileno())) != self._stamps[path]:
                    raise FormatError("changed while it was being read")
            self._digests[path] = Digest(digest)
        return self._digests[path]

    def digest_for(self, path: str) -> Digest | None:
        """What an allowance for this file must name: its SHA-256, or the listing's claim of it."""
        if self.here(path):
            return self.sha256(path)
        entry = self._by_path.get(path)
        claimed = None if entry is None else entry.claimed
        return None if claimed is None else Digest(claimed)

    def changed(self) -> Iterator[str]:
        """Paths whose file is not the one that was first seen or measured: replaced or written to."""
        yield from self._unlike_measured()
        for path, stamp in self._stamps.items():
            try:
                with open_regular(self.candidate.root, path, stamp):
                    pass
            except FormatError:
                yield path

    def _unlike_measured(self) -> Iterator[str]:
        """What the caller did not measure, or measured with another size, or is not here any more."""
        if self.candidate.measured is None:
            return
        sizes: dict[str, int] = {file.path: file.size for file in self.candidate.measured}
        for path in sorted(sizes.keys() | self._stamps.keys(), key=repr):
            stamp = self._stamps.get(path)
            if stamp is None or sizes.get(path) != stamp.size:
                yield path

    # --- documents -------------------------------------------------------------------------------

    def cached(self, kind: str, path: str, make: Callable[[str], T]) -> T:
        """Return `make(path)`, computed once per `kind` and path; a FormatError is kept too."""
        key = (kind, path)
        if key not in self._cache:
            try:
                self._cache[key] = make(path)
            except FormatError as error:
                self._cache[key] = error
        value = self._cache[key]
        if isinstance(value, FormatError):
            raise value
        return cast("T", value)

    def json(self, path: str) -> Json:
        """Return the strictly parsed document. Raises FormatError."""
        return self.cached("json", path, self._parse_json)

    def object(self, path: str) -> JsonObject | None:
        """Return the document if it is here, well formed and an object; else None.

        For cross-checks: the `json` check reports what is malformed.
        """
        try:
            value = self.json(path)
        except FormatError:
            return None
        return value if isinstance(value, dict) else None

    def text(self, path: str, limit: int = 32 * MIB) -> str:
        """Return the file as UTF-8 text. Raises FormatError."""
        try:
            return self.read(path, limit).decode("utf-8")
        except UnicodeDecodeError as error:
            raise FormatError(f"is not UTF-8 (byte {error.start})") from error

    def safetensors(self, path: str) -> SafetensorsHeader:
        """Return the checked header. Raises FormatError, NotHere if the head is not here."""
        return self.cached("safetensors", path, self._parse_safetensors)

    def gguf(self, path: str) -> GgufHeader:
        """Return the checked GGUF header. Raises FormatError, NotHere if the head is not here."""
        return self.cached("gguf", path, self._parse_gguf)

    @property
    def config(self) -> JsonObject:
        """The top-level config.json; empty if there is none or it is malformed."""
        return self.object("config.json") or {}

    # --- inside ----------------------------------------------------------------------------------

    def _parse_json(self, path: str) -> Json:
        match self.role(path):
            case Role.TOKENIZER | Role.INDEX:
                limits = json_strict.VOCABULARY
            case Role.JSON | Role.NOTEBOOK | Role.DATA:
                limits = json_strict.UNLOADED
            case _:
                limits = json_strict.CONFIGURATION
        return json_strict.parse(self.read(path, limits.size), limits)

    def _parse_safetensors(self, path: str) -> SafetensorsHeader:
        size = self.size(path)
        first = self.head(path, LENGTH_BYTES)
        if not first and size >= LENGTH_BYTES:
            raise NotHere("is not here")
        length = header_length(first, size)
        head = self.head(path, LENGTH_BYTES + length)
        if len(head) < LENGTH_BYTES + length and not self.here(path):
            raise NotHere("the header is not here whole")
        return parse_header(head, size)

    def _parse_gguf(self, path: str) -> GgufHeader:
        head = self.head(path, min(self.size(path), GGUF_MAX_HEADER))
        if not head and self.size(path):
            raise NotHere("is not here")
        try:
            return parse_gguf(head, self.size(path))
        except FormatError as error:
            if not self.here(path) and "cut short" in error.message:
                raise NotHere("the header is not here whole") from error
            raise

    def _remember(self, path: str, data: bytes) -> None:
        digest = Digest(hashlib.sha256(data).hexdigest())
        if self._digests.setdefault(path, digest) != digest:
            raise FormatError("changed while it was being read")

    def _walked(self) -> Iterator[tuple[str, Entry]]:
        for found in walk(self.candidate.root):
            if found.stamp is not None:
                self._stamps[found.path] = found.stamp
            if found.problem:
                self.problems.append((found.path, found.problem))
            size = found.stamp.size if found.stamp else 0
            yield (
                found.path,
                Entry(found.path, size, found.kind, role_of(found.path), found.executable),
            )

    def _listed(self, found: dict[str, Entry]) -> tuple[Entry, ...]:
        listing = self.candidate.listing
        if listing is None:
            return tuple(found.values())
        listed = {
            item.path: Entry(
                item.path, item.size, item.kind, role_of(item.path), item.executable, item.sha256
            )
            for item in listing
        }
        for path, entry in found.items():
            if path not in listed:
                self.problems.append((path, "is here but not in the listing"))
                listed[path] = entry
            elif listed[path].kind is EntryKind.FILE:
                listed[path] = replace(
                    listed[path],
                    kind=entry.kind,
                    executable=entry.executable or listed[path].executable,
                )
        return tuple(listed.values())

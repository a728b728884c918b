"""Walks a directory without following a link, opening a special file, or going on for ever.

Each regular file gets a stamp (device, inode, size, times); later reads must find the same stamp.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Final

from pratique.core.candidate import EntryKind
from pratique.core.ids import MAX_DEPTH
from pratique.errors import FormatError, UnreadableInput

MAX_ENTRIES: Final = 100_000


@dataclass(frozen=True, slots=True)
class Stamp:
    """What the file system says a file is. Any write or replacement changes it (ctime)."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class Found:
    """One name under the root; `stamp` only for regular files, `problem` for what cannot be read."""

    path: str
    kind: EntryKind
    stamp: Stamp | None = None
    executable: bool = False
    problem: str = ""


def stamp_of(status: os.stat_result) -> Stamp:
    """Return the stamp of a stat result."""
    return Stamp(
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )


def walk(root: Path) -> Iterator[Found]:
    """Yield every name under `root`, sorted within each folder, folders before their content.

    Stops with a problem after MAX_ENTRIES names; does not descend below MAX_DEPTH folders nor into
    other file systems. Raises UnreadableInput if `root` itself cannot be listed.
    """
    device = root.stat().st_dev
    pending = [""]
    count = 0
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(root / folder) as scan:
                names = sorted(scan, key=lambda e: os.fsencode(e.name))
        except OSError as error:
            if not folder:
                raise UnreadableInput(
                    f"cannot list {root}: {error.strerror}", hint="give a readable directory"
                ) from error
            yield Found(folder, EntryKind.FOLDER, problem=f"cannot be listed: {error.strerror}")
            continue
        inside: list[str] = []
        for entry in names:
            count += 1
            path = f"{folder}/{entry.name}" if folder else entry.name
            if count > MAX_ENTRIES:
                yield Found(
                    "",
                    EntryKind.FOLDER,
                    problem=f"holds more than {MAX_ENTRIES} files and folders",
                )
                return
            found = _look(entry, path, device)
            yield found
            if found.kind is EntryKind.FOLDER and not found.problem:
                inside.append(path)
        pending.extend(reversed(inside))


def _look(entry: "os.DirEntry[str]", path: str, device: int) -> Found:
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError as error:
        return Found(path, EntryKind.SPECIAL, problem=f"cannot be examined: {error.strerror}")
    if status.st_dev != device:
        return Found(path, EntryKind.SPECIAL, problem="lies on another file system")
    mode = status.st_mode
    if stat.S_ISLNK(mode):
        return Found(path, EntryKind.LINK)
    if stat.S_ISDIR(mode):
        deep = path.count("/") + 1 >= MAX_DEPTH
        return Found(
            path,
            EntryKind.FOLDER,
            problem=f"is nested deeper than {MAX_DEPTH} folders" if deep else "",
        )
    if stat.S_ISREG(mode):
        return Found(path, EntryKind.FILE, stamp_of(status), bool(mode & 0o111))
    return Found(path, EntryKind.SPECIAL)


def open_regular(root: Path, path: str, stamp: Stamp | None) -> BufferedReader:
    """Open a regular file for reading; never blocks, never follows a final link.

    Raises FormatError if it cannot be opened, is no regular file, or does not bear `stamp`.
    """
    try:
        descriptor = os.open(
            root / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        )
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror}") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or (stamp is not None and stamp_of(status) != stamp):
        os.close(descriptor)
        raise FormatError("changed while it was being looked at")
    return os.fdopen(descriptor, "rb")

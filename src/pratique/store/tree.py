"""A directory that somebody else wrote, read without being led astray.

Names are parsed before use, links and special files are refused, and every file is opened one folder
at a time with O_NOFOLLOW from the root's descriptor, so that a folder swapped for a link between
listing and reading leads nowhere.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pratique.core.ids import RelPath, fold_path, parse_relpath, shown
from pratique.core.manifest import MAX_FILES
from pratique.errors import FormatError, StorageError, UnreadableInput

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


@dataclass(frozen=True, slots=True)
class Listing:
    """Regular files and folders below a root, each sorted by the bytes of its path."""

    files: tuple[RelPath, ...]
    folders: tuple[RelPath, ...]


def walk(root: Path) -> Listing:
    """List everything below `root`. Guarantees regular files and folders with portable names only.

    Raises:
        FormatError: a link, a special file, a bad name, or two names that some system confuses.
        UnreadableInput: `root` or a folder below it cannot be read.
    """
    files: list[RelPath] = []
    folders: list[RelPath] = []
    with opened_folder(root) as top:
        _walk_into(top, "", files, folders)
    _refuse_collisions((*files, *folders))
    return Listing(
        tuple(sorted(files, key=str.encode)),
        tuple(sorted(folders, key=str.encode)),
    )


def _walk_into(folder: int, prefix: str, files: list[RelPath], folders: list[RelPath]) -> None:
    inner: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            path = parse_relpath(prefix + entry.name)
            if entry.is_dir(follow_symlinks=False):
                inner.append(entry.name)
            elif entry.is_file(follow_symlinks=False):
                files.append(path)
            else:
                kind = "link" if entry.is_symlink() else "special file"
                raise FormatError(f"{shown(path)} is a {kind}, not a regular file")
            if len(files) + len(folders) > MAX_FILES:
                raise FormatError(f"more than {MAX_FILES} files")
    for name in inner:
        folders.append(RelPath(prefix + name))
        with _reading(prefix + name):
            child = os.open(name, _FOLDER, dir_fd=folder)
        try:
            _walk_into(child, f"{prefix}{name}/", files, folders)
        finally:
            os.close(child)


def _refuse_collisions(paths: tuple[RelPath, ...]) -> None:
    seen: dict[str, str] = {}
    for path in paths:
        other = seen.setdefault(fold_path(path), path)
        if other != path:
            raise FormatError(
                f"{shown(other)} and {shown(path)} differ only by case or Unicode form"
            )


@contextlib.contextmanager
def opened_folder(path: Path) -> Iterator[int]:
    """Open a directory that is not a link, for use as `dir_fd`."""
    with _reading(str(path)):
        folder = os.open(path, _FOLDER)
    try:
        yield folder
    finally:
        os.close(folder)


@contextlib.contextmanager
def opened(root: int, path: RelPath) -> Iterator[int]:
    """Open the regular file `path` below the folder `root`, following no link anywhere.

    Raises UnreadableInput if it is absent or unreadable, FormatError if it is no regular file.
    """
    descriptor = _open_below(root, path)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FormatError(f"{shown(path)} is not a regular file")
        yield descriptor
    finally:
        os.close(descriptor)


def _open_below(root: int, path: RelPath) -> int:
    *parents, name = path.split("/")
    folder = root
    with _reading(path):
        try:
            for part in parents:
                step = os.open(part, _FOLDER, dir_fd=folder)
                if folder != root:
                    os.close(folder)
                folder = step
            return os.open(name, _FILE, dir_fd=folder)
        finally:
            if folder != root:
                os.close(folder)


@contextlib.contextmanager
def _reading(what: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UnreadableInput(
            f"{shown(what, 200)}: {error.strerror}", hint="check the path"
        ) from error
    except PermissionError as error:
        raise UnreadableInput(
            f"{shown(what, 200)}: {error.strerror}", hint="make it readable for this user"
        ) from error
    except OSError as error:
        if error.errno == errno.ELOOP:  # what O_NOFOLLOW says of a link
            raise FormatError(f"{shown(what, 200)} is a link") from error
        raise StorageError(f"{shown(what, 200)} cannot be opened: {error.strerror}") from error


def size_of(root: int, path: RelPath) -> int:
    """Size in bytes of a regular file below `root`."""
    with opened(root, path) as descriptor:
        return os.fstat(descriptor).st_size

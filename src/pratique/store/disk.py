"""Writing so that a crash leaves the old state or the new one, and never something in between.

New bytes go to a name nobody reads, are flushed, and are then renamed; folders are flushed too. Every
failure to write becomes a StorageError that says whether the disk is full.
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pratique.errors import StorageError

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_MODES: Final = frozenset({errno.EPERM, errno.ENOSYS, errno.ENOTSUP})
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

FILE_MODE: Final = 0o644
FOLDER_MODE: Final = 0o755


@contextlib.contextmanager
def storing(what: str) -> Iterator[None]:
    """Turn an OSError inside into a StorageError about `what`."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageError(
                f"the disk is full: {what} was not written",
                hint="free some space and run the same command again; what was there is untouched",
            ) from error
        raise StorageError(f"{what} could not be written: {error.strerror}") from error


def need_room(folder: Path, size: int, what: str) -> None:
    """Raise StorageError if `size` bytes cannot fit where `folder` is, before any is written.

    A file with holes has the size that its bytes take once they are copied. What fits now may not
    fit later: writing still says when the disk is full.
    """
    with storing(what):
        found = os.statvfs(folder)
    if found.f_blocks == 0:
        return  # a file system that does not count
    free = found.f_frsize * (found.f_bfree if os.geteuid() == 0 else found.f_bavail)
    if size > free:
        raise StorageError(
            f"{what} needs {size:,} bytes, and {free:,} are free there",
            hint="free some space there, or choose another place; nothing of it was written",
        )


def create(path: Path, mode: int = FILE_MODE) -> int:
    """Create a new file for writing and return its descriptor. An existing name is an error.

    It has exactly `mode`, whatever the umask is: sealing is reproducible. Only a file for everybody
    to read may have what a medium without modes (a stick, a share) gives it.
    """
    descriptor = os.open(path, _NEW, mode)
    try:
        os.fchmod(descriptor, mode)
    except OSError as error:
        if mode != FILE_MODE or error.errno not in _NO_MODES:
            os.close(descriptor)
            raise
    return descriptor


def write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    """Write every byte, however many calls it takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def write_new(path: Path, data: bytes, mode: int = FILE_MODE) -> None:
    """Create `path` with `data`, flushed to the disk."""
    descriptor = create(path, mode)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, data: bytes, mode: int = FILE_MODE) -> None:
    """Put `data` at `path` in one step: readers see the old bytes or the new ones."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    try:
        write_new(fresh, data, mode)
        fresh.rename(path)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise
    flush_folder(path.parent)


def make_folder(path: Path, mode: int = FOLDER_MODE) -> None:
    """Create one folder with exactly `mode`."""
    path.mkdir()
    path.chmod(mode)


def flush_folder(path: Path) -> None:
    """Make the names in `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_filesystem(path: Path) -> None:
    """Make everything below `path` durable in one call: one flush, not one for each small file.

    syncfs(2) reports write errors since Linux 5.8; where the C library lacks it, sync(2) does.
    """
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:
        os.sync()
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))
    finally:
        os.close(descriptor)


def remove_tree(path: Path) -> None:
    """Remove `path` and everything below it, read-only folders included. Absence is fine."""
    if not path.is_symlink() and path.is_dir():
        _make_removable(path)
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _make_removable(path: Path) -> None:
    if not path.stat().st_mode & stat.S_IWUSR:
        path.chmod(0o700)
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _make_removable(Path(entry.path))


@contextlib.contextmanager
def opened_lock(folder: Path, *, wait: bool = True) -> Iterator[int]:
    """Hold `folder` for ourselves while inside: the lock goes with the process, however it ends.

    Yields its descriptor: the name may lead elsewhere by then.

    Raises BlockingIOError if somebody has it and we do not `wait`.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield descriptor
    finally:
        os.close(descriptor)

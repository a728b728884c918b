"""A folder beside the target, ours alone, that becomes the target in one rename or goes away."""

import contextlib
import errno
import grp
import os
import pwd
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pratique.core.bundle import DOCUMENT, PAYLOAD
from pratique.errors import SealError, UsageError
from pratique.store import disk

_PRIVATE: Final = ".pratique-sealing-"
_ACCESS_LIST: Final = "system.posix_acl_access"


@contextlib.contextmanager
def staging_for(target: Path) -> Iterator[Path]:
    """Yield an empty folder on the target's file system, held by a lock while inside.

    Removed on the way out unless `publish` has renamed it. What a killed process left under this
    name is removed first.

    Raises SealError if the target exists, another process is sealing it, or others may write beside it.
    """
    refuse_existing(target)
    folder = target.with_name(f".{target.name}.sealing")
    with disk.storing(str(target)):
        target.parent.mkdir(parents=True, exist_ok=True)
        _refuse_shared(target.parent)
        _clear(folder)
        try:
            disk.make_folder(folder)
        except FileExistsError as error:  # made since it was looked for
            raise _taken(folder) from error
    with _held(folder):
        try:
            yield folder
        finally:
            with contextlib.suppress(OSError):
                disk.remove_tree(folder)


@contextlib.contextmanager
def private_folder(near: Path | None) -> Iterator[Path]:
    """Yield an empty folder below `near` (None: the system's) that nobody else can enter.

    Removed on the way out. What killed processes left there is removed first.

    Raises SealError if others may rename it: what is judged could be swapped for what is signed.
    """
    place = near or Path(tempfile.gettempdir())
    with disk.storing(str(place)), contextlib.ExitStack() as held:
        place.mkdir(parents=True, exist_ok=True)
        _refuse_shared(place)
        _sweep(place)
        while True:  # until it is locked before anybody has swept it away
            folder = Path(tempfile.mkdtemp(prefix=_PRIVATE, dir=place))
            lock = contextlib.ExitStack()
            with contextlib.suppress(FileNotFoundError):
                lock.enter_context(disk.opened_lock(folder))
            if folder.is_dir():
                held.push(lock)
                break
            lock.close()
        kept = held.pop_all()
    with kept:
        try:
            yield folder
        finally:
            with contextlib.suppress(OSError):
                disk.remove_tree(folder)


def _refuse_shared(place: Path) -> None:
    """Who may write to a folder may rename what is in it, unless it is sticky as /tmp is.

    A sticky folder still leaves that to its owner. A group that is its user's alone (the usual one of
    several Linux distributions, with a umask of 002) is nobody else. The folders above are not looked
    at: they are for whoever made them.
    """
    found = place.stat()
    others = found.st_mode & stat.S_IWOTH
    group = found.st_mode & stat.S_IWGRP and not _is_own_group(place, found.st_gid)
    sticky = found.st_mode & stat.S_ISVTX and found.st_uid in {0, os.geteuid()}
    if (others or group) and not sticky:
        raise SealError(
            f"others may write to {place}, and could swap there what was judged",
            hint="give a place of your own with -o (TMPDIR, with --check), and copy the bundle from "
            f"there; or `chmod go-w` or `chmod +t` {place}, if it is yours and keeps modes",
        )


def _is_own_group(place: Path, gid: int) -> bool:
    """Whether a group is ours alone, as `pam_umask` decides it: same name, same number, no members.

    With an access list, the mode's bits for the group are those of everybody on the list.
    """
    try:
        own, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    members = set(group.gr_mem) - {own.pw_name}
    own_group = (gid, group.gr_name) == (own.pw_gid, own.pw_name)
    return own_group and not members and not _has_access_list(place)


def _has_access_list(place: Path) -> bool:
    try:
        return _ACCESS_LIST in os.listxattr(place)
    except OSError as error:
        return error.errno != errno.ENOTSUP  # a file system that has no attributes has no lists


def _sweep(place: Path) -> None:
    for left in place.glob(f"{_PRIVATE}*"):
        with contextlib.suppress(OSError):
            if left.lstat().st_uid == os.geteuid():
                with disk.opened_lock(left, wait=False):
                    disk.remove_tree(left)


def refuse_existing(target: Path) -> None:
    """Raise SealError if `target` is there already."""
    if target.exists() or target.is_symlink():
        raise SealError(
            f"{target} exists and is not overwritten",
            hint="remove it, or give another place with -o",
        )


def refuse_inside_bundle(folder: Path) -> None:
    """Raise UsageError if `folder` is a bundle or lies in one: with anything more in it, it is none."""
    here = folder.resolve()
    for place in (here, *here.parents):
        if os.path.isfile(place / PAYLOAD / DOCUMENT):  # noqa: PTH113 - never raises
            raise UsageError(
                f"{folder} is in the bundle {place.name}, and nothing is put into a bundle",
                hint="give another place with -o",
            )


def publish(folder: Path, target: Path) -> None:
    """Give a finished, flushed folder its final name, in one step."""
    try:
        folder.rename(target)
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
            refuse_existing(target)
        raise
    disk.flush_folder(target.parent)


def _clear(folder: Path) -> None:
    if folder.exists() or folder.is_symlink():
        with _held(folder):
            disk.remove_tree(folder)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            descriptor = stack.enter_context(disk.opened_lock(folder, wait=False))
            same = os.path.samestat(os.fstat(descriptor), folder.lstat())
        except OSError as error:
            raise _taken(folder) from error
        if not same:  # removed and made anew by another, between its making and its locking
            raise _taken(folder)
        yield


def _taken(folder: Path) -> SealError:
    return SealError(
        f"another process is sealing into {folder.name}",
        hint="wait for it to end, or give another place with -o",
    )

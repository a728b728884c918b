"""The content-addressed store: one read-only file per digest, shared by every bundle that has it.

::

    HOME/store/
      format              which layout this is
      lock                shared by admissions and loads, exclusive for gc and fsck
      objects/AB/DIGEST   the bytes, 0444
      trees/ID-XXXXXXXX/  one admitted payload: hard links into objects, folders 0555
      admissions/ID.json  what was admitted; writing it is the moment of admission
      names/NAME.json     what a name points at
      tmp/XXXXXXXX/       unfinished work; locked while its owner lives

Bytes reach `objects/` only while being hashed, and only under their own digest. Anything that is not
reachable from `admissions/` is left over from a crash and is removed by `gc`. The directory's owner
and modes are checked at every opening.
"""

import contextlib
import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pratique.core.ids import BundleId, Digest
from pratique.errors import StorageError, UnreadableInput
from pratique.store import disk

_FORMAT: Final = b"pratique.store/v1\n"
_FOLDERS: Final = ("objects", "trees", "admissions", "names", "tmp")
OBJECT_MODE: Final = 0o444
SEALED_FOLDER_MODE: Final = 0o555


@dataclass(frozen=True, slots=True)
class Store:
    """An opened store. Make one with `open_store` or `make_store`."""

    root: Path

    def object(self, digest: Digest) -> Path:
        """Where the bytes with this digest are, if they are here."""
        return self.root / "objects" / digest[:2] / digest

    def tree(self, name: str) -> Path:
        """An admitted payload's directory."""
        return self.root / "trees" / name

    def admission(self, bundle: BundleId) -> Path:
        """The admission record of a bundle."""
        return self.root / "admissions" / f"{bundle}.json"

    def alias(self, name: str) -> Path:
        """The record of what a name points at."""
        return self.root / "names" / f"{name}.json"

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """While inside, nothing is removed from the store."""
        with _locked(self.root / "lock", fcntl.LOCK_SH):
            yield

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """While inside, nobody else reads or adds. Waits for those who do."""
        with _locked(self.root / "lock", fcntl.LOCK_EX):
            yield

    @contextlib.contextmanager
    def deciding(self) -> Iterator[None]:
        """While inside, nobody else writes an admission or moves a name."""
        with _locked(self.root / "decisions", fcntl.LOCK_EX):
            yield

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for unfinished work, on the store's file system; removed afterwards.

        Removes what killed processes left there.
        """
        tmp, folder = self.root / "tmp", self.root / "tmp" / secrets.token_hex(8)
        with contextlib.ExitStack() as held:
            # Made and locked in one step, as far as `sweep` can tell: it takes the same lock.
            with disk.storing("the store"), disk.opened_lock(tmp):
                _remove_abandoned(tmp)
                disk.make_folder(folder, 0o700)
                held.enter_context(disk.opened_lock(folder))
            try:
                yield folder
            finally:
                with contextlib.suppress(OSError):
                    disk.remove_tree(folder)

    def sweep(self) -> int:
        """Remove unfinished work whose owner is gone; return how many pieces."""
        with disk.storing("the store"), disk.opened_lock(self.root / "tmp"):
            return _remove_abandoned(self.root / "tmp")


def _remove_abandoned(tmp: Path) -> int:
    removed = 0
    for folder in sorted(tmp.iterdir()):
        with contextlib.suppress(OSError), disk.opened_lock(folder, wait=False):
            disk.remove_tree(folder)
            removed += 1
    return removed


def open_store(home: Path) -> Store:
    """Open the store of `home`. Guarantees that nobody but its owner and root can write to it.

    Raises:
        UnreadableInput: nothing was ever admitted here.
        StorageError: somebody else owns it or may write to it, or its layout is unknown.
    """
    store = Store(home / "store")
    if not (store.root / "format").is_file():
        raise UnreadableInput(
            f"there is no store in {home}", hint="admit a bundle first, or give another --home"
        )
    with disk.storing("the store"):
        if (store.root / "format").read_bytes() != _FORMAT:
            raise StorageError(
                f"{store.root} has a layout that this pratique does not know",
                hint="use the version that made it, or a newer one",
            )
    for folder in (store.root, *(store.root / name for name in _FOLDERS)):
        check_owner(folder)
    return store


def make_store(home: Path) -> Store:
    """Open the store of `home`, creating it if there is none."""
    root = home / "store"
    with disk.storing("the store"):
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in _FOLDERS:
            (root / name).mkdir(mode=0o700, exist_ok=True)
        if not (root / "format").exists():
            disk.replace_file(root / "format", _FORMAT)
    return open_store(home)


def check_owner(path: Path) -> None:
    """Raise StorageError unless `path` is ours or root's, and no one else may write to it."""
    with disk.storing(str(path)):
        found = path.lstat()
    if problem := owner_problem(found):
        raise StorageError(
            f"{path} {problem}",
            hint="somebody could have changed the store: look into it, then `pratique fsck`",
        )


def owner_problem(found: os.stat_result) -> str | None:
    """Say what lets somebody else write here, or None."""
    if stat.S_ISLNK(found.st_mode):
        return "is a link"
    if found.st_uid not in {os.geteuid(), 0}:
        return f"belongs to user {found.st_uid}"
    if found.st_mode & 0o022:
        return f"may be written by others (mode {stat.S_IMODE(found.st_mode):04o})"
    return None


@contextlib.contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    with disk.storing(f"the lock {path}"):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)

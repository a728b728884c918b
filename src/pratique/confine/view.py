"""The child's own file tree: granted paths, devices, a fresh /proc, private scratch; nothing else.

Everything but the lock's writable paths and the scratch directory is mounted read-only, data
without the right to be mapped as code. What is not granted does not exist, so that not even its
name, size or mode can be asked for. Needs the capabilities of a namespace of our own.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pratique.confine import linux
from pratique.confine.grants import Grant, Kind
from pratique.confine.linux import MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REC

SCRATCH = "/scratch"  # of no other use, so that no granted path lies below it
SCRATCH_PARTS = ("home", "shm")
_BASES = ("/tmp", "/var/tmp", "/run", "/mnt")  # noqa: S108  # only covered, in a namespace of our own
_REMOUNT = 0x20
_FLAGS = {
    Kind.LIBRARY: MS_RDONLY | MS_NOSUID | MS_NODEV,
    Kind.DATA: MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
    Kind.DEVICE: MS_RDONLY | MS_NOSUID | MS_NOEXEC,
    Kind.WRITE: MS_NOSUID | MS_NODEV | MS_NOEXEC,
}


@dataclass(frozen=True, slots=True)
class _Place:
    source: str
    target: str
    kind: Kind


def enter(granted: Sequence[Grant], scratch: int) -> bool:
    """Moves this process into a tree of `granted` paths and `scratch` bytes of private space.

    Returns whether /proc is a fresh one of this process namespace (a container may forbid that; the
    tree then has no /proc but the few granted files). Raises OSError if the tree cannot be made; the
    process then still sees the tree it had.
    """
    places = _places(granted)
    linux.unshare(linux.Namespace.MOUNT)
    linux.mount("none", "/", "", MS_REC | linux.MS_PRIVATE)
    with ExitStack() as handles:
        # Opened now: the new root is about to cover one directory, and what is granted below it.
        sources = [handles.enter_context(_handle(place.source)) for place in places]
        root = next(path for path in _BASES if Path(path).is_dir())
        linux.mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=4m,mode=755")
        try:
            fresh_proc = _furnish(root, places, sources, scratch)
            os.chdir(root)
            linux.pivot_root(".", ".")  # the old root now covers the new; pivot_root(2), NOTES
            linux.unmount(".")
        except OSError:
            os.chdir("/")
            linux.unmount(root)
            raise
    os.chdir("/")
    return fresh_proc


@contextmanager
def _handle(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _furnish(root: str, places: Sequence[_Place], sources: Sequence[int], scratch: int) -> bool:
    fresh_proc = _mount_proc(root)
    for place, source in zip(places, sources, strict=True):
        _bind(root, place, source)
    if scratch:
        _mount_scratch(root, scratch)
    linux.mount("none", root, "", MS_BIND | _REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)
    return fresh_proc


def _places(granted: Sequence[Grant]) -> list[_Place]:
    """Where to bind what, parents first; a path below one of the same kind is there already."""
    wanted: dict[str, _Place] = {}
    for grant in granted:
        real = os.path.realpath(grant.path)
        for target in (real, grant.path):
            # A path granted twice keeps the later grant: the lists are in the order of rights.
            wanted[os.path.normpath(target)] = _Place(real, os.path.normpath(target), grant.kind)
    places: list[_Place] = []
    for target in sorted(wanted, key=lambda path: (path.count("/"), path)):
        above = [place for place in places if target.startswith(place.target + "/")]
        if not above or above[-1].kind is not wanted[target].kind:
            places.append(wanted[target])
    return places


def _bind(root: str, place: _Place, source: int) -> None:
    target = Path(root + place.target)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        if stat.S_ISDIR(os.fstat(source).st_mode):
            target.mkdir()
        else:
            target.touch()
    linux.mount(f"/proc/self/fd/{source}", str(target), "", MS_BIND | MS_REC)
    linux.restrict_mount(str(target), _FLAGS[place.kind])


def _mount_proc(root: str) -> bool:
    proc = Path(root, "proc")
    proc.mkdir()
    try:
        linux.mount("proc", str(proc), "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY)
    except OSError:
        return False
    return True


def _mount_scratch(root: str, size: int) -> None:
    """Empty, private, of limited size; /dev/shm is a part of it."""
    scratch, devices = Path(root + SCRATCH), Path(root, "dev")
    scratch.mkdir()
    devices.mkdir(exist_ok=True)
    (devices / "shm").symlink_to(f"{SCRATCH}/shm")
    options = f"size={size},mode=700"
    linux.mount("tmpfs", str(scratch), "tmpfs", MS_NOSUID | MS_NODEV, options)
    for name in SCRATCH_PARTS:
        (scratch / name).mkdir(0o700)

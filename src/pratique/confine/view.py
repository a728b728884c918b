"""The child's own file tree: granted paths, devices, a fresh /proc, private scratch; nothing else.

Everything but the lock's writable paths and the scratch directory is mounted read-only, data
without the right to be mapped as code. What is not granted does not exist, so that not even its
name, size or mode can be asked for. Needs the capabilities of a namespace of our own.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pratique.confine import linux
from pratique.confine.grants import Grant, Kind
from pratique.confine.linux import MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REC

SCRATCH = "/scratch"  # of no other use, so that no granted path lies below it
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
    tree then has no /proc but the few granted files). Raises OSError if the tree cannot be made;
    the process must then not go on as if it were, since mounts may be half made.
    """
    places = _places(granted)
    linux.unshare(linux.Namespace.MOUNT)
    linux.mount("none", "/", "", MS_REC | linux.MS_PRIVATE)
    base = next(path for path in _BASES if Path(path).is_dir())
    linux.mount("tmpfs", base, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755")
    for name in ("new", "old"):
        Path(base, name).mkdir()
    linux.pivot_root(base, f"{base}/old")
    os.chdir("/")
    linux.mount("tmpfs", "/new", "tmpfs", MS_NOSUID | MS_NODEV, "size=4m,mode=755")
    fresh_proc = _mount_proc()
    for place in places:
        _bind(place)
    _mount_scratch(scratch)
    linux.mount("none", "/new", "", MS_BIND | _REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)
    os.chdir("/new")
    linux.pivot_root(".", ".")  # the old root lies on top of the new one; see pivot_root(2), NOTES
    linux.unmount(".")
    os.chdir("/")
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


def _bind(place: _Place) -> None:
    source, target = Path("/old" + place.source), Path("/new" + place.target)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            target.mkdir()
        else:
            target.touch()
    linux.mount(str(source), str(target), "", MS_BIND | MS_REC)
    linux.restrict_mount(str(target), _FLAGS[place.kind])


def _mount_proc() -> bool:
    Path("/new/proc").mkdir()
    try:
        linux.mount("proc", "/new/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY)
    except OSError:
        return False
    return True


def _mount_scratch(size: int) -> None:
    """Empty, private, of limited size; /dev/shm is a part of it."""
    if not size:
        return
    Path("/new" + SCRATCH).mkdir()
    Path("/new/dev").mkdir(exist_ok=True)
    Path("/new/dev/shm").symlink_to(f"{SCRATCH}/shm")
    linux.mount("tmpfs", "/new" + SCRATCH, "tmpfs", MS_NOSUID | MS_NODEV, f"size={size},mode=700")
    for name in ("home", "shm"):
        Path(f"/new{SCRATCH}", name).mkdir(0o700)

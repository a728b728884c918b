"""Which paths a child sees: the lock's own, and what Python and its libraries need to run.

One list serves both file layers: the mount view shows these paths and no others, Landlock allows
these accesses and no others. Nothing here is ever writable but the lock's own.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from pratique.confine import landlock
from pratique.confine.landlock import Access
from pratique.confine.lock import Lock

# The dynamic loader's default directories, its cache, and read-only system data libraries ask for.
_LOADER = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache")
_STORES = ("/nix/store", "/gnu/store")
_SYSTEM_DATA = ("/usr/share/zoneinfo", "/etc/localtime", "/sys/devices/system")
_PROC_FILES = ("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/filesystems")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_GPU_DATA = ("/proc/driver/nvidia", "/sys/bus/pci", "/sys/devices", "/sys/module/nvidia")
_GPU_LIBRARIES = ("/usr/local/cuda", "/usr/local/nvidia", "/usr/share/nvidia", "/etc/nvidia")


class Kind(Enum):
    """What a granted path is for; the order is that of growing rights."""

    LIBRARY = "read, map as code"
    DATA = "read"
    DEVICE = "use a device"
    WRITE = "read and write"


@dataclass(frozen=True, slots=True)
class Grant:
    """One path and what may be done with it."""

    path: str
    kind: Kind

    @property
    def access(self) -> Access:
        """The Landlock rights of this grant."""
        if self.kind is Kind.WRITE:
            return landlock.WRITE
        return landlock.DEVICE if self.kind is Kind.DEVICE else landlock.READ


def grants(lock: Lock) -> list[Grant]:
    """Every existing path of this lock, libraries first. Does not include the scratch directory."""
    found = [Grant(path, Kind.LIBRARY) for path in _library_paths(lock)]
    data = [*_SYSTEM_DATA, *_PROC_FILES, *(_GPU_DATA if lock.gpu else ()), *lock.readable]
    found += [Grant(path, Kind.DATA) for path in data]
    devices = [*_DEVICES, *(_gpu_devices() if lock.gpu else ())]
    found += [Grant(path, Kind.DEVICE) for path in devices]
    found += [Grant(path, Kind.WRITE) for path in lock.writable]
    return [grant for grant in dict.fromkeys(found) if Path(grant.path).exists()]


def covered_secret(lock: Lock) -> tuple[str, str] | None:
    """The first grant that would cover, or lie inside, a path the lock forbids; else None.

    To be asked in the child, whose libraries may lie elsewhere than the parent's.
    """
    for secret in lock.forbidden:
        inside = os.path.realpath(secret)
        for grant in grants(lock):
            path = os.path.realpath(grant.path)
            if os.path.commonpath((inside, path)) in {path, inside}:
                return grant.path, secret
    return None


def missing(lock: Lock) -> list[str]:
    """Granted data that is not there: a child without its input would only fail later."""
    return [path for path in (*lock.readable, *lock.writable) if not Path(path).exists()]


def _gpu_devices() -> list[str]:
    return sorted(str(path) for path in Path("/dev").glob("nvidia*"))


def _library_paths(lock: Lock) -> Iterator[str]:
    yield from (path for path in sys.path if path.startswith("/") and path != "/")
    for prefix in (sys.prefix, sys.base_prefix):
        yield from (f"{prefix}/{name}" for name in ("lib", "lib64", "pyvenv.cfg"))
    yield from _LOADER
    yield from _STORES
    if lock.gpu:
        yield from _GPU_LIBRARIES

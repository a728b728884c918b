"""Landlock: file access by path, default deny; TCP and signals where the kernel has rules for them.

Source: Documentation/userspace-api/landlock.rst. Rights that a kernel does not know are left out,
so that the same rules hold as far as that kernel goes; the ABI in use is reported.
"""

import ctypes
import os
import stat
from collections.abc import Iterable
from enum import IntFlag

from pratique.confine import linux

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_VERSION_QUERY, _PATH_BENEATH = 1, 1


class Access(IntFlag):
    """LANDLOCK_ACCESS_FS_*."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


READ = Access.READ_FILE | Access.READ_DIR
WRITE = (
    READ
    | Access.WRITE_FILE
    | Access.TRUNCATE
    | Access.MAKE_REG
    | Access.MAKE_DIR
    | Access.MAKE_SYM
    | Access.REMOVE_FILE
    | Access.REMOVE_DIR
    | Access.REFER
)
DEVICE = READ | Access.WRITE_FILE | Access.IOCTL_DEV
_FILE_RIGHTS = (
    Access.EXECUTE | Access.WRITE_FILE | Access.READ_FILE | Access.TRUNCATE | Access.IOCTL_DEV
)
_HANDLED_BY_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # how many rights the version knows
_TCP_ABI, _SCOPE_ABI = 4, 6
_BIND_AND_CONNECT_TCP, _ABSTRACT_UNIX_AND_SIGNAL = 3, 3


class _Ruleset(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("files", "network", "scoped")]


class _PathRule(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("access", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def abi() -> int:
    """The Landlock version of this kernel; 0 where it has none or has it switched off."""
    return max(0, linux.syscall(_CREATE_RULESET, None, 0, _VERSION_QUERY))


def restrict(grants: Iterable[tuple[str, Access]]) -> str:
    """Denies every file access of this process but `grants`, and all TCP; returns what holds.

    Needs no_new_privs. Covers files below a granted directory. A granted path that does not exist
    is skipped: it grants nothing. Raises OSError where the kernel has no Landlock. It does NOT rule
    UDP or Unix sockets, stat, chmod or utime: seccomp and the mount view do.
    """
    version = abi()
    if version < 1:
        raise OSError(38, "the kernel has no Landlock, or does not enable it")
    handled = Access((1 << _HANDLED_BY_ABI.get(version, 16)) - 1)
    network = _BIND_AND_CONNECT_TCP if version >= _TCP_ABI else 0
    scoped = _ABSTRACT_UNIX_AND_SIGNAL if version >= _SCOPE_ABI else 0
    attributes = _Ruleset(int(handled), network, scoped)
    size = 24 if scoped else 16 if network else 8
    number = linux.syscall(_CREATE_RULESET, ctypes.byref(attributes), size, 0)
    ruleset = linux.check(number, "landlock_create_ruleset")
    try:
        for path, access in grants:
            _allow(ruleset, path, access & handled)
        linux.check(linux.syscall(_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
    finally:
        os.close(ruleset)
    extras = [name for name, on in (("TCP", network), ("signals", scoped)) if on]
    return f"ABI {version}: " + ", ".join(["files", *extras])


def _allow(ruleset: int, path: str, access: Access) -> None:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(parent).st_mode):
            access &= _FILE_RIGHTS
        rule = _PathRule(int(access), parent)
        done = linux.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
        linux.check(done, f"landlock_add_rule({path})")
    finally:
        os.close(parent)

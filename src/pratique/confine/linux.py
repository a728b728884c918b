"""The few kernel calls that Python 3.11 has no name for, each as a function that raises OSError.

No policy lives here. Numbers are from the kernel's uapi headers; those of the raw system calls are
in `pratique.confine.syscalls`.
"""

import ctypes
import os
import platform
from collections.abc import Mapping
from enum import IntFlag
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.prctl.argtypes = [ctypes.c_int, *([ctypes.c_ulong] * 4)]
_libc.mount.argtypes = [ctypes.c_char_p] * 3 + [ctypes.c_ulong, ctypes.c_char_p]

# Options of prctl(2).
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_READ, PR_CAPBSET_DROP = 1, 4, 23, 24
PR_SET_SECUREBITS, PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 28, 38, 39, 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
_SECUREBITS_LOCKED = (
    0xEF  # NOROOT, NO_SETUID_FIXUP, KEEP_CAPS off, NO_CAP_AMBIENT_RAISE, all locked
)
_CAPABILITY_VERSION_3 = 0x20080522
_LAST_POSSIBLE_CAPABILITY = 63

# Flags of mount(2), umount2(2), mount_setattr(2).
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
MNT_DETACH = 2
_AT_FDCWD, _AT_RECURSIVE, _AT_EMPTY_PATH = -100, 0x8000, 0x1000
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_SYS_MOUNT_SETATTR = 442
_SYS_SECCOMP = {"x86_64": 317, "aarch64": 277}


class Namespace(IntFlag):
    """CLONE_NEW* of unshare(2)."""

    MOUNT = 0x00020000
    CGROUP = 0x02000000
    UTS = 0x04000000
    IPC = 0x08000000
    USER = 0x10000000
    PID = 0x20000000
    NET = 0x40000000


# The machines that have a lock, and their names in the kernel's audit interface (linux/audit.h).
AUDIT_ARCHITECTURES: Mapping[str, int] = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def architecture() -> str:
    """`x86_64`, `aarch64`, or whatever else this machine calls itself."""
    machine = platform.machine()
    return {"AMD64": "x86_64", "arm64": "aarch64"}.get(machine, machine)


def check(result: int, what: str) -> int:
    """The result of a C call, or OSError with its errno."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def syscall(number: int, *arguments: object) -> int:
    """A raw system call: integers as longs, bytes and ctypes objects as pointers."""
    longs = [ctypes.c_long(item) if isinstance(item, int) else item for item in arguments]
    return int(_libc.syscall(ctypes.c_long(number), *longs))


def prctl(option: int, a: int = 0, b: int = 0, c: int = 0, d: int = 0) -> int:
    """The system call of that name; each unused argument is 0, as the kernel asks."""
    return check(_libc.prctl(option, a, b, c, d), f"prctl({option})")


def unshare(flags: Namespace) -> None:
    """The system call of that name, which Python has from 3.12 only."""
    check(_libc.unshare(int(flags)), f"unshare({flags!r})")


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """The system call of that name."""
    done = _libc.mount(
        os.fsencode(source), os.fsencode(target), kind.encode(), flags, options.encode() or None
    )
    check(done, f"mount({target})")


def unmount(target: str) -> None:
    """umount2(2), lazily: what is still open there stays open."""
    check(_libc.umount2(os.fsencode(target), MNT_DETACH), f"umount({target})")


def pivot_root(new: str, old: str) -> None:
    """The system call of that name."""
    number = _SYS_PIVOT_ROOT[architecture()]
    check(syscall(number, os.fsencode(new), os.fsencode(old)), "pivot_root")


class _MountAttributes(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]


def restrict_mount(target: str, flags: int) -> None:
    """Adds MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC to a mount and all below it (Linux 5.12)."""
    attributes = _MountAttributes(flags, 0, 0, 0)  # these four have the same values there
    done = syscall(
        _SYS_MOUNT_SETATTR,
        _AT_FDCWD,
        os.fsencode(target),
        _AT_RECURSIVE,
        ctypes.byref(attributes),
        ctypes.sizeof(attributes),
    )
    check(done, f"mount_setattr({target})")


class _CapabilityHeader(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _CapabilityData(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable")]


def drop_capabilities() -> None:
    """Leaves no capability in any set, and no way to get one back; needs none to succeed."""
    try:
        for number in range(_LAST_POSSIBLE_CAPABILITY + 1):
            if _libc.prctl(PR_CAPBSET_READ, number, 0, 0, 0) != 1:
                continue
            prctl(PR_CAPBSET_DROP, number)
        prctl(PR_SET_SECUREBITS, _SECUREBITS_LOCKED)
    except PermissionError:
        pass  # an ordinary user has none to use; the bounding set is dead under no_new_privs
    _libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    empty = (_CapabilityData * 2)()
    check(_libc.capset(ctypes.byref(header), ctypes.byref(empty)), "capset")
    left = (_CapabilityData * 2)()
    check(_libc.capget(ctypes.byref(header), ctypes.byref(left)), "capget")
    if any(part.effective or part.permitted or part.inheritable for part in left):
        raise PermissionError("capabilities are left")


class _FilterInstruction(ctypes.Structure):
    _fields_ = [
        ("code", ctypes.c_uint16),
        ("jt", ctypes.c_uint8),
        ("jf", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    ]


class _FilterProgram(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.POINTER(_FilterInstruction))]


def install_filter(instructions: list[tuple[int, int, int, int]]) -> None:
    """Installs a classic BPF program as seccomp filter of every thread of this process.

    Guarantees that all threads have it, or raises OSError. Needs no_new_privs.
    """
    array = (_FilterInstruction * len(instructions))(
        *(_FilterInstruction(*each) for each in instructions)
    )
    program = _FilterProgram(len(instructions), array)
    set_mode_filter, all_threads = 1, 1
    number = _SYS_SECCOMP[architecture()]
    stuck = check(syscall(number, set_mode_filter, all_threads, ctypes.byref(program)), "seccomp")
    if stuck:
        raise OSError(f"thread {stuck} could not be confined")


def status_field(name: str, pid: str = "self") -> str:
    """One line's value of /proc/PID/status, or an empty string."""
    try:
        with Path(f"/proc/{pid}/status").open(encoding="ascii", errors="replace") as lines:
            for line in lines:
                if line.startswith(f"{name}:"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return ""


def set_filesystem_uid(uid: int, gid: int) -> None:
    """setfsgid(2), setfsuid(2): whose file rights the next calls use. Only root may change it."""
    _libc.setfsgid(gid)
    _libc.setfsuid(uid)
    if _libc.setfsuid(-1) != uid:
        raise PermissionError(f"cannot use the file rights of uid {uid}")

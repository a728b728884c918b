"""Which system calls are left to a confined child, by profile: an allow-list, ruled by argument.

Refused for both profiles, because nothing allows them: every way to make a socket (socket,
socketpair, connect, bind, listen, accept), to start a program or a process (execve, execveat, fork,
vfork, clone without CLONE_THREAD), to reach another process (ptrace, process_vm_*, pidfd_*, kcmp,
signals to anybody else), to change namespaces, mounts, users or modules, and io_uring, bpf,
userfaultfd, perf_event_open, keyctl, open_by_handle_at, personality, SysV and POSIX IPC.
"""

import errno
import os
from dataclasses import dataclass

from pratique.confine import bpf, linux, syscalls
from pratique.confine.bpf import Condition, Rule
from pratique.confine.lock import Profile

_THREAD = 0x00010000
_NAMESPACES = 0x7E020000
_PROT_WRITE, _PROT_EXEC = 2, 4
_SHARED_ANONYMOUS = 0x21
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

# By number: F_SETOWN, F_SETSIG, F_SETOWN_EX give any signal to anybody of the same uid, without kill(2).
# F_NOTIFY and F_SETLEASE give learning of, and holding up, what others do with a file.
_FCNTL_REFUSED = (8, 10, 15, 1026, 1024)
# TIOCSTI, TIOCLINUX, TIOCSETD: typing into a terminal. FIOSETOWN, SIOCSPGRP: as F_SETOWN.
_IOCTL_REFUSED = (0x5412, 0x541C, 0x5423, 0x8901, 0x8902)
# Is it a terminal, how wide, how much is there to read, block or not, close on exec.
_IOCTL_HARMLESS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
# Reading its own state, its thread's name, mapping names, huge pages, timer slack, vector length.
_PRCTL_HARMLESS = (2, 3, 15, 16, 21, 23, 29, 30, 39, 40, 41, 42, 51, 64, 0x53564D41)


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """What the filter depends on besides the profile.

    Attributes:
        profile: PARSER or MODEL.
        threads: whether more than one thread may exist.
        writes: whether the lock grants any path to write, a scratch directory included.
        attributes: whether modes and times of foreign files are guarded by another layer.
        gpu: whether device ioctls are needed.
        private_pids: whether other processes are out of sight.
    """

    profile: Profile
    threads: bool
    writes: bool
    attributes: bool
    gpu: bool
    private_pids: bool


def program(policy: CallPolicy, architecture: str, pid: int) -> list[bpf.Instruction]:
    """The filter for one child whose process id (as it sees it itself) is `pid`."""
    numbers = syscalls.table(syscalls.RULED, architecture)
    rules = {numbers[name]: rule for name, rule in _rules(policy, pid).items() if name in numbers}
    groups = [syscalls.FILES, syscalls.MEMORY, syscalls.TIME, syscalls.SELF]
    if policy.writes:
        groups.append(syscalls.WRITING)
    if policy.profile is Profile.MODEL:
        groups += [syscalls.CHANNEL, syscalls.MODEL]
        if policy.attributes:
            groups.append(syscalls.ATTRIBUTES)
    allowed = {n for group in groups for n in syscalls.table(group, architecture).values()}
    audit = linux.AUDIT_ARCHITECTURES[architecture]
    return bpf.assemble(audit, allowed, rules, x32=architecture == "x86_64")


def install(policy: CallPolicy) -> str:
    """Closes the system calls of this whole process for good; returns a word on how.

    Raises OSError where the kernel or the machine has no seccomp filter for us.
    """
    architecture = linux.architecture()
    if architecture not in linux.AUDIT_ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"no filter for the machine {architecture}")
    instructions = program(policy, architecture, os.getpid())
    linux.install_filter(instructions)
    return f"{policy.profile.value} profile, {len(instructions)} instructions"


def _rules(policy: CallPolicy, pid: int) -> dict[str, Rule]:
    parser = policy.profile is Profile.PARSER
    own = Rule((Condition(0, (pid,)),))
    ruled = {
        **_file_rules(writes=policy.writes),
        **_memory_rules(strict=parser),
        "fcntl": Rule((Condition(1, _FCNTL_REFUSED, among=False),)),
        "ioctl": _ioctl_rule(gpu=policy.gpu),
        "prctl": Rule((Condition(0, _PRCTL_HARMLESS),)),
        "prlimit64": Rule((Condition(0, (0, pid)),)),
        "setrlimit": Rule(()),
        "kill": own,
        "tgkill": own,
        "clone": Rule((Condition(0, (_THREAD,), mask=_THREAD | _NAMESPACES),)),
        "clone3": Rule((), error=errno.ENOSYS, refuse=True),  # its flags are out of our sight
        "sched_setaffinity": Rule(() if policy.private_pids else (Condition(0, (0,)),)),
        # A Unix datagram socket could be sent elsewhere by address; the channel needs none.
        "sendto": Rule((Condition(4, (0,)), Condition(4, (0,), high=True))),
    }
    if not policy.threads:
        ruled["clone"] = Rule((), refuse=True, error=errno.EAGAIN)
    if parser:
        ruled["sendto"] = Rule((), refuse=True)
    return ruled


def _file_rules(*, writes: bool) -> dict[str, Rule]:
    if writes:
        return {"open": Rule(()), "openat": Rule(()), "openat2": Rule(())}
    read_only = (0,)
    return {
        "open": Rule((Condition(1, read_only, mask=_WRITE_FLAGS),), error=errno.EROFS),
        "openat": Rule((Condition(2, read_only, mask=_WRITE_FLAGS),), error=errno.EROFS),
        "openat2": Rule((), refuse=True, error=errno.ENOSYS),
    }


def _memory_rules(*, strict: bool) -> dict[str, Rule]:
    """A parser gets no page that is or becomes code, save what a library file brings."""
    if not strict:
        return {"mmap": Rule(()), "mprotect": Rule(()), "pkey_mprotect": Rule(())}
    never_code = Rule((Condition(2, (0,), mask=_PROT_EXEC),))
    both = _PROT_WRITE | _PROT_EXEC
    shared = Condition(3, (_SHARED_ANONYMOUS,), mask=_SHARED_ANONYMOUS, among=False)
    return {
        "mmap": Rule((Condition(2, (both,), mask=both, among=False), shared)),
        "mprotect": never_code,
        "pkey_mprotect": never_code,
    }


def _ioctl_rule(*, gpu: bool) -> Rule:
    if gpu:
        return Rule((Condition(1, _IOCTL_REFUSED, among=False),))
    return Rule((Condition(1, _IOCTL_HARMLESS),), error=errno.ENOTTY)

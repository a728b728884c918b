"""Resource limits of a child: what it may use before the kernel says no."""

import resource

from pratique.confine.lock import Lock, Profile

_STACK = 8 * 1024 * 1024
_CPU_MARGIN = 2  # seconds; the keeper measures more exactly, and says why it ended the child


def apply(lock: Lock, *, own_user: bool) -> str:
    """Sets every limit of the lock, soft and hard; returns which. Raises OSError or ValueError.

    Private memory is limited by RLIMIT_DATA for parsers: it does not count the pages of a file that
    is only read, so that a large file can be mapped. The supervisor measures a model's memory
    instead, because devices reserve address space far beyond what they use.
    `own_user` says that the count of processes is kept for this child alone.
    """
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: lock.open_files,
        resource.RLIMIT_FSIZE: lock.file_size,
        resource.RLIMIT_STACK: _STACK,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_NICE: 0,
        resource.RLIMIT_RTPRIO: 0,
    }
    if lock.memory is not None and lock.profile is Profile.PARSER:
        limits[resource.RLIMIT_DATA] = lock.memory
    if lock.cpu_seconds is not None:
        limits[resource.RLIMIT_CPU] = lock.cpu_seconds + _CPU_MARGIN
    if own_user:
        limits[resource.RLIMIT_NPROC] = lock.threads + 1  # the keeper is of the same user
    for limit, value in limits.items():
        hard = resource.getrlimit(limit)[1]
        lowest = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (lowest, lowest))
    return ", ".join(sorted(_NAMES[limit] for limit in limits))


_NAMES = {
    resource.RLIMIT_CORE: "core",
    resource.RLIMIT_NOFILE: "open files",
    resource.RLIMIT_FSIZE: "file size",
    resource.RLIMIT_STACK: "stack",
    resource.RLIMIT_MSGQUEUE: "message queues",
    resource.RLIMIT_NICE: "priority",
    resource.RLIMIT_RTPRIO: "real time",
    resource.RLIMIT_DATA: "memory",
    resource.RLIMIT_CPU: "CPU time",
    resource.RLIMIT_NPROC: "threads",
}

"""One question to one confined child: bytes in, a typed outcome out, nothing left behind."""

import time
from collections.abc import Callable

from pratique.confine import grants, namespaces
from pratique.confine.child import Child
from pratique.confine.lock import Lock, Requirement
from pratique.confine.result import Confinement, JobResult, TimedOut, names
from pratique.errors import ConfinementError

MIB = 1024 * 1024


def run_job(
    module: str,
    request: bytes,
    lock: Lock,
    *,
    max_output: int = 64 * MIB,
    max_stderr: int = 64 * 1024,
    on_note: Callable[[str], None] | None = None,
) -> JobResult:
    """Runs `module.run(request, note)` in a confined child and returns how that ended.

    Guarantees that the lock held as required before the child imported `module` or read `request`,
    that no process is left when it returns or raises, and that a child that dies, hangs, floods or
    runs out of memory is an outcome, not an exception. Does NOT trust the answer: parse it strictly.

    Args:
        module: a module of `pratique.jobs` with `run(request: bytes, note) -> bytes`.
        request: any bytes; sent over a pipe, so that their size is not limited by the kernel.
        lock: what the child may do.
        max_output: longest answer, in bytes.
        max_stderr: how much of the end of what it prints is kept, in bytes.
        on_note: called with each progress note (made printable) while the job runs.

    Raises:
        ConfinementError: the required lock cannot be closed here; `module` was not started.
        ValueError: `module` is not under `pratique.jobs`.
    """
    check_grants(lock)
    began = time.monotonic()
    child = Child(
        module,
        lock,
        request=request,
        max_output=max_output,
        max_stderr=max_stderr,
        on_note=on_note,
    )
    try:
        while not child.finished:
            child.pump(_left(child, lock, began))
    finally:
        child.end()
    confinement = require(child, lock)
    seconds = time.monotonic() - began
    return JobResult(child.outcome(), confinement, child.last_note, child.stderr, seconds)


def _left(child: Child, lock: Lock, began: float) -> float | None:
    """Seconds the child still has; at none, it is given up."""
    if lock.wall_seconds is None:
        return None
    left = lock.wall_seconds - (time.monotonic() - began)
    if left > 0:
        return left
    child.give_up(TimedOut(lock.wall_seconds))
    return None


def check_grants(lock: Lock) -> None:
    """Refuses a lock that grants what is not there: the child would only fail later."""
    for path in grants.missing(lock):
        raise ConfinementError(
            f"{path} is to be read by a confined process, but is not there",
            hint="check the path and its permissions",
        )


def require(child: Child, lock: Lock) -> Confinement:
    """The confinement of a child that was allowed to go on; ConfinementError for any other."""
    if child.exposed:
        raise ConfinementError(
            f"a confined process would be able to reach {child.exposed[1]} through {child.exposed[0]}",
            hint="keep keys, log and home apart from the models and the Python installation",
        )
    confinement = child.confinement
    if confinement is None:
        raise ConfinementError(
            "a confined process could not be started: " + (_last_line(child.stderr) or "no reason"),
            hint="run `pratique doctor`",
        )
    if not child.allowed:
        raise ConfinementError(
            f"the {lock.requirement.value} lock cannot be closed here; "
            f"missing: {names(confinement.lacking)}",
            hint=_hint(confinement, lock.requirement),
        )
    return confinement


def _hint(confinement: Confinement, requirement: Requirement) -> str:
    if not confinement.holds("seccomp"):
        return "seccomp filters are always needed (a kernel with CONFIG_SECCOMP_FILTER, x86_64 or aarch64)"
    if not confinement.holds("landlock") and requirement is Requirement.STRICT:
        return "Landlock needs Linux 5.13 or later and `landlock` in the kernel's lsm= list"
    return namespaces.remedy()


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return "".join(char if char.isprintable() else "�" for char in lines[-1][:300]) if lines else ""

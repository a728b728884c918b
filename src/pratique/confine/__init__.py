"""Children with no way out: namespaces, Landlock, seccomp, limits; no network, no key, no log.

Two ways to use it::

    lock = parser_lock(readable=[snapshot_dir], forbidden=[home / "keys", home / "ledger"])
    result = run_job("pratique.jobs.vet", request_bytes, lock)          # one question, one answer
    match result.outcome:
        case Ok(data=data): ...                # the answer: still hostile, parse it strictly
        case other: refuse(describe(other), result.last_note)

    ours, theirs = socket.socketpair()         # AF_UNIX, SOCK_STREAM
    with start_service("pratique.jobs.model", model_lock(readable=[...]), theirs) as service:
        ...                                    # talk over `ours`; service.wait(), .terminate()

A module under `pratique.jobs` defines `run(request: bytes, note: Callable[[str], None]) -> bytes`
for `run_job`, or `main(channel: socket.socket) -> None` for `start_service`. It is imported only
after the lock is closed. Both functions raise ConfinementError, with a hint, where the host cannot
close the lock that is required; nothing has been started then.
"""

from pratique.confine.job import run_job
from pratique.confine.lock import Lock, Profile, Requirement, model_lock, parser_lock
from pratique.confine.result import (
    Confinement,
    Died,
    Failed,
    Form,
    JobResult,
    Layer,
    Ok,
    Outcome,
    OutOfMemory,
    TimedOut,
    TooMuchOutput,
    describe,
)
from pratique.confine.service import Service, start_service

__all__ = [
    "Confinement",
    "Died",
    "Failed",
    "Form",
    "JobResult",
    "Layer",
    "Lock",
    "Ok",
    "OutOfMemory",
    "Outcome",
    "Profile",
    "Requirement",
    "Service",
    "TimedOut",
    "TooMuchOutput",
    "describe",
    "model_lock",
    "parser_lock",
    "run_job",
    "start_service",
]

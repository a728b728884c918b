"""What the lock holds on this very kernel: found by trying, not by asking for versions.

`probe` starts hostile code (jobs/probe.py) under the lock of each profile and lets it try every
escape against real targets on this side. An escape is held only if the child says that it was
refused and nothing arrived here.
"""

import json
import os
import secrets
import signal
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pratique.confine.job import run_job
from pratique.confine.lock import MIB, Lock, Profile, Requirement
from pratique.confine.result import Confinement, Died, JobResult, Ok
from pratique.errors import ConfinementError

_JOB = "pratique.jobs.probe"
_SECONDS = 60.0

# Every escape that jobs/probe.py knows, by what it is after; one that is not answered is not held.
ESCAPES: Mapping[str, tuple[str, ...]] = {
    "network": (
        *("tcp", "tcp-listen", "udp", "dns", "unix-socket", "abstract-socket"),
        *("socket-pair", "raw-socket", "netlink", "io-uring"),
    ),
    "files": (
        *("read-key", "read-key-by-link", "read-key-by-handle", "list-directory", "append-log"),
        *("truncate-log", "truncate-by-open", "change-mode", "write-outside", "write-library"),
        "unlink-log",
    ),
    "processes": (
        *("signal-parent", "signal-by-owner", "signal-all", "ptrace-parent"),
        *("read-parent-memory", "read-parent-environment", "read-parent-pages"),
        *("steal-descriptor", "fork-bomb", "vfork", "execute", "execute-memory"),
        "outlive-parent",
    ),
    "kernel": (
        *("mount-file-system", "new-user-namespace", "join-namespace", "bpf", "userfaultfd"),
        *("perf-events", "kernel-keys", "kernel-module", "kexec", "change-personality"),
        *("shared-memory", "raise-limits", "dump-core", "regain-capabilities"),
        "physical-memory",
    ),
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One escape under one profile: whether it was refused, and with which error or reach."""

    escape: str
    profile: Profile
    held: bool
    detail: str


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What the probe found. `attempts` is empty where no lock could be closed; `problem` says why."""

    attempts: tuple[Attempt, ...]
    confinement: Confinement | None
    problem: str
    hint: str

    @property
    def escaped(self) -> tuple[Attempt, ...]:
        """The escapes that worked."""
        return tuple(attempt for attempt in self.attempts if not attempt.held)

    @property
    def strict(self) -> bool:
        """Whether a full lock holds here, by its layers and by trial."""
        strict = self.confinement is not None and self.confinement.strict
        return strict and bool(self.attempts) and not self.escaped

    def to_json(self) -> dict[str, object]:
        """Plain values for a report."""
        return {
            "strict": self.strict,
            "confinement": self.confinement.to_json() if self.confinement else None,
            "problem": self.problem,
            "hint": self.hint,
            "attempts": [
                {
                    "escape": attempt.escape,
                    "profile": attempt.profile.value,
                    "held": attempt.held,
                    "detail": attempt.detail,
                }
                for attempt in self.attempts
            ],
        }


def probe(requirement: Requirement = Requirement.REDUCED) -> ProbeReport:
    """Tries every escape under both profiles and returns what held. Harmless where one gets out.

    With the default requirement it reports on any host that has seccomp at all. Never raises for
    what the child does.
    """
    attempts: list[Attempt] = []
    confinement = None
    try:
        for profile in Profile:
            result, found = try_escapes(profile, requirement)
            attempts += found
            confinement = result.confinement
    except ConfinementError as error:
        return ProbeReport((), None, error.message, error.hint)
    return ProbeReport(tuple(attempts), confinement, "", "")


def try_escapes(
    profile: Profile, requirement: Requirement, only: tuple[str, ...] = ()
) -> tuple[JobResult, list[Attempt]]:
    """The escapes named (all, by default) under one profile, and the job they ran in.

    Raises ConfinementError where the required lock cannot be closed.
    """
    with _targets() as targets:
        request = json.dumps({"targets": targets.as_json(), "only": list(only)}).encode()
        lock = Lock(
            profile=profile,
            requirement=requirement,
            forbidden=(targets.directory,),
            memory=512 * MIB,
            wall_seconds=_SECONDS,
            scratch=MIB,
            file_size=MIB,
            threads=4 if profile is Profile.MODEL else 1,
        )
        result = run_job(_JOB, request, lock)
        arrived = targets.arrived()
    if not isinstance(result.outcome, Ok):
        return result, [Attempt(result.last_note or "start", profile, *_ending(result))]
    answers = json.loads(result.outcome.data)
    asked = only or tuple(name for group in ESCAPES.values() for name in group)
    found = [_attempt(name, profile, answers.get(name, _UNANSWERED)) for name in asked]
    found += [Attempt(what, profile, held=False, detail="seen outside") for what in arrived]
    return result, found


_UNANSWERED: Mapping[str, object] = {"reached": "no answer", "error": ""}


def _attempt(name: str, profile: Profile, answer: Mapping[str, object]) -> Attempt:
    reached = answer["reached"]
    if reached is None:
        return Attempt(name, profile, held=True, detail=str(answer["error"]) or "refused")
    return Attempt(name, profile, held=False, detail=str(reached)[:80])


def _ending(result: JobResult) -> tuple[bool, str]:
    """A child that was killed for its attempt did not get out, but ended the trial: not a pass."""
    by_filter = isinstance(result.outcome, Died) and result.outcome.signal == signal.SIGSYS
    return by_filter, result.describe()


@dataclass(frozen=True, slots=True)
class _Outside:
    """The targets of the escapes, all harmless."""

    directory: str
    key: Path
    log: Path
    listeners: Mapping[str, socket.socket]
    abstract_name: str

    def as_json(self) -> dict[str, object]:
        return {
            "tcp_port": self.listeners["tcp"].getsockname()[1],
            "udp_port": self.listeners["udp"].getsockname()[1],
            "unix_path": self.listeners["unix-socket"].getsockname(),
            "abstract_name": self.abstract_name,
            "key": str(self.key),
            "log": str(self.log),
            "directory": self.directory,
            "pid": os.getpid(),
        }

    def arrived(self) -> list[str]:
        """What is seen to have changed or come in on this side."""
        seen = [name for name, listener in self.listeners.items() if _something_came(listener)]
        if not self.log.exists() or self.log.read_bytes() != b"line\n":
            seen.append("log")
        if self.key.stat().st_mode & 0o777 != 0o600:
            seen.append("key")
        known = {self.key.name, self.log.name, "socket"}
        return seen + [x.name for x in Path(self.directory).iterdir() if x.name not in known]


@contextmanager
def _targets() -> Iterator[_Outside]:
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="pratique-probe-"))
        key, log = Path(directory, "signing.key"), Path(directory, "log")
        key.write_bytes(b"secret")
        key.chmod(0o600)
        log.write_bytes(b"line\n")
        abstract = f"pratique-{secrets.token_hex(8)}"
        addresses: dict[str, tuple[int, int, object]] = {
            "tcp": (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            "udp": (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            "unix-socket": (socket.AF_UNIX, socket.SOCK_STREAM, f"{directory}/socket"),
            "abstract-socket": (socket.AF_UNIX, socket.SOCK_STREAM, f"\0{abstract}"),
        }
        listeners = {}
        for name, (family, kind, address) in addresses.items():
            listener = stack.enter_context(socket.socket(family, kind))
            listener.bind(address)  # type: ignore[arg-type]  # an address of its own family
            if kind == socket.SOCK_STREAM:
                listener.listen()
            listener.setblocking(False)
            listeners[name] = listener
        yield _Outside(directory, key, log, listeners, abstract)


def _something_came(listener: socket.socket) -> bool:
    try:
        if listener.type == socket.SOCK_DGRAM:
            listener.recv(64)
        else:
            listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True

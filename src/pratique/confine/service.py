"""A long-lived confined child on an inherited Unix socket: the model worker behind the gateway."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType

from pratique.confine import keeper
from pratique.confine.child import Child
from pratique.confine.job import check_grants, require
from pratique.confine.lock import Lock, Profile
from pratique.confine.result import Confinement, Outcome, TimedOut
from pratique.errors import ConfinementError

_START_SECONDS = 30.0
_TICK = 0.2  # how soon the watcher sees a request to end; never waited for by the caller


def start_service(
    module: str,
    lock: Lock,
    channel: socket.socket,
    *,
    max_stderr: int = 64 * 1024,
    on_exit: Callable[[Outcome], None] | None = None,
) -> "Service":
    """Starts `module.main(channel)` in a confined child and returns once the lock is closed.

    Takes `channel`, a connected Unix stream socket (one end of `socket.socketpair()`), over: it is
    closed here, so that the other end reads an end of file when the child ends. Guarantees that the
    lock held as required before the child imported `module`. The child ends with this process.

    Args:
        module: a module of `pratique.jobs` with `main(channel: socket.socket) -> None`.
        lock: what the child may do (profile MODEL); `wall_seconds` counts from here.
        channel: the child's end.
        max_stderr: how much of the end of what it prints is kept, in bytes.
        on_exit: called once, on the watching thread, when the child has ended.

    Raises:
        ConfinementError: the required lock cannot be closed here, or the child never got that far.
        ValueError: not a module of `pratique.jobs`, not such a socket, or not such a profile.
    """
    if channel.family != socket.AF_UNIX or channel.type != socket.SOCK_STREAM:
        raise ValueError("the channel must be a Unix stream socket: others can be sent elsewhere")
    if lock.profile is not Profile.MODEL:
        raise ValueError("a parser cannot use a socket, not even an inherited one")
    with channel:
        check_grants(lock)
        child = Child(module, lock, channel=channel.fileno(), max_output=0, max_stderr=max_stderr)
    try:
        confinement = _started(child, lock)
    except BaseException:
        child.end()
        raise
    return Service(child, lock, confinement, on_exit)


def _started(child: Child, lock: Lock) -> Confinement:
    deadline = time.monotonic() + _START_SECONDS
    while not child.finished and (child.confinement is None or not child.pid):
        left = deadline - time.monotonic()
        if left <= 0:
            raise ConfinementError(
                f"a confined process did not start within {_START_SECONDS:g} s",
                hint="run `pratique doctor`",
            )
        child.pump(left)
    return require(child, lock)


class Service:
    """A running confined child. A context manager: leaving it ends the child.

    Safe to use from several threads; one thread of its own watches the child.
    """

    def __init__(
        self,
        child: Child,
        lock: Lock,
        confinement: Confinement,
        on_exit: Callable[[Outcome], None] | None,
    ) -> None:
        self._child, self._lock = child, lock
        self.confinement = confinement
        self.pid = child.pid
        self._began = time.monotonic()
        self._kill_at: float | None = None
        self._outcome: Outcome | None = None
        self._ended = threading.Event()
        self._on_exit = on_exit
        self._thread = threading.Thread(target=self._watch, name=f"child-{self.pid}", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Service":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.terminate(grace=0)

    @property
    def outcome(self) -> Outcome | None:
        """How it ended, or None while it runs."""
        return self._outcome

    @property
    def stderr(self) -> str:
        """The tail of what it printed so far: hostile text, for a debug log only."""
        return self._child.stderr

    def wait(self, timeout: float | None = None) -> Outcome | None:
        """Waits for the end; None if `timeout` seconds pass before it."""
        self._ended.wait(timeout)
        return self._outcome

    def terminate(self, grace: float = 5.0) -> Outcome:
        """Asks the child to end, kills it after `grace` seconds, and returns how it ended.

        A child that ignores SIGTERM, or is stuck in a call, is gone when this returns.
        """
        if self._outcome is None:
            self._kill_at = time.monotonic() + grace
            with contextlib.suppress(ProcessLookupError):
                self._child.terminate()
        self._ended.wait()
        assert self._outcome is not None
        return self._outcome

    def memory(self) -> int:
        """Bytes of memory the child holds now, file pages left out; 0 once it has ended."""
        return 0 if self._outcome is not None else keeper.memory_use(self.pid)

    def _watch(self) -> None:
        child = self._child
        try:
            while not child.finished:
                child.pump(_TICK)
                self._end_if_due()
        finally:
            child.end()
            self._outcome = child.outcome()
            self._ended.set()
            if self._on_exit is not None:
                self._on_exit(self._outcome)

    def _end_if_due(self) -> None:
        now = time.monotonic()
        wall = self._lock.wall_seconds
        if wall is not None and now - self._began > wall:
            self._child.give_up(TimedOut(wall))
        if self._kill_at is not None and now > self._kill_at:
            self._child.give_up(None)

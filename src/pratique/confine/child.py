"""The parent's hold on one child: start it, move its bytes, end it, and say how it ended.

The parent survives whatever the child does: every pipe is read without blocking and up to a limit,
every ending is waited for, nothing that the child wrote is interpreted but frame lengths.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pratique.confine import wire
from pratique.confine.lock import OFFLINE_ENVIRONMENT, Lock, Profile
from pratique.confine.result import (
    Confinement,
    Died,
    Failed,
    Ok,
    Outcome,
    OutOfMemory,
    TimedOut,
    TooMuchOutput,
    error_name,
    printable,
)
from pratique.errors import ConfinementError

_CHUNK = 1 << 16
_KEEPER_GRACE = 5.0  # seconds for the keeper to end the child, before both are killed
_OUT_OF_MEMORY_WORDS = (b"memory allocation of", b"bad_alloc", b"Cannot allocate memory")


class Child:
    """One confined process and its keeper. `pump` until `finished`, then ask `outcome`.

    Not for several threads at once. `channel` is a descriptor the child inherits, or -1 for a job
    that answers over the pipe.
    """

    def __init__(
        self,
        module: str,
        lock: Lock,
        *,
        request: bytes = b"",
        channel: int = -1,
        max_output: int,
        max_stderr: int,
        on_note: Callable[[str], None] | None = None,
    ) -> None:
        if not module.startswith("pratique.jobs."):
            raise ValueError(f"{module} is not a program of pratique.jobs")
        self.confinement: Confinement | None = None
        self.allowed = False
        self.exposed: tuple[str, str] | None = None  # a grant, and the secret it would reach
        self.pid = 0
        self.last_note = ""
        self.finished = False
        self._lock = lock
        self._on_note = on_note
        self._max_output, self._max_stderr = max_output, max_stderr
        self._frames = wire.Frames(max_output)
        self._lines, self._stderr = bytearray(), bytearray()
        self._answer: bytes | None = None
        self._ending: Outcome | None = None  # decided by us, or told by the child
        self._report: dict[str, object] = {}
        self._oom_kills = _oom_kills()
        self._open: set[int] = set()
        self._selector = selectors.DefaultSelector()
        self._start(module, lock, request, channel)

    def pump(self, timeout: float | None) -> None:
        """Moves what can be moved now, waiting up to `timeout` seconds for something to move."""
        for key, _ in self._selector.select(timeout):
            if key.fd in self._open:  # the end of one pipe closes the others
                key.data(key.fd)
        if self._ending is not None:
            self._close(self._life)

    def give_up(self, ending: Outcome | None) -> None:
        """Has the child killed, for the reason given; `pump` on to see it end."""
        if self._ending is None:
            self._ending = ending
        self._close(self._life)

    def terminate(self) -> None:
        """Asks the child to end (SIGTERM)."""
        if not self.finished:
            self._process.terminate()

    def end(self) -> None:
        """Ends child and keeper for certain, waits for them, closes every pipe. May be repeated."""
        self._close(self._life)
        deadline = time.monotonic() + _KEEPER_GRACE
        while not self.finished and (left := deadline - time.monotonic()) > 0:
            self.pump(left)
        if not self.finished:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for descriptor in list(self._open):
            self._close(descriptor)
        self._selector.close()

    @property
    def stderr(self) -> str:
        """The tail of what the child printed."""
        return self._stderr.decode(errors="replace")

    def outcome(self) -> Outcome:
        """How it ended; only after `finished`."""
        if self._ending is not None:
            return self._ending
        status = self._report.get("ended")
        if not isinstance(status, int):
            return Died(signal.SIGKILL)  # the keeper was killed, and took the child with it
        match self._report.get("over"):
            case "memory":
                return OutOfMemory()
            case "cpu":
                return TimedOut(float(self._lock.cpu_seconds or 0))
            case "threads":
                return Failed("TooManyThreads")
            case _:
                pass
        if os.WIFSIGNALED(status):
            return self._killed(os.WTERMSIG(status))
        code = os.waitstatus_to_exitcode(status)
        if code != 0:
            return Failed(f"ExitStatus{code}")
        return Ok(self._answer or b"") if self._answered() else Failed("NoAnswer")

    # -- starting ------------------------------------------------------------------------------

    def _start(self, module: str, lock: Lock, request: bytes, channel: int) -> None:
        down_r, self._down = os.pipe()
        life_r, self._life = os.pipe()
        self._control, control_w = os.pipe()
        self._out, out_w = os.pipe()
        self._err, err_w = os.pipe()
        ours = (self._down, self._life, self._control, self._out, self._err)
        theirs = (down_r, life_r, control_w, out_w, err_w)
        self._open.update(ours)
        start = wire.Start(module, lock.to_json(), life_r, control_w, out_w, channel)
        inherited = {life_r, control_w, out_w, *lock.descriptors, channel} - {-1}
        self._channel = channel
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-B", "-m", "pratique.confine.entry"],
                stdin=down_r,
                stdout=err_w,
                stderr=err_w,
                cwd="/",
                env=_environment(lock),
                pass_fds=sorted(inherited),
                start_new_session=True,
            )
        except OSError as error:
            for descriptor in ours:
                self._close(descriptor)
            self._selector.close()
            raise ConfinementError(
                f"no further process can be started here: {error.strerror}",
                hint="look at the limits on processes and memory, or at the Python installation",
            ) from error
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        self._pending = memoryview(wire.start_message(start) + request)
        self._watch(self._down, selectors.EVENT_WRITE, self._feed)
        self._watch(self._control, selectors.EVENT_READ, self._read_control)
        self._watch(self._out, selectors.EVENT_READ, self._read_out)
        self._watch(self._err, selectors.EVENT_READ, self._read_err)

    def _watch(self, descriptor: int, event: int, move: Callable[[int], None]) -> None:
        os.set_blocking(descriptor, False)
        self._selector.register(descriptor, event, move)

    def _close(self, descriptor: int) -> None:
        if descriptor not in self._open:
            return
        self._open.discard(descriptor)
        if descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)
        os.close(descriptor)

    # -- moving --------------------------------------------------------------------------------

    def _feed(self, descriptor: int) -> None:
        try:
            self._pending = self._pending[os.write(descriptor, self._pending[:_CHUNK]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._pending = self._pending[:0]
        if not self._pending:
            self._close(descriptor)

    def _read(self, descriptor: int) -> bytes | None:
        """What is there; empty at the end, None if nothing is there now."""
        try:
            return os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return None

    def _read_control(self, descriptor: int) -> None:
        data = self._read(descriptor)
        if data:
            self._lines += data
            *lines, rest = bytes(self._lines).split(b"\n")
            self._lines = bytearray(rest)
            for line in lines:
                self._take_report(json.loads(line))
        elif data is not None:
            self._finish()

    def _take_report(self, report: dict[str, object]) -> None:
        self._report.update(report)
        found = report.get("confinement")
        if isinstance(found, dict):
            self.confinement = Confinement.from_json(found)
            self.allowed = report.get("allowed") is True
        if isinstance(exposed := report.get("exposed"), list):
            self.exposed = (str(exposed[0]), str(exposed[1]))
        if isinstance(pid := report.get("pid"), int):
            self.pid = pid

    def _finish(self) -> None:
        """Both processes have closed the control pipe: nothing more can come but what is in pipes."""
        self._close(self._control)
        for descriptor, move in ((self._out, self._read_out), (self._err, self._read_err)):
            while descriptor in self._open and self._more(descriptor, move):
                pass
        self.finished = True

    def _more(self, descriptor: int, move: Callable[[int], None]) -> bool:
        """Moves one chunk; whether there was one."""
        with selectors.DefaultSelector() as one:
            one.register(descriptor, selectors.EVENT_READ)
            if not one.select(0):
                return False
        move(descriptor)
        return True

    def _read_err(self, descriptor: int) -> None:
        data = self._read(descriptor)
        if data == b"":
            self._close(descriptor)
        elif data:
            self._stderr += data
            del self._stderr[: -self._max_stderr or None]

    def _read_out(self, descriptor: int) -> None:
        data = self._read(descriptor)
        if data == b"":
            self._close(descriptor)
        elif data and self._ending is None:
            self._take_frames(data)

    def _take_frames(self, data: bytes) -> None:
        try:
            for kind, body in self._frames.feed(data):
                if self._ending is None:
                    self._take_frame(kind, body)
        except wire.TooLong:
            self._ending = TooMuchOutput(self._max_output)

    def _take_frame(self, kind: bytes, body: bytes) -> None:
        if kind == wire.NOTE:
            self.last_note = printable(body.decode(errors="replace"))
            if self._on_note is not None:
                self._on_note(self.last_note)
        elif kind == wire.ANSWER and self._answer is None:
            self._answer = body
        elif kind == wire.MEMORY:
            self._ending = OutOfMemory()
        elif kind == wire.ERROR:
            self._ending = Failed(error_name(body.decode(errors="replace")))
        else:
            self._ending = Failed("ProtocolError")

    # -- judging -------------------------------------------------------------------------------

    def _answered(self) -> bool:
        return self._channel >= 0 or self._answer is not None

    def _killed(self, number: int) -> Outcome:
        if number == signal.SIGKILL and _oom_kills() > self._oom_kills:
            return OutOfMemory()
        if number in {signal.SIGABRT, signal.SIGSEGV} and any(
            word in self._stderr for word in _OUT_OF_MEMORY_WORDS
        ):
            return OutOfMemory()
        return Died(number)


def _environment(lock: Lock) -> dict[str, str]:
    """The whole environment of the child: nothing of the parent's is in it."""
    environment = {
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "PATH": "/nonexistent",
        "USER": "pratique",
        "LOGNAME": "pratique",
        **OFFLINE_ENVIRONMENT,
    }
    if found := python_library(Path("/proc/self/maps")):
        environment["LD_LIBRARY_PATH"] = str(found.parent)
    if lock.profile is Profile.PARSER:
        for library in ("OMP", "OPENBLAS", "MKL", "RAYON"):
            environment[f"{library}_NUM_THREADS"] = str(lock.threads)
    return environment


def python_library(maps: Path) -> Path | None:
    """The shared library this very interpreter runs from, if it has one.

    Some Pythons find theirs through LD_LIBRARY_PATH alone, which a cleared environment lacks.
    """
    try:
        lines = maps.read_text(errors="replace").splitlines()
    except OSError:
        return None
    paths = (Path(line.split(maxsplit=5)[-1]) for line in lines if "/libpython3" in line)
    return next((path for path in paths if path.name.startswith("libpython3")), None)


def _oom_kills() -> int:
    """How many processes the kernel has killed for memory since it started."""
    try:
        with Path("/proc/vmstat").open(encoding="ascii") as lines:
            return next((int(x.split()[1]) for x in lines if x.startswith("oom_kill ")), 0)
    except OSError:
        return 0

"""The child's own start: `python -I -m pratique.confine.entry MODULE`; started by nobody by hand.

Two processes. The keeper (this one) enters the namespaces, forks, and stays outside of the lock: it
waits, measures memory, and ends the child when the parent goes away. The child closes the lock
(closing.py), reports what holds, gives up that channel, and only then imports MODULE and reads the
request. File descriptor 0 brings the lock and the request, 2 takes what is printed; `life` ends
with the parent, `control` takes the reports, `out` the notes and the answer (wire.py).
"""

import contextlib
import importlib
import os
import shutil
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from pratique.confine import closing, grants, linux, namespaces, wire
from pratique.confine.closing import ClosedLock
from pratique.confine.keeper import keep
from pratique.confine.lock import Lock

_REFUSED, _BROKEN = 3, 4
_TEMPORARY = "/tmp"  # noqa: S108  # mode 0700, and a name that cannot be guessed
Program = Callable[[], None]


def main() -> int:
    """The keeper. Returns its exit status; the outcome went over `control`."""
    signal.pthread_sigmask(
        signal.SIG_SETMASK, ()
    )  # what the parent's thread blocked is its business
    start = wire.read_start(0)
    lock = Lock.from_json(start.lock)
    linux.prctl(linux.PR_SET_DUMPABLE, 1)  # the id maps must be writable; the child takes it away
    if exposed := grants.covered_secret(lock):
        wire.send_line(start.control, {"exposed": exposed})
        return _REFUSED
    entered = namespaces.enter()
    scratch = f"{_TEMPORARY}/pratique-{os.urandom(12).hex()}"  # made by the child if it needs it
    gate = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(gate[1])
        os.close(start.life)
        _child(start, lock, ClosedLock(lock, entered, scratch), gate[0])
    linux.prctl(linux.PR_SET_DUMPABLE, 0)
    for descriptor in {gate[0], 0, start.out, start.channel, *lock.descriptors} - {-1}:
        os.close(descriptor)
    try:
        keep(child, start.life, start.control, lock)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return 0


def _child(start: wire.Start, lock: Lock, closed: ClosedLock, gate: int) -> NoReturn:
    """Closes the lock, reports, runs the program, and ends without returning into the keeper."""
    status = _BROKEN
    try:
        _follow_keeper(gate)
        with contextlib.suppress(OSError):  # if memory runs out, this one goes, not the gateway
            Path("/proc/self/oom_score_adj").write_text("1000")
        program = _confined_program(start, lock, closed)
        status = program()
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else _BROKEN
    except BaseException as error:  # noqa: BLE001  # the last frame: whatever it is becomes an outcome
        with contextlib.suppress(Exception):  # a hostile exception may not even be printable
            _say(error)
        with contextlib.suppress(OSError):
            wire.send_error(start.out, error)
    finally:
        os._exit(status)


def _follow_keeper(gate: int) -> None:
    """Die with the keeper, which may be gone already: then the gate's other end is closed."""
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    os.set_blocking(gate, False)
    try:
        if os.read(gate, 1) == b"":
            os._exit(_BROKEN)
    except BlockingIOError:
        pass


def _confined_program(start: wire.Start, lock: Lock, closed: ClosedLock) -> Callable[[], int]:
    if start.channel >= 0:  # process 1 would ignore the signal for want of a handler
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    closed.close_files()
    _set_environment(lock, closed.scratch)
    for module in lock.preload:
        importlib.import_module(module)
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)  # a change of uid had cleared it
    linux.prctl(linux.PR_SET_DUMPABLE, 0)
    closed.close_calls()
    confinement = closed.confinement
    allowed = closing.enough(confinement, lock.requirement)
    wire.send_report(start.control, confinement.to_json(), allowed=allowed)
    if not allowed:
        os._exit(_REFUSED)
    os.close(start.control)
    os.dup2(2, 1)
    if start.channel >= 0:
        return lambda: _serve(start)
    return lambda: _answer(start)


def _set_environment(lock: Lock, scratch: str) -> None:
    """Where home, temp and caches are; the rest was set, on a cleared environment, by the parent."""
    home = f"{scratch}/home" if scratch else "/nonexistent"
    os.environ["HOME"] = home
    if scratch:
        os.environ.update(TMPDIR=scratch, HF_HOME=f"{home}/hf", XDG_CACHE_HOME=home)
    os.environ.update(dict(lock.environment))


def _answer(start: wire.Start) -> int:
    module = importlib.import_module(start.module)
    request = wire.read_all(0)
    answer = module.run(request, lambda text: wire.send_note(start.out, text))
    wire.send_answer(start.out, answer)
    return 0


def _serve(start: wire.Start) -> int:
    module = importlib.import_module(start.module)
    with socket.socket(fileno=start.channel) as channel:
        module.main(channel)
    return 0


def _say(error: BaseException) -> None:
    """To the pipe that the parent keeps the end of."""
    traceback.print_exception(error, limit=-20)
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())

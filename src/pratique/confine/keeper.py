"""The keeper of one child: ends it with the parent, at a measured limit, or when asked to.

The keeper reads nothing from the child. It runs outside of the lock, holds no secret, and ends as
soon as the child has ended and been waited for, so that no zombie and no orphan is left.
"""

import os
import select
import signal
import time
from collections.abc import Callable

from pratique.confine import linux, wire
from pratique.confine.lock import Lock

_POLL_MILLISECONDS = 50


def keep(child: int, life: int, control: int, lock: Lock) -> None:
    """Waits for the child and reports on `control` how it ended: `{"ended": status, …}`.

    Kills it when `life` ends (the parent is gone, or gives it up) or when its memory, CPU time or
    number of threads exceeds the lock's. SIGTERM to the keeper is passed on to the child.
    """
    wakeup = _wake_on_signals(lambda: os.kill(child, signal.SIGTERM))
    wire.send_line(control, {"pid": child})
    poll = select.poll()
    poll.register(life, select.POLLIN | select.POLLHUP)
    poll.register(wakeup, select.POLLIN)
    over = ""
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            wire.send_line(control, {"ended": status, "over": over})
            return
        events = dict(poll.poll(_POLL_MILLISECONDS))
        if life in events:
            os.kill(child, signal.SIGKILL)
            poll.unregister(life)
        if wakeup in events:
            _drain(wakeup)
        if not over and (over := _over_limit(child, lock)):
            os.kill(child, signal.SIGKILL)


def _over_limit(child: int, lock: Lock) -> str:
    """Which measured limit is exceeded: `memory`, `cpu`, `threads`, or none.

    No resource limit counts shared memory, or the threads of root; the one on CPU time counts in
    ticks, which are far off on a busy machine.
    """
    if lock.memory is not None and memory_use(child) > lock.memory:
        return "memory"
    if lock.cpu_seconds is not None and cpu_time(child) >= lock.cpu_seconds:
        return "cpu"
    threads = linux.status_field("Threads", str(child))
    return "threads" if threads and int(threads) > lock.threads else ""


def cpu_time(pid: int) -> float:
    """Seconds of CPU time all threads of a process have used (clock_getcpuclockid(3))."""
    scheduler_clock = 2
    try:
        return time.clock_gettime((~pid << 3) | scheduler_clock)
    except OSError:
        return 0.0


def memory_use(pid: int) -> int:
    """Bytes of private and shared memory a process holds now, pages of files left out."""
    kilobytes = 0
    for name in ("RssAnon", "RssShmem"):
        value = linux.status_field(name, str(pid))
        kilobytes += int(value.split()[0]) if value else 0
    return kilobytes * 1024


def _wake_on_signals(terminate: Callable[[], None]) -> int:
    """A pipe that becomes readable at SIGCHLD and SIGTERM, so that poll() misses neither."""
    readable, writable = os.pipe()
    for end in (readable, writable):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: terminate())
    return readable


def _drain(descriptor: int) -> None:
    try:
        while os.read(descriptor, 512):
            pass
    except BlockingIOError:
        return

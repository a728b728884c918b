"""Die, or fail, at the n-th system call that changes the disk.

`run_and_die_at(n, work)` runs `work` in a forked child that is gone, without any clean-up, just before
its n-th changing call (a write is cut in half first). `failing_at(n, code)` raises OSError there
instead. Both return or tell how many such calls there were, so that a test can try every one.
"""

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

CHANGING = (
    "write",
    "rename",
    "replace",
    "link",
    "symlink",
    "mkdir",
    "rmdir",
    "unlink",
    "remove",
    "chmod",
    "fchmod",
    "fsync",
    "fdatasync",
    "truncate",
    "ftruncate",
)
DIED = 77


@dataclass
class Fault:
    """Counts changing calls; at the chosen one, does what `strike` does."""

    at: int
    strike: Callable[[], None]
    count: int = 0
    log: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def hits(self, name: str) -> bool:
        with self.lock:
            self.count += 1
            self.log.append(name)
            return self.count == self.at


def _install(fault: Fault, patch: pytest.MonkeyPatch) -> None:
    for name in CHANGING:
        real = getattr(os, name)

        def call(*args: Any, _name: str = name, _real: Any = real, **rest: Any) -> Any:
            if fault.hits(_name):
                if _name == "write" and len(args[1]) > 1:
                    _real(args[0], memoryview(args[1])[: len(args[1]) // 2])
                fault.strike()
            return _real(*args, **rest)

        patch.setattr(os, name, functools.wraps(real)(call))
    open_ = os.open

    def open_call(path: Any, flags: int, *args: Any, **rest: Any) -> int:
        if flags & os.O_CREAT and fault.hits("creat"):
            fault.strike()
        return open_(path, flags, *args, **rest)

    patch.setattr(os, "open", open_call)


def run_and_die_at(at: int, work: Callable[[], object]) -> bool:
    """Run `work` in a child that dies at its `at`-th changing call. Returns whether it died there.

    Raises AssertionError if the child failed in another way.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            fault = Fault(at, lambda: os._exit(DIED))
            patch = pytest.MonkeyPatch()
            _install(fault, patch)
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in {0, DIED}, f"the child failed by itself at call {at}: {code}"
    return code == DIED


@contextlib.contextmanager
def failing_at(at: int, code: int) -> Iterator[Fault]:
    """Inside, the `at`-th changing call raises OSError(code). 0: none does; only count."""

    def strike() -> None:
        raise OSError(code, os.strerror(code))

    fault = Fault(at, strike)
    with pytest.MonkeyPatch.context() as patch:
        _install(fault, patch)
        yield fault

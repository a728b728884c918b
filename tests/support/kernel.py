"""Kill, or fail, a piece of work at the n-th invocation of one system call, by strace.

The work runs in a child forked from this process, where everything is imported already, so that its
system calls are those of the work. strace attaches to it, injects, and lets go. It counts each system
call of each thread by itself; so does `counted`.

Needs strace and the right to trace one's own children. Where a host forbids that, the tests that use
this fail; PRATIQUE_NO_PTRACE=1 waives them, and says so in the test report.
"""

import ctypes
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pratique.errors import PratiqueError

WRITING = (
    *("write", "pwrite64", "writev", "openat", "creat", "copy_file_range", "sendfile", "ioctl"),
    *("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat"),
    *("unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "truncate", "ftruncate", "fallocate"),
    *("chmod", "fchmod", "fchmodat", "fsync", "fdatasync", "syncfs", "sync_file_range"),
)
READING = ("read", "readv", "pread64", "preadv", "getdents64", "openat", "fstat", "newfstatat")
_PR_SET_PTRACER = 0x59616D61
_CRASHED = 99
_LINE = re.compile(r"^(\d+) +(\w+)\(")


@dataclass(frozen=True)
class Ending:
    """How the work ended: killed by us, with the exit code of a refusal, or well (0)."""

    killed: bool
    code: int
    output: str


def _may_trace() -> None:
    if os.environ.get("PRATIQUE_NO_PTRACE"):
        pytest.skip("PRATIQUE_NO_PTRACE is set: faults were NOT injected at the kernel's calls")
    if shutil.which("strace") is None:
        pytest.fail("strace is not installed, or set PRATIQUE_NO_PTRACE=1 to go without it")


def counted(work: Callable[[], object], calls: tuple[str, ...]) -> Counter[str]:
    """How often each of `calls` is invoked by `work`, at most, by one thread."""
    with tempfile.NamedTemporaryFile() as log:
        ending = _traced(work, ["-o", log.name, "-e", _set(calls)])
        assert ending.code == 0, ending.output
        found: Counter[tuple[str, str]] = Counter()
        for line in Path(log.name).read_text(errors="replace").splitlines():
            if match := _LINE.match(line):
                found[match[1], match[2]] += 1
    most: Counter[str] = Counter()
    for (_, call), count in found.items():
        most[call] = max(most[call], count)
    return most


def killed_at(work: Callable[[], object], call: str, at: int) -> Ending:
    """Run `work`; SIGKILL it as it enters its `at`-th `call`, which is then not carried out."""
    return _traced(work, ["-o", os.devnull, "-e", f"inject={call}:signal=KILL:when={at}"])


def failed_at(work: Callable[[], object], call: str, at: int, error: str) -> Ending:
    """Run `work`; its `at`-th `call` is not carried out and fails with `error` (ENOSPC, EIO, …)."""
    return _traced(work, ["-o", os.devnull, "-e", f"inject={call}:error={error}:when={at}"])


def _set(calls: tuple[str, ...]) -> str:
    return "trace=" + ",".join(f"?{call}" for call in calls)


def _traced(work: Callable[[], object], options: list[str]) -> Ending:
    _may_trace()
    go, ready = os.pipe()
    with tempfile.TemporaryFile("w+") as output:
        child = os.fork()
        if child == 0:
            os.close(ready)
            _child(work, go, output.fileno())
        os.close(go)
        try:
            return _watch(child, ready, options, output)
        finally:
            os.close(ready)


def _child(work: Callable[[], object], go: int, output: int) -> None:
    """Wait until we are traced, do the work, and end with a code that says how it went."""
    code = _CRASHED
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(-1 & 2**64 - 1), 0, 0, 0)
        select.select([go], [], [])  # none of the calls that are counted
        try:
            work()
            code = 0
        except PratiqueError as error:
            code = error.exit_code
            os.pwrite(output, f"{type(error).__name__}: {error}".encode(), 0)
        except BaseException as error:  # said to the parent, which fails the test
            code = 7 if isinstance(error, OSError) else _CRASHED
            os.pwrite(output, f"{type(error).__name__}: {error}".encode(), 0)
    finally:
        os._exit(code)


def _watch(child: int, ready: int, options: list[str], output: object) -> Ending:
    command = ["strace", "-f", "-p", str(child), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        said = tracer.stderr.readline()
        if "attached" not in said:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            rest = said + tracer.stderr.read()
            pytest.fail(
                f"strace cannot trace here, so no fault was injected: {rest.strip()}. "
                "Set PRATIQUE_NO_PTRACE=1 to go without these tests."
            )
        os.write(ready, b"!")
        _, status = os.waitpid(child, 0)
        tracer.stderr.read()
    code = os.waitstatus_to_exitcode(status)
    output.seek(0)  # type: ignore[attr-defined]
    text = output.read()  # type: ignore[attr-defined]
    return Ending(code == -signal.SIGKILL, max(code, 0), text)

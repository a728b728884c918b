"""Hostile children end badly in every way; the parent survives, names the ending, leaves nothing."""

import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pratique.confine import (
    Died,
    Failed,
    Ok,
    OutOfMemory,
    TimedOut,
    TooMuchOutput,
    model_lock,
    parser_lock,
)
from tests.support import confined
from tests.support.confined import hostile

MIB = 1024 * 1024
READ_STATUS = "status = dict(l.split(':', 1) for l in open('/proc/self/status'))\n"


@pytest.fixture(scope="module")
def python_with_jobs(tmp_path_factory):
    return confined.interpreter(tmp_path_factory.mktemp("endings") / "venv")


@pytest.fixture(autouse=True)
def _jobs_of_the_tests(python_with_jobs, monkeypatch):
    before = set(_children())
    monkeypatch.setattr(sys, "executable", python_with_jobs)
    yield
    assert set(_children()) == before, "a child was left behind"


def _children():
    """Process ids of our children, zombies too."""
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("import ctypes; ctypes.string_at(0)", Died(signal.SIGSEGV)),
        ("import os; os._exit(0)", Failed("NoAnswer")),
        ("import os; os._exit(9)", Failed("ExitStatus9")),
        ("raise RecursionError", Failed("RecursionError")),
        ("raise type('A B\\n', (Exception,), {})", Failed("ProtocolError")),
        ("raise SystemExit(7)", Failed("ExitStatus7")),
        ("raise KeyboardInterrupt", Failed("KeyboardInterrupt")),
        ("raise MemoryError", OutOfMemory()),
        ("x = bytearray(1 << 40)", OutOfMemory()),
    ],
)
def test_ending_is_named(text, outcome):
    assert hostile(text, parser_lock()).outcome == outcome


def test_stack_overflow_in_native_code_is_a_death():
    text = (
        "import sys; sys.setrecursionlimit(10**9)\n"
        "class A:\n def __getattr__(s, n): return getattr(s, n + 'a')\n"
        "x = []\nfor _ in range(10**6): x = [x]\nrepr(x)"
    )
    assert isinstance(hostile(text, parser_lock()).outcome, Died | Failed | OutOfMemory)


def test_abort_is_a_death():
    outcome = hostile("import os; os.abort()", parser_lock()).outcome
    assert outcome in {Died(signal.SIGABRT), Died(signal.SIGSEGV)}  # process 1 cannot send SIGABRT


def test_a_sleeper_is_ended_by_the_clock():
    lock = parser_lock(wall_seconds=0.5)
    assert hostile("import time; time.sleep(60)", lock).outcome == TimedOut(0.5)


def test_a_child_that_ignores_every_signal_is_ended_by_the_clock():
    text = "import signal\nfor n in range(1, 65):\n  try: signal.signal(n, signal.SIG_IGN)\n"
    text += "  except (OSError, ValueError): pass\nwhile True: pass"
    assert hostile(text, parser_lock(wall_seconds=0.5)).outcome == TimedOut(0.5)


def test_a_busy_loop_is_ended_by_its_cpu_limit():
    lock = parser_lock(cpu_seconds=1, wall_seconds=60)
    assert hostile("while True: pass", lock).outcome == TimedOut(1.0)


def test_a_long_answer_is_cut_off():
    text = "import os\nout = 'x' * (5 * 1024 * 1024)"
    assert hostile(text, parser_lock(), max_output=MIB).outcome == TooMuchOutput(MIB)


def test_an_answer_of_just_the_limit_passes():
    result = hostile("out = 'x' * 1022", parser_lock(), max_output=1024)
    assert result.outcome == Ok(b'"' + b"x" * 1022 + b'"')


@pytest.mark.parametrize(
    "raw",
    [
        b"R\xff\xff\xff\xff",  # an answer said to be 4 GiB long
        b"N\xff\xff\xff\xff",  # a note of that length
        b"Z\x01\x00\x00\x00x",  # no such frame
        b"R\x01\x00\x00\x00xR\x01\x00\x00\x00y",  # two answers
        b"{}" * 4096,  # the control pipe's language
    ],
)
def test_forged_frames_are_no_answer(raw):
    """The child may write what it likes to every descriptor it has."""
    text = (
        f"import os\nfor fd in range(3, 64):\n  try: os.write(fd, {raw!r})\n  except OSError: pass"
    )
    outcome = hostile(text, parser_lock(wall_seconds=20)).outcome
    assert isinstance(outcome, Failed | TooMuchOutput)


def test_the_report_of_the_lock_cannot_be_forged():
    """Only three pipes reach it, and the control pipe, which carries that report, is closed."""
    text = "import os\nout = []\nfor fd in range(256):\n  try: out.append((fd, os.readlink(f'/proc/self/fd/{fd}')))\n  except OSError: pass"
    outcome = hostile(text, parser_lock()).outcome
    assert isinstance(outcome, Ok)
    assert outcome.data.count(b"pipe:") == 5  # request, stdout and stderr, notes, the keeper's gate
    assert outcome.data.count(b"/") <= 1  # the directory that is being listed


def test_notes_survive_a_sudden_death():
    result = hostile("note('config.json')\nimport os, ctypes; ctypes.string_at(0)", parser_lock())
    assert (result.outcome, result.last_note) == (Died(signal.SIGSEGV), "config.json")
    assert result.describe() == "was killed by SIGSEGV while at config.json"


def test_notes_cannot_write_to_the_terminal():
    seen = []
    hostile(
        "note('\\x1b]0;owned\\x07\\n\\u202e' + 'x' * 10000)", parser_lock(), on_note=seen.append
    )
    assert len(seen[0]) == 512
    assert seen[0].isprintable()
    assert seen[0].startswith("\N{REPLACEMENT CHARACTER}]0;owned")


def test_a_flood_of_notes_and_messages_keeps_the_parent_small():
    text = "import sys\nfor n in range(20000):\n  note(str(n)); sys.stderr.write('e' * 100)"
    result = hostile(text, parser_lock(), max_stderr=1000)
    assert isinstance(result.outcome, Ok)
    assert result.last_note == "19999"
    assert result.stderr == "e" * 1000


def test_closing_every_pipe_is_no_answer():
    text = "import os\nos.closerange(0, 256)\nos._exit(0)"
    assert hostile(text, parser_lock()).outcome == Failed("NoAnswer")


def test_a_large_request_that_nobody_reads_does_not_hang():
    text = "raise ValueError\n#" + "x" * (8 * MIB)
    assert hostile(text, parser_lock()).outcome == Failed("ValueError")


def test_memory_of_the_model_profile_is_measured():
    """Shared memory is in no resource limit; the keeper counts it."""
    text = "import mmap\nm = mmap.mmap(-1, 512 << 20)\nm.write(b'x' * (512 << 20))\n"
    text += "import time; time.sleep(60)"
    lock = model_lock(memory=256 * MIB, wall_seconds=60)
    assert hostile(text, lock).outcome == OutOfMemory()


def test_a_parser_cannot_hide_memory_from_its_limit():
    text = "import mmap\ntry: mmap.mmap(-1, 4096)\nexcept PermissionError: out = 'refused'"
    assert hostile(text, parser_lock()).outcome == Ok(b'"refused"')


def test_a_parser_gets_no_writable_code():
    text = "import mmap\ntry: mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 7)\n"
    text += "except PermissionError: out = 'refused'"
    assert hostile(text, parser_lock()).outcome == Ok(b'"refused"')


def test_a_parser_has_one_thread():
    text = "import threading\ntry: threading.Thread(target=print).start()\n"
    text += "except RuntimeError: out = 'refused'"
    assert hostile(text, parser_lock()).outcome == Ok(b'"refused"')


def test_threads_of_a_model_are_counted():
    text = (
        "import threading, time\nstop = threading.Event()\n"
        "try:\n  for out in range(100000): threading.Thread(target=stop.wait).start()\n"
        "except RuntimeError: pass\nstop.set()"
    )
    result = hostile(text, model_lock(threads=20, wall_seconds=60))
    if os.geteuid() == 0:  # the kernel counts nothing of root's: the keeper does
        assert result.outcome == Failed("TooManyThreads")
    else:
        assert isinstance(result.outcome, Ok)
        assert int(result.outcome.data) < 20


def test_scratch_space_is_limited():
    text = (
        "import os\nout = 0\ntry:\n  for n in range(100):\n"
        "    open(os.environ['TMPDIR'] + f'/{n}', 'wb').write(b'x' * (1 << 20)); out += 1\n"
        "except OSError: pass"
    )
    result = hostile(text, model_lock(scratch=8 * MIB))
    assert result.confinement.holds("mount")
    assert isinstance(result.outcome, Ok)
    assert 1 <= int(result.outcome.data) <= 8


def test_a_library_brought_along_is_not_loaded(tmp_path):
    """Native code in a model directory: readable, never executable."""
    library = next(Path(sys.base_prefix).glob("lib/python3*/lib-dynload/_struct*.so"), None)
    if library is None:
        pytest.skip("this Python has its modules built in")
    (tmp_path / "payload.so").write_bytes(library.read_bytes())
    text = f"import ctypes\nopen({str(tmp_path / 'payload.so')!r}, 'rb').read()\n"
    text += (
        f"try: ctypes.CDLL({str(tmp_path / 'payload.so')!r})\nexcept OSError as e: out = 'refused'"
    )
    assert hostile(text, model_lock(readable=[tmp_path])).outcome == Ok(b'"refused"')


def test_the_environment_is_ours(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalr")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("LD_PRELOAD", "")
    result = hostile("import os; out = dict(os.environ)", model_lock(environment={"A": "1"}))
    assert isinstance(result.outcome, Ok)
    assert b"wJalr" not in result.outcome.data
    assert b'"HF_HUB_OFFLINE": "1"' in result.outcome.data
    assert b'"A": "1"' in result.outcome.data
    assert b"LD_PRELOAD" not in result.outcome.data


def test_no_packet_can_leave():
    """Its network has one interface, the loopback, which is down and has carried nothing."""
    text = (
        "out = [open('/proc/self/net/' + f).read().split('\\n', 2)[-1] for f in ('dev', 'route')]"
    )
    text += " + [open('/proc/self/net/fib_trie').read(), open('/proc/self/net/if_inet6').read()]"
    result = hostile(text, model_lock())
    assert result.confinement.holds("network")
    assert isinstance(result.outcome, Ok)
    devices, *addresses = eval(result.outcome.data)
    assert addresses == ["", "", ""]
    for line in devices.strip().splitlines():
        assert not any(int(count) for count in line.split(":")[1].split()), line


@pytest.mark.skipif(platform.machine() != "x86_64", reason="foreign call tables of x86_64")
@pytest.mark.parametrize(
    "machine_code",
    [
        b"\xb8\x14\x00\x00\x00\xcd\x80\xc3",  # mov eax, 20; int 0x80 (getpid of i386)
        b"\xb8\x27\x00\x00\x40\x0f\x05\xc3",  # mov eax, 0x40000027; syscall (getpid of x32)
    ],
    ids=["i386", "x32"],
)
def test_a_call_through_a_foreign_table_kills(machine_code):
    """Filters that look at numbers alone are passed by calls of another ABI (seccomp(2), CAVEATS)."""
    text = (
        "import ctypes, mmap\nm = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 7)\n"
        f"m.write({machine_code!r})\n"
        "ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()"
    )
    assert hostile(text, model_lock()).outcome == Died(signal.SIGSYS)


def test_the_child_ends_with_its_parent(python_with_jobs, tmp_path):
    """The parent is killed without a chance to clean up."""
    ready = tmp_path / "ready"
    ready.touch()
    source = (
        "import sys; sys.executable = sys.argv[1]\n"
        "from pratique.confine import run_job, model_lock\n"
        "text = b\"import time; open(%r, 'w').write('x'); time.sleep(600)\" % sys.argv[2]\n"
        "run_job('pratique.jobs.hostile', text, model_lock(writable=[sys.argv[2]]))"
    )
    parent = subprocess.Popen([python_with_jobs, "-c", source, python_with_jobs, str(ready)])
    try:
        with ready.open() as file:
            while not file.read(1):
                assert parent.poll() is None
        keeper = int(Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text())
        child = int(Path(f"/proc/{keeper}/task/{keeper}/children").read_text())
        watched = os.pidfd_open(child)
    finally:
        parent.kill()
        parent.wait()
    _wait_for_end(watched)


def _wait_for_end(pidfd):
    import select

    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    assert poll.poll(20_000), "the child outlived its parent"
    os.close(pidfd)

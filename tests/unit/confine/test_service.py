"""A long-lived child behind one socket: talk, end, end badly, be ended."""

import json
import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from pratique.confine import Died, Failed, Ok, TimedOut, model_lock, parser_lock, start_service
from pratique.errors import ConfinementError


class Talk:
    """A service and our end of its channel."""

    def __init__(self, lock=None, **options):
        self.ours, theirs = socket.socketpair()
        self.ours.settimeout(30)
        self.service = start_service(
            "pratique.jobs.hostile", lock or model_lock(), theirs, **options
        )
        assert theirs.fileno() == -1

    def ask(self, text):
        self.ours.sendall(json.dumps(text).encode() + b"\n")
        line = b""
        while not line.endswith(b"\n"):
            part = self.ours.recv(65536)
            if not part:
                return None
            line += part
        return json.loads(line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.service.terminate(grace=0)
        self.ours.close()


def test_it_answers_over_the_channel_until_the_channel_ends():
    with Talk() as talk:
        assert talk.ask("out = 6 * 7") == 42
        assert talk.service.outcome is None
        assert talk.service.wait(timeout=0) is None
        assert talk.service.memory() > 1 << 20
        assert talk.service.confinement.strict
        talk.ours.close()
        assert talk.service.wait(30) == Ok(b"")
        assert talk.service.memory() == 0


def test_its_pid_is_a_process_of_this_machine():
    with Talk() as talk:
        assert talk.ask("import os; out = os.getpid()") == 1
        assert Path(f"/proc/{talk.service.pid}").exists()


def test_a_polite_child_ends_when_asked():
    with Talk() as talk:
        talk.ask("out = 1")
        assert talk.service.terminate(grace=30) == Ok(b"")


def test_a_stubborn_child_is_ended_all_the_same():
    with Talk() as talk:
        talk.ask("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)")
        assert talk.service.terminate(grace=0.3) == Died(signal.SIGKILL)


def test_leaving_the_block_ends_it():
    with Talk() as talk, talk.service:
        talk.ask("out = 1")
    assert talk.service.outcome is not None


def test_ending_twice_is_harmless():
    with Talk() as talk:
        first = talk.service.terminate()
        assert talk.service.terminate() == first == talk.service.wait()


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("import ctypes; ctypes.string_at(0)", Died(signal.SIGSEGV)),
        ("raise LookupError", Failed("LookupError")),
        ("import os; os._exit(5)", Failed("ExitStatus5")),
        ("import os; os.kill(os.getpid(), 9)", None),
    ],
)
def test_a_death_is_seen_and_named(text, outcome):
    seen, told = [], threading.Event()

    def on_exit(ending):
        seen.append(ending)
        told.set()

    with Talk(on_exit=on_exit) as talk:
        answer = talk.ask(text)
        if outcome is None:  # process 1 of a namespace cannot kill itself so
            assert answer is None or talk.ask("out = 1") == 1
            return
        assert answer is None
        assert talk.service.wait(30) == outcome
        assert told.wait(30)
        assert seen == [outcome]


def test_the_kernel_killing_it_is_a_death():
    with Talk() as talk:
        os.kill(talk.service.pid, signal.SIGKILL)
        assert talk.service.wait(30) == Died(signal.SIGKILL)


def test_its_time_can_be_limited():
    with Talk(model_lock(wall_seconds=0.5)) as talk:
        assert talk.service.wait(30) == TimedOut(0.5)


def test_what_it_prints_is_kept_for_a_log():
    with Talk(max_stderr=10) as talk:
        talk.ask("import sys; sys.stderr.write('x' * 1000 + 'the end'); sys.stderr.flush()")
        talk.service.terminate()
        assert talk.service.stderr == "xxxthe end"


def test_a_parser_cannot_be_a_service():
    """Its profile has no socket call at all, not even for one that is inherited."""
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(ValueError, match="parser"):
        start_service("pratique.jobs.hostile", parser_lock(), theirs)


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_only_a_stream_is_a_channel(kind):
    ours, theirs = socket.socketpair(type=kind)
    with ours, theirs, pytest.raises(ValueError, match="stream"):
        start_service("pratique.jobs.hostile", model_lock(), theirs)


def test_a_network_socket_is_no_channel():
    with socket.socket() as listener, pytest.raises(ValueError, match="Unix"):
        start_service("pratique.jobs.hostile", model_lock(), listener)


def test_a_service_that_cannot_read_its_model_is_not_started(tmp_path):
    ours, theirs = socket.socketpair()
    with ours, pytest.raises(ConfinementError):
        start_service("pratique.jobs.hostile", model_lock(readable=[tmp_path / "no"]), theirs)
    assert theirs.fileno() == -1

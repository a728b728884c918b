"""Requests that wait for their grammar: in order, forgotten when cancelled, never in each other's way."""

import queue
import threading
from typing import Any

from pratique.core.wire import Cancel, Failed, Fault, Generate, Stop
from pratique.jobs.worker_intake import Intake
from pratique.jobs.worker_job import Job


class Admitting:
    """Makes jobs when it is told to."""

    def __init__(self) -> None:
        self.begun: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.go: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def __call__(self, request: Generate) -> Any:
        """Wait for the word; raise it if it is an error."""
        self.begun.put(request.id)
        word = self.go.get(timeout=30)
        if isinstance(word, BaseException):
            raise word
        if word is not None:
            return word
        return Job(request=request, prompt=[1], answer=1)


def asked(number: int) -> Generate:
    return Generate(id=number, text="x", schema={})


def made(most: int = 9) -> tuple[Intake, Admitting, Any, Any]:
    admitting, inbox, told = Admitting(), queue.SimpleQueue(), queue.SimpleQueue()
    intake = Intake(admitting, inbox, told.put, most=most)
    intake.start()
    return intake, admitting, inbox, told


def test_jobs_come_in_order_and_stop_comes_after_them():
    intake, admitting, inbox, _ = made()
    for number in (1, 2):
        assert intake.put(asked(number)) is None
        admitting.go.put(None)
    intake.stop(Stop())
    found = [inbox.get(timeout=30) for _ in range(3)]
    assert [job.request.id for job in found[:2]] == [1, 2]
    assert isinstance(found[2], Stop)


def test_who_cancels_while_it_waits_or_is_made_never_reaches_the_engine():
    intake, admitting, inbox, told = made()
    for number in (1, 2, 3):
        intake.put(asked(number))
    assert admitting.begun.get(timeout=30) == 1
    intake.cancel(Cancel(id=1))
    intake.cancel(Cancel(id=2))
    admitting.go.put(None)
    assert admitting.begun.get(timeout=30) == 3
    admitting.go.put(None)
    assert inbox.get(timeout=30).request.id == 3
    intake.cancel(Cancel(id=3))
    assert inbox.get(timeout=30) == Cancel(id=3)
    assert inbox.empty()
    assert told.empty()


def test_too_many_are_told_so():
    intake, admitting, _, _ = made(most=2)
    assert intake.put(asked(1)) is None
    assert intake.put(asked(2)) is None
    assert intake.put(asked(3)) == Failed(id=3, fault=Fault.BUSY)
    admitting.go.put(None)
    admitting.go.put(None)


def test_what_goes_wrong_costs_one_request():
    class Panic(BaseException):
        """As a panic in Rust arrives."""

    intake, admitting, inbox, told = made()
    refused = Failed(id=1, fault=Fault.SCHEMA_KEYWORD, got=3)
    for number, word in enumerate([refused, MemoryError(), Panic(), ValueError("x"), None], 1):
        intake.put(asked(number))
        admitting.go.put(word)
    assert inbox.get(timeout=30).request.id == 5
    faults = [told.get(timeout=30) for _ in range(4)]
    assert faults[0] == refused
    assert [f.fault for f in faults[1:]] == [
        Fault.OUT_OF_MEMORY, Fault.BAD_SCHEMA, Fault.BAD_SCHEMA,
    ]  # fmt: skip


def test_the_stack_is_large_for_its_thread_alone():
    before = threading.stack_size()
    made()
    assert threading.stack_size() == before

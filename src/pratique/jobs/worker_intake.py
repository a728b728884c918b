"""Requests whose answers are held to a grammar wait here, not before everybody else.

Compiling a client's schema takes milliseconds at best; so it happens in a thread of its own, one after
the other. Who sends hostile schemas holds up those who send schemas, and nobody else.
"""

import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel

from pratique.core.wire import Cancel, Failed, Fault, Generate, Stop

if TYPE_CHECKING:
    from pratique.jobs.worker_engine import Inbox
    from pratique.jobs.worker_job import Job

_STACK_BYTES: Final = 64 * 2**20
"""The compiler recurses along chains of `$ref`, of which a schema may have 2,000."""


class Intake:
    """Passes requests on to the engine's inbox once `admit` has made jobs of them."""

    def __init__(
        self,
        admit: "Callable[[Generate], Job | Failed]",
        inbox: "Inbox",
        answer: Callable[[BaseModel], None],
        *,
        most: int,
    ) -> None:
        self._admit = admit
        self._inbox = inbox
        self._answer = answer
        self._most = most
        self._queue: queue.SimpleQueue[Generate | Stop] = queue.SimpleQueue()
        self._waiting: dict[int, bool] = {}
        """Request numbers that wait, and whether somebody still wants them."""
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the thread."""
        before = threading.stack_size(_STACK_BYTES)
        try:
            threading.Thread(target=self._run, daemon=True).start()
        finally:
            threading.stack_size(before)

    def put(self, request: Generate) -> Failed | None:
        """Take a request, or say that too many wait."""
        with self._lock:
            if len(self._waiting) >= self._most:
                return Failed(id=request.id, fault=Fault.BUSY)
            self._waiting[request.id] = True
        self._queue.put(request)
        return None

    def cancel(self, message: Cancel) -> None:
        """Forget a request, wherever it is."""
        with self._lock:
            if message.id in self._waiting:
                self._waiting[message.id] = False
            else:
                self._inbox.put(message)

    def stop(self, message: Stop) -> None:
        """Tell the engine to stop after what already waits."""
        self._queue.put(message)

    def _run(self) -> None:
        while True:
            item = self._queue.get()
            if isinstance(item, Stop):
                self._inbox.put(item)
            else:
                self._pass_on(item)
            del item  # a job that is held here would hold its grammar's place

    def _pass_on(self, request: Generate) -> None:
        outcome = self._made(request) if self._waiting.get(request.id) else None
        with self._lock:
            wanted = self._waiting.pop(request.id, False)
            if not wanted or outcome is None:
                return
            if not isinstance(outcome, Failed):
                self._inbox.put(outcome)
                return
        self._answer(outcome)

    def _made(self, request: Generate) -> "Job | Failed":
        try:
            return self._admit(request)
        except MemoryError:
            return Failed(id=request.id, fault=Fault.OUT_OF_MEMORY)
        except BaseException:  # noqa: BLE001 - the library's panics are no Exception; one request is lost
            return Failed(id=request.id, fault=Fault.BAD_SCHEMA, of_tools=request.schema_ is None)

"""Requests for vectors and labels wait here for their turn.

Who hangs up is forgotten at once, however long the request that runs takes: what is in memory is what
somebody waits for, and never more requests than the limit.
"""

import threading
from collections import deque
from collections.abc import Callable

from pydantic import BaseModel

from pratique.core.wire import Cancel, Classify, Embed, Failed, Fault, Stop


class Waiting:
    """At most `most` requests. Written by one thread, read by another."""

    def __init__(self, most: int, answer: Callable[[BaseModel], None]) -> None:
        self._most = most
        self._answer = answer
        self._changed = threading.Condition()
        self._items: deque[Embed | Classify] = deque()
        self._running: int | None = None
        self._stopping = False

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Embed | Classify | Cancel | Stop) -> None:
        """Take a request, or answer that too many wait; forget one; or take no more."""
        full: Failed | None = None
        with self._changed:
            match item:
                case Stop():
                    self._stopping = True
                case Cancel(id=number):
                    self._items = deque(one for one in self._items if one.id != number)
                    self._running = None if self._running == number else self._running
                case _ if not self._stopping and len(self._items) < self._most:
                    self._items.append(item)
                case _:
                    full = Failed(id=item.id, fault=Fault.BUSY)
            self._changed.notify()
        if full is not None:
            self._answer(full)

    def next(self) -> Embed | Classify | None:
        """Wait for the oldest request. None: stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._stopping)
            item = self._items.popleft() if self._items else None
            self._running = item.id if item else None
            return item

    def wanted(self, number: int) -> bool:
        """Whether somebody still waits for the request that runs."""
        return self._running == number

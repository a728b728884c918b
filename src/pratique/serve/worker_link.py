"""The gateway's end of one worker's socket: requests out, answers in, each to whom it belongs.

A worker that speaks out of turn (malformed frames, answers to questions nobody asked) is treated as
hostile: the link breaks, everybody who waits gets `WorkerGone`, and the supervisor ends the child.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from typing import Final

from pydantic import BaseModel

from pratique.core.load import LoadSpec
from pratique.core.wire import (
    Answer,
    Beat,
    Cancel,
    Done,
    Failed,
    Frames,
    Generate,
    Labels,
    Load,
    Loaded,
    LoadFailed,
    Spoiled,
    Started,
    TokenIds,
    Vectors,
    encode,
    parse_from_worker,
)
from pratique.errors import FormatError

_READ_BYTES: Final = 256 * 1024
_TURN: Final = 64
_MOST_UNREAD: Final = 100_000
"""Answers that one request may have outstanding before its worker counts as gone mad."""


class WorkerGone(Exception):
    """The worker ended, or was cut off, before it answered."""


class Ticket:
    """One request's answers, in order. Leaving it early tells the worker to forget the request."""

    def __init__(self, link: "WorkerLink", number: int, choices: int) -> None:
        self._link = link
        self.number = number
        self._left = choices
        self._answers: asyncio.Queue[Answer | None] = asyncio.Queue(_MOST_UNREAD)
        self._complete = False

    def put(self, answer: Answer | None) -> None:
        """Hand over one answer; None: the worker is gone."""
        try:
            self._answers.put_nowait(answer)
        except asyncio.QueueFull:
            raise FormatError("too many answers to one request") from None

    async def __aiter__(self) -> AsyncIterator[Answer]:
        while not self._complete:
            answer = await self._answers.get()
            if answer is None:
                self._complete = True
                raise WorkerGone
            if isinstance(answer, Failed | Vectors | Labels | TokenIds):
                self._complete = True
            elif isinstance(answer, Done):
                self._left -= 1
                self._complete = self._left == 0
            yield answer

    def close(self) -> None:
        """Say that nobody waits for the rest."""
        self._link.forget(self, cancel=not self._complete)


class WorkerLink:
    """Talks to one worker from its first message to its end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._tickets: dict[int, Ticket] = {}
        self._next = 1
        self._frames = Frames()
        self._pending: list[bytes] = []
        self.beat = Beat(running=0, waiting=0, kv_tokens=0, steps=0)
        self.heard_at = time.monotonic()
        self.spoiled = False
        self.broken = False

    @classmethod
    async def open(cls, sock: socket.socket) -> "WorkerLink":
        """Take over our end of the socket pair."""
        reader, writer = await asyncio.open_unix_connection(sock=sock, limit=_READ_BYTES * 4)
        return cls(reader, writer)

    @property
    def silent_seconds(self) -> float:
        """How long nothing came from the worker although somebody waits; 0 if nobody does."""
        return time.monotonic() - self.heard_at if self._tickets else 0.0

    @property
    def busy(self) -> int:
        """Requests that wait for answers."""
        return len(self._tickets)

    async def load(self, spec: LoadSpec) -> Loaded | LoadFailed:
        """Send the specification; return what became of it. Raises WorkerGone or FormatError."""
        await self._send(Load(spec=spec))
        answer = await self._receive()
        if not isinstance(answer, Loaded | LoadFailed):
            raise FormatError("the worker spoke out of turn")
        return answer

    async def run(self) -> None:
        """Deliver answers until the worker is gone; then tell everybody who waits."""
        try:
            while True:
                for _ in range(_TURN):
                    self._deliver(await self._receive())
                await asyncio.sleep(0)  # reading what is there already does not let others run
        except WorkerGone:
            pass
        except FormatError:
            self.broken = True
        finally:
            for ticket in list(self._tickets.values()):
                with contextlib.suppress(FormatError):
                    ticket.put(None)
            self._tickets.clear()
            self._writer.close()

    async def ask(self, message: BaseModel) -> Ticket:
        """Send a request under a number of its own. Raises WorkerGone, or FormatError if too long."""
        number = self._next
        self._next += 1
        message = message.model_copy(update={"id": number})
        choices = message.n if isinstance(message, Generate) else 1
        ticket = Ticket(self, number, choices)
        if not self._tickets:
            self.heard_at = time.monotonic()
        self._tickets[number] = ticket
        try:
            await self._send(message)
        except BaseException:
            self._tickets.pop(number, None)
            raise
        return ticket

    def forget(self, ticket: Ticket, *, cancel: bool) -> None:
        """Drop a ticket; tell the worker if it still works on it."""
        if self._tickets.pop(ticket.number, None) is not None and cancel:
            with contextlib.suppress(OSError, RuntimeError):
                self._writer.write(encode(Cancel(id=ticket.number)))

    async def tell(self, message: BaseModel) -> None:
        """Send a message that has no answer."""
        await self._send(message)

    def close(self) -> None:
        """Hang up: the worker ends by itself."""
        self._writer.close()

    async def _send(self, message: BaseModel) -> None:
        try:
            self._writer.write(encode(message))
            await self._writer.drain()
        except (OSError, RuntimeError) as error:
            raise WorkerGone from error

    async def _receive(self) -> BaseModel:
        while not self._pending:
            try:
                data = await self._reader.read(_READ_BYTES)
            except OSError as error:
                raise WorkerGone from error
            if not data:
                raise WorkerGone
            self.heard_at = time.monotonic()
            self._pending = list(self._frames.feed(data))
            self._pending.reverse()
        return parse_from_worker(self._pending.pop())

    def _deliver(self, message: BaseModel) -> None:
        match message:
            case Beat():
                self.beat = message
            case Spoiled():
                self.spoiled = True
            case Loaded() | LoadFailed():
                raise FormatError("the worker loaded twice")
            case _:
                number = message.id  # type: ignore[attr-defined]  # every answer has one
                if not 0 < number < self._next:
                    raise FormatError("an answer to a question nobody asked")
                ticket = self._tickets.get(number)
                if ticket is not None:  # else it was cancelled a moment ago
                    ticket.put(message)  # type: ignore[arg-type]  # only answers are left


async def only(ticket: Ticket) -> Answer:
    """Return the one answer of a request that has one. Raises WorkerGone."""
    try:
        async for answer in ticket:
            if not isinstance(answer, Started):
                return answer
    finally:
        ticket.close()
    raise WorkerGone

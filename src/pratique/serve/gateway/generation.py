"""Answers that are generated, whole or streamed, whatever the route calls them.

A route brings a `Shape`: the JSON forms of its pieces. What goes wrong before the worker has understood
the prompt has a status of its own; after that a stream ends with an error event.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.responses import Response

from pratique.core.wire import Answer, Delta, Done, Failed, ScoredToken, Started
from pratique.serve.gateway.app import Gateway
from pratique.serve.gateway.errors import ApiError, of_fault, unavailable
from pratique.serve.gateway.exchange import Exchange
from pratique.serve.gateway.questions import Question
from pratique.serve.gateway.stream import EventStream
from pratique.serve.worker_link import Ticket, WorkerGone

Json = dict[str, Any]


@dataclass(slots=True)
class Choice:
    """One finished choice; in a stream, what of it was not sent yet."""

    index: int
    text: str
    finish: str
    tokens: int
    scores: list[ScoredToken] = field(default_factory=list)


@dataclass(slots=True)
class Answered:
    """One finished request."""

    prompt_tokens: int
    choices: list[Choice]
    cached_tokens: int = 0

    @property
    def completion_tokens(self) -> int:
        """Tokens of all choices."""
        return sum(choice.tokens for choice in self.choices)


class Shape(Protocol):
    """The forms of one route's stream."""

    end: bytes

    def encode(self, value: Json) -> bytes:
        """Return an event."""
        ...

    def opening(self, index: int) -> list[Json]:
        """Return what a choice begins with."""
        ...

    def piece(self, index: int, text: str, scores: list[ScoredToken]) -> list[Json]:
        """Return more text of a choice."""
        ...

    def closing(self, choice: Choice) -> list[Json]:
        """Return a choice's last pieces."""
        ...

    def ending(self, exchange: Exchange) -> list[Json]:
        """Return what a complete stream ends with."""
        ...

    def failure(self, error: ApiError) -> Json:
        """Return what a stream that failed ends with."""
        ...


async def collect(gateway: Gateway, exchange: Exchange, question: Question) -> Answered:
    """Ask and wait for all choices. Raises ApiError, WorkerGone."""
    ticket = await gateway.ask(question.request, exchange)
    answered = Answered(0, [])
    try:
        async for answer in ticket:
            match answer:
                case Started():
                    answered.prompt_tokens = answer.prompt_tokens
                    answered.cached_tokens = answer.cached_tokens
                    exchange.started(answer)
                case Done():
                    answered.choices.append(choice_of(answer))
                    _count(exchange, answer)
                case Failed():
                    raise of_fault(answer, question.fields)
                case _:
                    raise WorkerGone
    finally:
        ticket.close()
    answered.choices.sort(key=lambda choice: choice.index)
    return answered


def choice_of(done: Done) -> Choice:
    """Return a choice as the worker finished it."""
    return Choice(
        done.index, done.text, done.finish.value, done.completion_tokens, list(done.scores)
    )


def _count(exchange: Exchange, done: Done) -> None:
    exchange.said(done.text)
    exchange.completion_tokens += done.completion_tokens
    exchange.finish = done.finish.value


async def stream(
    gateway: Gateway, exchange: Exchange, question: Question, shape: Shape
) -> Response:
    """Start a stream once the worker has understood the prompt: until then errors have a status."""
    ticket = await gateway.ask(question.request, exchange)
    answers = aiter(ticket)
    try:
        first = await anext(answers)
        if isinstance(first, Failed):
            raise of_fault(first, question.fields)
        if not isinstance(first, Started):
            raise WorkerGone
    except BaseException:
        ticket.close()
        raise
    exchange.started(first)
    exchange.streamed = True
    return EventStream(
        _events(gateway, exchange, answers, question, shape),
        on_end=lambda: _ended(gateway, exchange, ticket),
        write_seconds=gateway.settings.write_seconds,
    )


async def _events(
    gateway: Gateway,
    exchange: Exchange,
    answers: AsyncIterator[Answer],
    question: Question,
    shape: Shape,
) -> AsyncGenerator[bytes, None]:
    exchange.finish = "disconnected"
    try:
        for index in range(question.request.n):
            for value in shape.opening(index):
                yield shape.encode(value)
        async with asyncio.timeout(gateway.settings.request_seconds):
            async for answer in answers:
                for value in _pieces(exchange, question, shape, answer):
                    yield shape.encode(value)
        for value in shape.ending(exchange):
            yield shape.encode(value)
        yield shape.end
    except (ApiError, WorkerGone, TimeoutError) as error:
        failure = _failure(error)
        exchange.status, exchange.finish = failure.status, "error"
        yield shape.encode(shape.failure(failure))


def _failure(error: Exception) -> ApiError:
    if isinstance(error, ApiError):
        return error
    if isinstance(error, WorkerGone):
        return unavailable("the worker ended")
    return unavailable("the request took longer than this server allows")


def _ended(gateway: Gateway, exchange: Exchange, ticket: Ticket) -> None:
    ticket.close()
    if exchange.finish == "disconnected":
        exchange.status = 499
    gateway.finish(exchange)


def _pieces(exchange: Exchange, question: Question, shape: Shape, answer: Answer) -> Iterable[Json]:
    match answer:
        case Delta():
            exchange.said(answer.text)
            return shape.piece(answer.index, answer.text, list(answer.scores))
        case Done():
            _count(exchange, answer)
            return shape.closing(choice_of(answer))
        case Failed():
            raise of_fault(answer, question.fields)
        case _:
            raise WorkerGone


def fingerprint(gateway: Gateway) -> str:
    """Return what tells one model on one rung from another."""
    report = gateway.supervisor.report
    rung = report.rung.value if report else "-"
    return f"{gateway.supervisor.model.bundle_id[:16]}-{rung}"


def usage(counts: Answered | Exchange) -> Json:
    """Return the counts in OpenAI's form."""
    return {
        "prompt_tokens": counts.prompt_tokens,
        "completion_tokens": counts.completion_tokens,
        "total_tokens": counts.prompt_tokens + counts.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": counts.cached_tokens},
    }

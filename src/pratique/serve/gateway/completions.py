"""POST /v1/completions."""

import asyncio
import time
from collections.abc import Awaitable

from starlette.responses import JSONResponse, Response

from pratique.core.wire import ScoredToken
from pratique.serve.gateway.app import Gateway
from pratique.serve.gateway.errors import ApiError
from pratique.serve.gateway.exchange import Exchange
from pratique.serve.gateway.fields import CompletionRequest, read
from pratique.serve.gateway.generation import (
    Answered,
    Choice,
    Json,
    collect,
    fingerprint,
    stream,
    usage,
)
from pratique.serve.gateway.questions import of_completion
from pratique.serve.gateway.scores import text_scores
from pratique.serve.gateway.stream import END, event
from pratique.serve.worker_link import WorkerGone


async def completions(gateway: Gateway, exchange: Exchange, body: bytes) -> Response:
    """Continue prompts, whole or (one of them) streamed."""
    asked = read(CompletionRequest, body)
    gateway.check_model(asked.model)
    questions = of_completion(asked)
    for question in questions:
        exchange.asked_all(question.texts)
    shape = _Completion(gateway, asked)
    if asked.stream:
        return await stream(gateway, exchange, questions[0], shape)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_caught(collect(gateway, exchange, q))) for q in questions]
    parts = [_raised(task.result()) for task in tasks]
    for number, part in enumerate(parts):
        for choice in part.choices:
            choice.index += number * (asked.n or 1)
    whole = Answered(
        sum(part.prompt_tokens for part in parts),
        [c for part in parts for c in part.choices],
        sum(part.cached_tokens for part in parts),
    )
    return JSONResponse(shape.whole(whole))


async def _caught(work: Awaitable[Answered]) -> Answered | ApiError | WorkerGone:
    """Keep a task group from wrapping what one of several prompts was refused for."""
    try:
        return await work
    except (ApiError, WorkerGone) as error:
        return error


def _raised(result: Answered | ApiError | WorkerGone) -> Answered:
    if isinstance(result, Exception):
        raise result
    return result


class _Completion:
    """The forms of this route."""

    end = END

    def __init__(self, gateway: Gateway, asked: CompletionRequest) -> None:
        self._head: Json = {
            "id": f"cmpl-{time.time_ns():x}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": asked.model,
            "system_fingerprint": fingerprint(gateway),
        }
        self._usage = bool(asked.stream_options and asked.stream_options.include_usage)

    def whole(self, answered: Answered) -> Json:
        """Return the answer in one piece."""
        return {
            **self._head,
            "choices": [_text(c.index, c.text, c.scores, c.finish) for c in answered.choices],
            "usage": usage(answered),
        }

    def encode(self, value: Json) -> bytes:
        """Return an event."""
        return event(value)

    def opening(self, index: int) -> list[Json]:
        """Return nothing: text completions have no opening."""
        del index
        return []

    def piece(self, index: int, text: str, scores: list[ScoredToken]) -> list[Json]:
        """Return more text."""
        return [{**self._head, "choices": [_text(index, text, scores, None)]}]

    def closing(self, choice: Choice) -> list[Json]:
        """Return a choice's last piece."""
        last = _text(choice.index, choice.text, choice.scores, choice.finish)
        return [{**self._head, "choices": [last]}]

    def ending(self, exchange: Exchange) -> list[Json]:
        """Return the counts, if they were asked for."""
        if not self._usage:
            return []
        return [{**self._head, "choices": [], "usage": usage(exchange)}]

    def failure(self, error: ApiError) -> Json:
        """Return the error."""
        return error.body()


def _text(index: int, text: str, scores: list[ScoredToken], finish: str | None) -> Json:
    return {
        "index": index,
        "text": text,
        "logprobs": text_scores(scores),
        "finish_reason": finish,
    }

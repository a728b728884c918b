"""POST /v1/chat/completions."""

import time

from starlette.responses import JSONResponse, Response

from pratique.core.wire import ScoredToken
from pratique.serve.gateway.app import Gateway
from pratique.serve.gateway.errors import ApiError
from pratique.serve.gateway.exchange import Exchange
from pratique.serve.gateway.fields import ChatRequest, read
from pratique.serve.gateway.generation import (
    Answered,
    Choice,
    Json,
    collect,
    fingerprint,
    stream,
    usage,
)
from pratique.serve.gateway.questions import Question, of_chat
from pratique.serve.gateway.scores import chat_scores
from pratique.serve.gateway.stream import END, event
from pratique.serve.gateway.tools import Held


async def chat(gateway: Gateway, exchange: Exchange, body: bytes) -> Response:
    """Answer messages under the admitted template, whole or streamed."""
    asked = read(ChatRequest, body)
    gateway.check_model(asked.model)
    question = of_chat(asked)
    exchange.asked_all(question.texts)
    shape = _Chat(gateway, asked, question)
    if asked.stream:
        return await stream(gateway, exchange, question, shape)
    return JSONResponse(shape.whole(await collect(gateway, exchange, question)))


class _Chat:
    """The forms of this route."""

    end = END

    def __init__(self, gateway: Gateway, asked: ChatRequest, question: Question) -> None:
        self._head: Json = {
            "id": f"chatcmpl-{time.time_ns():x}",
            "created": int(time.time()),
            "model": asked.model,
            "system_fingerprint": fingerprint(gateway),
        }
        self._usage = bool(asked.stream_options and asked.stream_options.include_usage)
        self._reading = question.reading(gateway.supervisor.loaded.tool_form)
        self._held: dict[int, Held] = {}

    def whole(self, answered: Answered) -> Json:
        """Return the answer in one piece."""
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [self._whole(choice) for choice in answered.choices],
            "usage": usage(answered),
        }

    def _whole(self, choice: Choice) -> Json:
        text, calls = self._reading.split(choice.text)
        message: Json = {"role": "assistant", "content": text, "refusal": None}
        if calls:
            message |= {"tool_calls": [call.plain() for call in calls], "content": text or None}
        return {
            "index": choice.index,
            "message": message,
            "logprobs": chat_scores(choice.scores),
            "finish_reason": "tool_calls" if calls else choice.finish,
        }

    def encode(self, value: Json) -> bytes:
        """Return an event."""
        return event(value)

    def opening(self, index: int) -> list[Json]:
        """Return what a choice begins with."""
        self._held[index] = Held(self._reading)
        return [self._chunk(index, {"role": "assistant", "content": ""})]

    def piece(self, index: int, text: str, scores: list[ScoredToken]) -> list[Json]:
        """Return more text, as far as it is no part of a call."""
        return self._said(index, self._held[index].push(text), scores)

    def closing(self, choice: Choice) -> list[Json]:
        """Return a choice's last pieces: text, calls, the reason for the end."""
        text, calls = self._held[choice.index].finish(choice.text)
        chunks = self._said(choice.index, text, choice.scores)
        if calls:
            numbered = [{"index": at, **call.plain()} for at, call in enumerate(calls)]
            chunks.append(self._chunk(choice.index, {"tool_calls": numbered}))
        finish = "tool_calls" if calls else choice.finish
        return [*chunks, self._chunk(choice.index, {}, finish=finish)]

    def ending(self, exchange: Exchange) -> list[Json]:
        """Return the counts, if they were asked for."""
        if not self._usage:
            return []
        return [{**self._chunks([]), "usage": usage(exchange)}]

    def failure(self, error: ApiError) -> Json:
        """Return the error."""
        return error.body()

    def _said(self, index: int, text: str, scores: list[ScoredToken]) -> list[Json]:
        if not text and not scores:
            return []
        return [self._chunk(index, {"content": text}, scores=chat_scores(scores))]

    def _chunk(
        self, index: int, delta: Json, *, scores: Json | None = None, finish: str | None = None
    ) -> Json:
        choice = {"index": index, "delta": delta, "logprobs": scores, "finish_reason": finish}
        return self._chunks([choice])

    def _chunks(self, choices: list[Json]) -> Json:
        return {**self._head, "object": "chat.completion.chunk", "choices": choices}

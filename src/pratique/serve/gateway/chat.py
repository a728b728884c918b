"""Routes that generate: chat completions, completions, responses; whole or streamed."""

import asyncio
import base64
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import JSONResponse, Response

from pratique.core.wire import Delta, Done, Failed, Generate, Sampling, ScoredToken, Started
from pratique.serve.gateway.app import Gateway
from pratique.serve.gateway.encode import inputs
from pratique.serve.gateway.errors import ApiError, of_fault, unavailable
from pratique.serve.gateway.exchange import Exchange
from pratique.serve.gateway.fields import (
    ChatRequest,
    CompletionRequest,
    ResponsesRequest,
    read,
)
from pratique.serve.gateway.stream import END, EventStream, event
from pratique.serve.gateway.tools import split_calls
from pratique.serve.worker_link import Ticket, WorkerGone

_MOST_PROMPTS = 128


@dataclass(slots=True)
class Choice:
    """One finished choice."""

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

    @property
    def completion_tokens(self) -> int:
        """Tokens of all choices."""
        return sum(choice.tokens for choice in self.choices)


async def chat(gateway: Gateway, exchange: Exchange, body: bytes) -> Response:
    """POST /v1/chat/completions."""
    asked = read(ChatRequest, body)
    gateway.check_model(asked.model)
    if asked.max_tokens is not None and asked.max_completion_tokens is not None:
        raise ApiError(
            400,
            "give only one of 'max_tokens' and 'max_completion_tokens'",
            param="max_tokens",
            code="invalid_value",
        )
    messages = tuple(message.plain() for message in asked.messages)
    for message in messages:
        exchange.asked(str(message["content"]))
    tools = asked.tools if asked.tools and asked.tool_choice != "none" else []
    schema = asked.response_format.schema_for_worker() if asked.response_format else None
    if schema is not None and tools:
        raise ApiError(
            400,
            "unsupported field 'response_format': it cannot be combined with tools",
            param="response_format",
            code="unsupported_field",
        )
    stream = bool(asked.stream)
    request = Generate(
        id=0,
        messages=messages,
        tools=tuple(tool.model_dump(exclude_none=True) for tool in tools),
        sampling=asked.sampling(),
        max_tokens=asked.max_completion_tokens or asked.max_tokens,
        n=asked.n or 1,
        stop=asked.stops(),
        stream=stream and not tools,
        logprobs=asked.scores(),
        ignore_eos=bool(asked.ignore_eos),
        schema=schema,
    )
    shape = _Chat(gateway, asked, frozenset(tool.function.name for tool in tools))
    if stream:
        return await _stream(gateway, exchange, request, shape, asked)
    answered = await _collect(gateway, exchange, request)
    return JSONResponse(shape.whole(answered))


async def completions(gateway: Gateway, exchange: Exchange, body: bytes) -> Response:
    """POST /v1/completions."""
    asked = read(CompletionRequest, body)
    gateway.check_model(asked.model)
    texts, tokens = inputs(asked.prompt)
    prompts: list[dict[str, Any]] = [{"text": text} for text in texts]
    prompts += [{"tokens": row} for row in tokens]
    for text in texts:
        exchange.asked(text)
    if len(prompts) > _MOST_PROMPTS or (asked.stream and len(prompts) > 1):
        raise ApiError(
            400,
            f"field 'prompt': at most {_MOST_PROMPTS} prompts, and only one in a stream",
            param="prompt",
            code="invalid_value",
        )
    requests = [
        Generate(
            id=0,
            **prompt,
            sampling=asked.sampling(),
            max_tokens=asked.max_tokens,
            n=asked.n or 1,
            stop=asked.stops(),
            stream=bool(asked.stream),
            logprobs=asked.logprobs,
            ignore_eos=bool(asked.ignore_eos),
        )
        for prompt in prompts
    ]
    shape = _Completion(gateway, asked)
    if asked.stream:
        return await _stream(gateway, exchange, requests[0], shape, asked)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_caught(_collect(gateway, exchange, r))) for r in requests]
    parts = [_raised(task.result()) for task in tasks]
    for number, part in enumerate(parts):
        for choice in part.choices:
            choice.index += number * (asked.n or 1)
    whole = Answered(
        sum(part.prompt_tokens for part in parts), [c for part in parts for c in part.choices]
    )
    return JSONResponse(shape.whole(whole))


async def responses(gateway: Gateway, exchange: Exchange, body: bytes) -> Response:
    """POST /v1/responses: stateless text in, text out."""
    asked = read(ResponsesRequest, body)
    gateway.check_model(asked.model)
    messages: list[dict[str, Any]] = []
    if asked.instructions is not None:
        messages.append({"role": "system", "content": asked.instructions})
    if isinstance(asked.input, str):
        messages.append({"role": "user", "content": asked.input})
    else:
        messages += [message.plain() for message in asked.input]
    for message in messages:
        exchange.asked(str(message["content"]))
    answered = await _collect(
        gateway,
        exchange,
        Generate(
            id=0,
            messages=tuple(messages),
            sampling=Sampling(temperature=asked.temperature, top_p=asked.top_p),
            max_tokens=asked.max_output_tokens,
        ),
    )
    return JSONResponse(_response(gateway, exchange, asked, answered))


def _response(
    gateway: Gateway, exchange: Exchange, asked: ResponsesRequest, answered: Answered
) -> dict[str, Any]:
    choice = answered.choices[0]
    complete = choice.finish != "length"
    return {
        "id": f"resp_{exchange.request_id}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "completed" if complete else "incomplete",
        "incomplete_details": None if complete else {"reason": "max_output_tokens"},
        "error": None,
        "model": asked.model,
        "instructions": asked.instructions,
        "metadata": {},
        "parallel_tool_calls": False,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "tool_choice": "none",
        "tools": [],
        "store": False,
        "output": [
            {
                "id": f"msg_{exchange.request_id}",
                "type": "message",
                "role": "assistant",
                "status": "completed" if complete else "incomplete",
                "content": [{"type": "output_text", "text": choice.text, "annotations": []}],
            }
        ],
        "usage": {
            "input_tokens": answered.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": answered.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": answered.prompt_tokens + answered.completion_tokens,
        },
        "system_fingerprint": _fingerprint(gateway),
    }


# --- from the worker's answers to a whole -------------------------------------------------------


async def _collect(gateway: Gateway, exchange: Exchange, request: Generate) -> Answered:
    ticket = await gateway.ask(request)
    answered = Answered(0, [])
    try:
        async for answer in ticket:
            match answer:
                case Started():
                    answered.prompt_tokens = answer.prompt_tokens
                    exchange.prompt_tokens += answer.prompt_tokens
                case Done():
                    answered.choices.append(_choice(answer))
                    _count(exchange, answer)
                case Failed():
                    raise of_fault(answer)
                case _:
                    raise WorkerGone
    finally:
        ticket.close()
    answered.choices.sort(key=lambda choice: choice.index)
    return answered


def _choice(done: Done) -> Choice:
    return Choice(
        done.index, done.text, done.finish.value, done.completion_tokens, list(done.scores)
    )


def _count(exchange: Exchange, done: Done) -> None:
    exchange.said(done.text)
    exchange.completion_tokens += done.completion_tokens
    exchange.finish = done.finish.value


async def _caught(work: Any) -> Answered | ApiError | WorkerGone:  # noqa: ANN401 - a coroutine
    """Keep a task group from wrapping what one of several prompts was refused for."""
    try:
        result: Answered = await work
    except (ApiError, WorkerGone) as error:
        return error
    return result


def _raised(result: Answered | ApiError | WorkerGone) -> Answered:
    if isinstance(result, Exception):
        raise result
    return result


# --- streams -------------------------------------------------------------------------------------


async def _stream(
    gateway: Gateway,
    exchange: Exchange,
    request: Generate,
    shape: "_Chat | _Completion",
    asked: ChatRequest | CompletionRequest,
) -> Response:
    """Start a stream once the worker has understood the prompt: until then errors have a status."""
    ticket = await gateway.ask(request)
    answers = aiter(ticket)
    try:
        first = await anext(answers)
        if isinstance(first, Failed):
            raise of_fault(first)
        if not isinstance(first, Started):
            raise WorkerGone
    except BaseException:
        ticket.close()
        raise
    exchange.prompt_tokens = first.prompt_tokens
    exchange.streamed = True
    usage = bool(asked.stream_options and asked.stream_options.include_usage)
    return EventStream(
        _events(gateway, exchange, answers, shape, choices=request.n, usage=usage),
        on_end=lambda: _ended(gateway, exchange, ticket),
        write_seconds=gateway.settings.write_seconds,
    )


async def _events(
    gateway: Gateway,
    exchange: Exchange,
    answers: Any,  # noqa: ANN401 - what is left of the ticket
    shape: "_Chat | _Completion",
    *,
    choices: int,
    usage: bool,
) -> AsyncGenerator[bytes, None]:
    exchange.finish = "disconnected"
    try:
        for index in range(choices):
            for chunk in shape.opening(index):
                yield event(chunk)
        async with asyncio.timeout(gateway.settings.request_seconds):
            async for answer in answers:
                for chunk in _chunks(exchange, shape, answer):
                    yield event(chunk)
        if usage:
            yield event(shape.usage(exchange))
        yield END
    except (ApiError, WorkerGone, TimeoutError) as error:
        failure = error
        if not isinstance(failure, ApiError):
            failure = unavailable(
                "the worker ended"
                if isinstance(error, WorkerGone)
                else "the request took longer than this server allows"
            )
        exchange.status, exchange.finish = failure.status, "error"
        yield event(failure.body())


def _ended(gateway: Gateway, exchange: Exchange, ticket: Ticket) -> None:
    ticket.close()
    if exchange.finish == "disconnected":
        exchange.status = 499
    gateway.finish(exchange)


def _chunks(exchange: Exchange, shape: "_Chat | _Completion", answer: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - an answer
    match answer:
        case Delta():
            exchange.said(answer.text)
            return [shape.piece(answer.index, answer.text, list(answer.scores), None)]
        case Done():
            _count(exchange, answer)
            return shape.closing(_choice(answer))
        case Failed():
            raise of_fault(answer)
        case _:
            raise WorkerGone


def _fingerprint(gateway: Gateway) -> str:
    report = gateway.supervisor.report
    rung = report.rung.value if report else "-"
    return f"{gateway.supervisor.model.bundle_id[:16]}-{rung}"


class _Chat:
    """The forms of /v1/chat/completions."""

    def __init__(self, gateway: Gateway, asked: ChatRequest, tools: frozenset[str]) -> None:
        self._head: dict[str, Any] = {
            "id": f"chatcmpl-{time.time_ns():x}",
            "created": int(time.time()),
            "model": asked.model,
            "system_fingerprint": _fingerprint(gateway),
        }
        self._tools = tools

    def whole(self, answered: Answered) -> dict[str, Any]:
        """Return the answer in one piece."""
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [self._whole(choice) for choice in answered.choices],
            "usage": _usage(answered.prompt_tokens, answered.completion_tokens),
        }

    def _whole(self, choice: Choice) -> dict[str, Any]:
        text, calls = self._split(choice.text)
        message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
        if calls:
            message |= {"tool_calls": calls, "content": text or None}
        return {
            "index": choice.index,
            "message": message,
            "logprobs": _scores(choice.scores),
            "finish_reason": "tool_calls" if calls else choice.finish,
        }

    def _split(self, text: str) -> tuple[str, list[dict[str, Any]]]:
        return split_calls(text, self._tools) if self._tools else (text, [])

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self._head, "object": "chat.completion.chunk", "choices": choices}

    def opening(self, index: int) -> list[dict[str, Any]]:
        """Return what a choice begins with."""
        delta = {"role": "assistant", "content": ""}
        return [self._chunk([_delta(index, delta, None, None)])]

    def piece(
        self, index: int, text: str, scores: list[ScoredToken], finish: str | None
    ) -> dict[str, Any]:
        """Return one piece of text."""
        return self._chunk([_delta(index, {"content": text}, _scores(scores), finish)])

    def closing(self, choice: Choice) -> list[dict[str, Any]]:
        """Return a choice's last pieces."""
        text, calls = self._split(choice.text)
        chunks = []
        if text or choice.scores:
            chunks.append(self.piece(choice.index, text, choice.scores, None))
        if calls:
            numbered = [{"index": at, **call} for at, call in enumerate(calls)]
            chunks.append(self._chunk([_delta(choice.index, {"tool_calls": numbered}, None, None)]))
        finish = "tool_calls" if calls else choice.finish
        chunks.append(self._chunk([_delta(choice.index, {}, None, finish)]))
        return chunks

    def usage(self, exchange: Exchange) -> dict[str, Any]:
        """Return the last chunk with the counts."""
        counts = _usage(exchange.prompt_tokens, exchange.completion_tokens)
        return {**self._chunk([]), "usage": counts}


class _Completion:
    """The forms of /v1/completions."""

    def __init__(self, gateway: Gateway, asked: CompletionRequest) -> None:
        self._head: dict[str, Any] = {
            "id": f"cmpl-{time.time_ns():x}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": asked.model,
            "system_fingerprint": _fingerprint(gateway),
        }

    def whole(self, answered: Answered) -> dict[str, Any]:
        """Return the answer in one piece."""
        return {
            **self._head,
            "choices": [_text(c.index, c.text, c.scores, c.finish) for c in answered.choices],
            "usage": _usage(answered.prompt_tokens, answered.completion_tokens),
        }

    def opening(self, index: int) -> list[dict[str, Any]]:
        """Return nothing: text completions have no opening."""
        del index
        return []

    def piece(
        self, index: int, text: str, scores: list[ScoredToken], finish: str | None
    ) -> dict[str, Any]:
        """Return one piece of text."""
        return {**self._head, "choices": [_text(index, text, scores, finish)]}

    def closing(self, choice: Choice) -> list[dict[str, Any]]:
        """Return a choice's last piece."""
        return [self.piece(choice.index, choice.text, choice.scores, choice.finish)]

    def usage(self, exchange: Exchange) -> dict[str, Any]:
        """Return the last chunk with the counts."""
        counts = _usage(exchange.prompt_tokens, exchange.completion_tokens)
        return {**self._head, "choices": [], "usage": counts}


Shape = Callable[[Answered], dict[str, Any]]


def _delta(
    index: int, delta: dict[str, Any], scores: dict[str, Any] | None, finish: str | None
) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": scores, "finish_reason": finish}


def _text(index: int, text: str, scores: list[ScoredToken], finish: str | None) -> dict[str, Any]:
    logprobs = None
    if scores:
        logprobs = {
            "tokens": [s.token for s in scores],
            "token_logprobs": [s.logprob for s in scores],
            "top_logprobs": [{t.token: t.logprob for t in s.top} for s in scores],
            "text_offset": [],
        }
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}


def _scores(scores: list[ScoredToken]) -> dict[str, Any] | None:
    if not scores:
        return None
    return {
        "content": [
            {**_token(score), "top_logprobs": [_token(other) for other in score.top]}
            for score in scores
        ],
        "refusal": None,
    }


def _token(score: Any) -> dict[str, Any]:  # noqa: ANN401 - TokenScore or ScoredToken
    return {
        "token": score.token,
        "logprob": score.logprob,
        "bytes": list(base64.b64decode(score.data)),
    }


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }

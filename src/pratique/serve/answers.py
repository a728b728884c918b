"""Answers without HTTP: one prompt, a conversation, or a file of them, through the same worker and lock.

A batch resumes: what stands in the output with the same number and the same request is kept, the
rest is asked. The output is written line by line and never holds half a line as its last.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pratique.core.wire import Delta, Done, Embed, Failed, Generate, Started, Vectors
from pratique.errors import FormatError, PratiqueError, ServeError, UnreadableInput
from pratique.formats import json_strict
from pratique.serve.gateway.errors import ApiError, FieldNames, of_fault
from pratique.serve.gateway.exchange import Exchange, Recorder
from pratique.serve.gateway.fields import ChatRequest, CompletionRequest, EmbeddingRequest, read
from pratique.serve.gateway.questions import Question, of_chat, of_completion
from pratique.serve.gateway.scores import chat_scores
from pratique.serve.supervisor import Supervisor
from pratique.serve.worker_link import WorkerGone

_LONGEST_LINE: Final = 8 * 2**20
_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)
_TRIES: Final = 3


@contextlib.asynccontextmanager
async def started(supervisor: Supervisor) -> AsyncIterator[Supervisor]:
    """Start a worker, keep it alive while the block runs, end it. Raises ServeError."""
    await supervisor.start()
    keeping = asyncio.create_task(supervisor.run())
    try:
        yield supervisor
    finally:
        await supervisor.stop()
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError, PratiqueError):
            await keeping


async def pieces(
    supervisor: Supervisor, request: Generate, recorder: Recorder, *, route: str
) -> AsyncIterator[str]:
    """Yield an answer's text as it comes; records the request. Raises ServeError."""
    exchange = Exchange(
        route=route,
        keeps_text=recorder.keeps_text,
        keeps_mark=recorder.keeps_mark,
        streamed=request.stream,
    )
    for message in request.messages or ():
        exchange.asked(str(message.get("content", "")))
    exchange.asked(request.text or "")
    try:
        async for text in _answers(supervisor, request, exchange):
            yield text
    except (ApiError, WorkerGone) as error:
        exchange.status, exchange.finish = 500, "error"
        words = error.message if isinstance(error, ApiError) else "the worker ended"
        raise ServeError(f"no answer: {words}") from error
    finally:
        report = supervisor.report
        recorder.served(exchange, rung=report.rung.value if report else "-")


async def _answers(
    supervisor: Supervisor, request: Generate, exchange: Exchange
) -> AsyncIterator[str]:
    ticket = await supervisor.ask(_of_one_caller(request))
    try:
        async for answer in ticket:
            match answer:
                case Started():
                    exchange.started(answer)
                case Delta():
                    exchange.said(answer.text)
                    yield answer.text
                case Done():
                    exchange.said(answer.text)
                    exchange.completion_tokens += answer.completion_tokens
                    exchange.finish = answer.finish.value
                    yield answer.text
                case Failed():
                    raise of_fault(answer)
                case _:
                    raise WorkerGone
    finally:
        ticket.close()


def _of_one_caller(request: Generate | Embed) -> Generate | Embed:
    """Whoever is at the terminal is the only caller: prompts that begin alike are computed once."""
    return request.model_copy(update={"scope": 0}) if isinstance(request, Generate) else request


# --- batches --------------------------------------------------------------------------------------


class _Line(BaseModel):
    """One line of a batch in the form of OpenAI's Batch API."""

    model_config = _STRICT

    custom_id: str = Field(min_length=1, max_length=256)
    method: str = "POST"
    url: str = "/v1/chat/completions"
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Item:
    """One request of a batch. `digest` pins what was asked, so that a resumed batch cannot mix."""

    number: int
    custom_id: str
    digest: str
    request: Question | Embed | ApiError


def read_batch(path: Path, model: str) -> Iterator[Item]:
    """Yield the requests of a JSONL file. A bad line becomes an item that carries its refusal.

    A line is `{"prompt": …}`, `{"messages": …}` with the fields of the HTTP routes beside them, or
    a line of OpenAI's Batch API. Raises UnreadableInput if the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(_lines(file), start=1):
                if line.strip():
                    yield _item(number, line, model)
    except OSError as error:
        raise UnreadableInput(f"cannot read {path}: {error.strerror}") from error


def _lines(file: Any) -> Iterator[bytes]:  # noqa: ANN401 - a binary file
    while line := file.readline(_LONGEST_LINE + 1):
        if len(line) > _LONGEST_LINE:
            raise UnreadableInput(f"a line is longer than {_LONGEST_LINE} bytes")
        yield line


def _item(number: int, line: bytes, model: str) -> Item:
    digest = hashlib.sha256(line.strip()).hexdigest()
    custom_id = str(number)
    request: Question | Embed | ApiError
    try:
        value = json_strict.parse_object(line.strip(), json_strict.Limits(size=_LONGEST_LINE))
        body, url = value, ""
        if "body" in value:
            parsed = _Line.model_validate(value)
            custom_id, url, body = parsed.custom_id, parsed.url, parsed.body
        request = _request({"model": model, **body}, url)
    except ApiError as error:
        request = error
    except (FormatError, ValidationError):
        request = ApiError(400, "the line is not a request", code="invalid_json")
    return Item(number, custom_id, digest, request)


def _request(body: dict[str, Any], url: str) -> Question | Embed:
    """Read a line as the HTTP route of its `url` would, or by what it holds. Raises ApiError."""
    data = json.dumps(body).encode()
    route = url.rpartition("/v1/")[2] if url else _route_of(body)
    match route:
        case "embeddings":
            asked = read(EmbeddingRequest, data)
            if not isinstance(asked.input, str):
                raise ApiError(400, "field 'input': one text per line", param="input")
            if asked.encoding_format == "float":
                raise _unsupported("encoding_format", "the vectors of a batch are base64")
            return Embed(id=0, texts=(asked.input,))
        case "chat/completions":
            chat = read(ChatRequest, data)
            _whole(chat)
            return of_chat(chat)
        case "completions":
            text = read(CompletionRequest, data)
            _whole(text)
            if not isinstance(text.prompt, str):
                raise ApiError(400, "field 'prompt': one text per line", param="prompt")
            return of_completion(text)[0]
        case _:
            raise _unsupported("url", "no batch goes to this route")


def _route_of(body: dict[str, Any]) -> str:
    if "input" in body:
        return "embeddings"
    return "chat/completions" if "messages" in body else "completions"


def _whole(asked: ChatRequest | CompletionRequest) -> None:
    if asked.stream or asked.stream_options:
        name = "stream" if asked.stream else "stream_options"
        raise _unsupported(name, "the answers of a batch are whole")


def _unsupported(field: str, why: str) -> ApiError:
    return ApiError(
        400, f"unsupported field '{field}': {why}", param=field, code="unsupported_field"
    )


def done_already(path: Path) -> dict[int, str]:
    """Read which items an earlier run answered.

    Cuts off a last line that was never finished, and takes out refusals: those items are asked again,
    and a file that said both would contradict itself.
    """
    found: dict[int, str] = {}
    if not path.exists():
        return found
    with path.open("r+b") as file:
        whole = refused = 0
        for line in file:
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            refused += _is_refusal(line)
            with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
                value = json.loads(line)
                if value.get("error") is None:
                    found[int(value["line"])] = str(value["digest"])
        file.truncate(whole)
    if refused:
        _take_out_refusals(path)
    return found


def _is_refusal(line: bytes) -> bool:
    """Whether an earlier run of ours wrote that an item was refused. Other lines are left alone."""
    try:
        value = json.loads(line)
    except ValueError:
        return False
    return isinstance(value, dict) and value.get("error") is not None and "digest" in value


def _take_out_refusals(path: Path) -> None:
    """In one rename: whoever kills this finds the old file or the new one."""
    beside = path.with_name(f".{path.name}.pratique")
    with path.open("rb") as old, beside.open("wb") as new:
        shutil.copymode(path, beside)
        new.writelines(line for line in old if not _is_refusal(line))
        new.flush()
        os.fsync(new.fileno())
    beside.replace(path)


@dataclass(frozen=True, slots=True)
class Tally:
    """How a batch went."""

    answered: int
    kept: int
    refused: int


async def run_batch(
    supervisor: Supervisor,
    items: Iterator[Item],
    out: TextIO,
    *,
    kept: dict[int, str],
    together: int,
    recorder: Recorder,
    advance: Callable[[], None],
) -> Tally:
    """Answer a batch, `together` requests at a time, each line written when its answer is complete."""
    counts = {"answered": 0, "kept": 0, "refused": 0}
    gate = asyncio.Semaphore(together)

    async def one(item: Item) -> None:
        try:
            line = await _answer_item(supervisor, item, recorder)
        finally:
            gate.release()
        counts["refused" if line["error"] else "answered"] += 1
        out.write(json.dumps(line, ensure_ascii=False) + "\n")
        out.flush()
        advance()

    async with asyncio.TaskGroup() as group:
        for item in items:
            if kept.get(item.number) == item.digest:
                counts["kept"] += 1
                advance()
                continue
            await gate.acquire()
            group.create_task(one(item))
    return Tally(**counts)


async def _answer_item(supervisor: Supervisor, item: Item, recorder: Recorder) -> dict[str, Any]:
    line: dict[str, Any] = {"line": item.number, "custom_id": item.custom_id, "digest": item.digest}
    if isinstance(item.request, ApiError):
        return line | {"response": None, "error": item.request.body()["error"]}
    exchange = Exchange(
        route="batch", keeps_text=recorder.keeps_text, keeps_mark=recorder.keeps_mark
    )
    exchange.asked_all(item.request.texts)
    try:
        answer = await _retried(supervisor, item.request, exchange)
        return line | {"response": answer, "error": None}
    except ApiError as error:
        exchange.status, exchange.finish = error.status, "refused"
        return line | {"response": None, "error": error.body()["error"]}
    finally:
        report = supervisor.report
        recorder.served(exchange, rung=report.rung.value if report else "-")


async def _retried(
    supervisor: Supervisor, request: Question | Embed, exchange: Exchange
) -> dict[str, Any]:
    """Ask; a worker that ends in between is waited for, and the request asked again."""
    for _ in range(_TRIES):
        try:
            return await _asked(supervisor, request, exchange)
        except WorkerGone:
            await supervisor.settled()
    raise ApiError(503, "the worker ended each time", kind="server_error", code="worker_gone")


async def _asked(
    supervisor: Supervisor, request: Question | Embed, exchange: Exchange
) -> dict[str, Any]:
    question = request if isinstance(request, Question) else None
    choices: dict[int, dict[str, Any]] = {}
    message = request.request if isinstance(request, Question) else request
    ticket = await supervisor.ask(_of_one_caller(message))
    try:
        async for answer in ticket:
            match answer:
                case Started():
                    exchange.started(answer)
                case Done() if question:
                    exchange.said(answer.text)
                    exchange.completion_tokens += answer.completion_tokens
                    exchange.finish = answer.finish.value
                    choices[answer.index] = _choice(supervisor, question, answer)
                case Vectors():
                    exchange.prompt_tokens, exchange.finish = answer.prompt_tokens, "stop"
                    return {"embedding": answer.rows[0], "dimensions": answer.dimensions}
                case Failed():
                    raise of_fault(answer, question.fields if question else FieldNames("input"))
                case _:
                    raise WorkerGone
    finally:
        ticket.close()
    return {
        "choices": [choices[index] for index in sorted(choices)],
        "usage": {
            "prompt_tokens": exchange.prompt_tokens,
            "completion_tokens": exchange.completion_tokens,
        },
    }


def _choice(supervisor: Supervisor, question: Question, done: Done) -> dict[str, Any]:
    """Return a finished choice; calls and log-probabilities only where they were asked for."""
    text, calls = question.reading(supervisor.loaded.tool_form).split(done.text)
    found: dict[str, Any] = {"index": done.index, "text": text, "finish": done.finish.value}
    if calls:
        found |= {"finish": "tool_calls", "tool_calls": [call.plain() for call in calls]}
    if question.request.logprobs is not None:
        found["logprobs"] = chat_scores(list(done.scores))
    return found

"""POST /v1/responses: stateless; text, structured text and calls of functions, whole or as events.

The events and their order are those of OpenAI's Responses API: every item is added, filled and done,
in the order of the output, between `response.created` and `response.completed` or `.incomplete`.
"""

import time
from typing import Final

from starlette.responses import JSONResponse, Response

from pratique.core.wire import ScoredToken
from pratique.serve.gateway.app import Gateway
from pratique.serve.gateway.errors import ApiError
from pratique.serve.gateway.exchange import Exchange
from pratique.serve.gateway.fields import read
from pratique.serve.gateway.fields_responses import ResponsesRequest
from pratique.serve.gateway.generation import Choice, Json, collect, fingerprint, stream
from pratique.serve.gateway.questions import Question, of_responses
from pratique.serve.gateway.stream import named_event
from pratique.serve.gateway.tools import Call, Held

_INCOMPLETE: Final = {"length": "max_output_tokens"}


async def responses(gateway: Gateway, exchange: Exchange, body: bytes) -> Response:
    """Answer input without keeping it."""
    asked = read(ResponsesRequest, body)
    gateway.check_model(asked.model)
    question = of_responses(asked)
    exchange.asked_all(question.texts)
    shape = _Responses(gateway, exchange, asked, question)
    if asked.stream:
        return await stream(gateway, exchange, question, shape)
    answered = await collect(gateway, exchange, question)
    return JSONResponse(shape.whole(answered.choices[0], exchange))


class _Responses:
    """The forms of this route. Holds the output as far as it has come."""

    end = b""

    def __init__(
        self, gateway: Gateway, exchange: Exchange, asked: ResponsesRequest, question: Question
    ) -> None:
        self._id = exchange.request_id
        self._asked = asked
        self._fingerprint = fingerprint(gateway)
        self._created = int(time.time())
        self._reading = question.reading(gateway.supervisor.loaded.tool_form)
        self._held = Held(self._reading)
        self._text: str | None = None
        self._output: list[Json] = []
        self._finish = ""
        self._number = -1

    # --- whole ------------------------------------------------------------------------------

    def whole(self, choice: Choice, exchange: Exchange) -> Json:
        """Return the answer in one piece."""
        text, calls = self._reading.split(choice.text)
        self._finish = choice.finish
        if text or not calls:
            self._output.append(self._message(text))
        self._output += [_called(call) for call in calls]
        return self._response(self._status, exchange)

    @property
    def _status(self) -> str:
        return "incomplete" if self._finish in _INCOMPLETE else "completed"

    def _response(self, status: str, exchange: Exchange | None = None) -> Json:
        asked, reason = self._asked, _INCOMPLETE.get(self._finish)
        format_ = asked.text.format if asked.text and asked.text.format else None
        choice = asked.tool_choice
        return {
            "id": f"resp_{self._id}",
            "object": "response",
            "created_at": self._created,
            "status": status,
            "incomplete_details": {"reason": reason} if reason else None,
            "error": None,
            "model": asked.model,
            "instructions": asked.instructions,
            "max_output_tokens": asked.max_output_tokens,
            "metadata": {},
            "parallel_tool_calls": asked.parallel_tool_calls is not False,
            "temperature": asked.temperature,
            "top_p": asked.top_p,
            "text": {
                "format": format_.model_dump(by_alias=True, exclude_none=True)
                if format_
                else {"type": "text"}
            },
            "tool_choice": choice.model_dump()
            if choice and not isinstance(choice, str)
            else choice or "auto",
            "tools": [tool.model_dump() for tool in asked.tools or ()],
            "truncation": "disabled",
            "store": False,
            "output": list(self._output),
            "usage": _usage(exchange) if exchange else None,
            "system_fingerprint": self._fingerprint,
        }

    def _message(self, text: str | None) -> Json:
        """Return the message item; None: it has only begun."""
        return {
            "id": f"msg_{self._id}",
            "type": "message",
            "role": "assistant",
            "status": "in_progress" if text is None else self._status,
            "content": [] if text is None else [_part(text)],
        }

    # --- streamed ---------------------------------------------------------------------------

    def encode(self, value: Json) -> bytes:
        """Return an event."""
        self._number += 1
        return named_event({**value, "sequence_number": self._number})

    def opening(self, index: int) -> list[Json]:
        """Return the beginning of the response."""
        del index
        response = self._response("in_progress")
        return [
            {"type": "response.created", "response": response},
            {"type": "response.in_progress", "response": response},
        ]

    def piece(self, index: int, text: str, scores: list[ScoredToken]) -> list[Json]:
        """Return more text, as far as it is no part of a call."""
        del index, scores
        return self._said(self._held.push(text))

    def closing(self, choice: Choice) -> list[Json]:
        """Return the rest of the text, and the calls."""
        text, calls = self._held.finish(choice.text)
        self._finish = choice.finish
        events = self._said(text)
        if self._text is None and not calls:
            events += self._begin_message()
        if self._text is not None:
            events += self._end_message(self._text)
        for call in calls:
            events += self._call(call)
        return events

    def ending(self, exchange: Exchange) -> list[Json]:
        """Return the whole response."""
        status = self._status
        return [{"type": f"response.{status}", "response": self._response(status, exchange)}]

    def failure(self, error: ApiError) -> Json:
        """Return the error."""
        return {
            "type": "error",
            "code": error.code,
            "message": error.message,
            "param": error.param,
        }

    def _said(self, text: str) -> list[Json]:
        if not text:
            return []
        events = self._begin_message() if self._text is None else []
        self._text = (self._text or "") + text
        return [*events, {**self._place("output_text.delta"), "delta": text, "logprobs": []}]

    def _begin_message(self) -> list[Json]:
        self._text = ""
        return [
            self._item("added", self._message(None)),
            {**self._place("content_part.added"), "part": _part("")},
        ]

    def _end_message(self, text: str) -> list[Json]:
        message = self._message(text)
        events = [
            {**self._place("output_text.done"), "text": text, "logprobs": []},
            {**self._place("content_part.done"), "part": _part(text)},
            self._item("done", message),
        ]
        self._output.append(message)
        return events

    def _call(self, call: Call) -> list[Json]:
        item = _called(call)
        place = {"item_id": item["id"], "output_index": len(self._output)}
        kind = "response.function_call_arguments"
        whole = {"arguments": call.arguments, "name": call.name}
        events = [
            self._item("added", {**item, "arguments": "", "status": "in_progress"}),
            {"type": f"{kind}.delta", **place, "delta": call.arguments},
            {"type": f"{kind}.done", **place, **whole},
            self._item("done", item),
        ]
        self._output.append(item)
        return events

    def _item(self, what: str, item: Json) -> Json:
        return {
            "type": f"response.output_item.{what}",
            "output_index": len(self._output),
            "item": item,
        }

    def _place(self, what: str) -> Json:
        return {
            "type": f"response.{what}",
            "item_id": f"msg_{self._id}",
            "output_index": len(self._output),
            "content_index": 0,
        }


def _part(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _called(call: Call) -> Json:
    return {
        "id": f"fc_{call.id.removeprefix('call_')}",
        "type": "function_call",
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments,
        "status": "completed",
    }


def _usage(exchange: Exchange) -> Json:
    return {
        "input_tokens": exchange.prompt_tokens,
        "input_tokens_details": {"cached_tokens": exchange.cached_tokens},
        "output_tokens": exchange.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": exchange.prompt_tokens + exchange.completion_tokens,
    }

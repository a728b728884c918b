"""Routes with one answer: embeddings, classification, tokens."""

import base64
import struct
from typing import Any

from starlette.responses import JSONResponse, Response

from pratique.core.wire import Classify, Embed, Labels, TokenIds, Tokenize, Vectors
from pratique.serve.gateway.app import Gateway
from pratique.serve.gateway.errors import ApiError, FieldNames
from pratique.serve.gateway.exchange import Exchange
from pratique.serve.gateway.fields import (
    ClassifyRequest,
    EmbeddingRequest,
    TokenizeRequest,
    read,
)

MOST_INPUTS = 2048
_MOST_TOKEN = 2**31
_INPUT = FieldNames("input")


async def embeddings(gateway: Gateway, exchange: Exchange, body: bytes) -> Response:
    """POST /v1/embeddings."""
    asked = read(EmbeddingRequest, body)
    gateway.check_model(asked.model)
    texts, tokens = inputs(asked.input)
    for text in texts:
        exchange.asked(text)
    answer = await gateway.ask_one(Embed(id=0, texts=tuple(texts), tokens=tokens), _INPUT)
    assert isinstance(answer, Vectors)
    exchange.prompt_tokens, exchange.finish = answer.prompt_tokens, "stop"
    gateway.supervisor.answered()
    plain = asked.encoding_format == "base64"
    return JSONResponse(
        {
            "object": "list",
            "model": asked.model,
            "data": [
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": row if plain else _floats(row, answer.dimensions),
                }
                for index, row in enumerate(answer.rows)
            ],
            "usage": {"prompt_tokens": answer.prompt_tokens, "total_tokens": answer.prompt_tokens},
        }
    )


def inputs(
    value: str | list[str] | list[int] | list[list[int]],
    field: str = "input",
) -> tuple[list[str], tuple[tuple[int, ...], ...]]:
    """Sort an `input` or `prompt` into texts or token rows. Raises ApiError on mixtures."""
    if isinstance(value, str):
        return [value], ()
    one_row = bool(value) and isinstance(value[0], int)
    if not value or (len(value) > MOST_INPUTS and not one_row):
        raise ApiError(
            400, f"field '{field}': 1 to {MOST_INPUTS} texts", param=field, code="invalid_value"
        )
    rows: Any = [value] if one_row else value
    if isinstance(rows[0], str):
        return list(rows), ()
    if any(not 0 <= token < _MOST_TOKEN for row in rows for token in row):
        raise ApiError(
            400, f"field '{field}': a number that is no token", param=field, code="invalid_value"
        )
    return [], tuple(tuple(row) for row in rows)


def _floats(row: str, dimensions: int) -> list[float]:
    data = base64.b64decode(row)
    if len(data) != 4 * dimensions:
        raise ApiError(500, "the worker could not answer", kind="server_error", code="internal")
    return list(struct.unpack(f"<{dimensions}f", data))


async def classify(gateway: Gateway, exchange: Exchange, body: bytes) -> Response:
    """POST /v1/classify: for each text all labels by score, or a label per token span."""
    asked = read(ClassifyRequest, body)
    gateway.check_model(asked.model)
    texts, _ = inputs(asked.input)
    for text in texts:
        exchange.asked(text)
    answer = await gateway.ask_one(Classify(id=0, texts=tuple(texts)), _INPUT)
    assert isinstance(answer, Labels)
    exchange.prompt_tokens, exchange.finish = answer.prompt_tokens, "stop"
    gateway.supervisor.answered()
    names = gateway.supervisor.loaded.labels
    data = []
    for index, row in enumerate(answer.rows):
        labels: list[dict[str, object]] = []
        for label in row:
            name = names[label.label] if label.label < len(names) else str(label.label)
            entry: dict[str, object] = {"label": name, "score": label.score}
            if label.start >= 0:
                entry |= {"start": label.start, "end": label.end}
            labels.append(entry)
        data.append({"index": index, "labels": labels})
    return JSONResponse(
        {
            "object": "list",
            "model": asked.model,
            "data": data,
            "usage": {"prompt_tokens": answer.prompt_tokens, "total_tokens": answer.prompt_tokens},
        }
    )


async def tokenize(gateway: Gateway, exchange: Exchange, body: bytes) -> Response:
    """POST /tokenize: a text, or messages under the template."""
    asked = read(TokenizeRequest, body)
    if asked.model is not None:
        gateway.check_model(asked.model)
    if (asked.prompt is None) == (asked.messages is None):
        raise ApiError(
            400, "give exactly one of 'prompt' and 'messages'", param="prompt", code="missing_field"
        )
    messages = None
    if asked.messages is not None:
        messages = tuple(message.plain() for message in asked.messages)
    exchange.asked(asked.prompt or "")
    answer = await gateway.ask_one(
        Tokenize(id=0, text=asked.prompt, messages=messages, special=asked.add_special_tokens),
        FieldNames("prompt" if messages is None else "messages"),
    )
    assert isinstance(answer, TokenIds)
    exchange.prompt_tokens, exchange.finish = len(answer.ids), "stop"
    return JSONResponse(
        {
            "count": len(answer.ids),
            "max_model_len": gateway.supervisor.loaded.context,
            "tokens": list(answer.ids),
        }
    )

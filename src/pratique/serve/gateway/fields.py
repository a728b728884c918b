"""What a request may say. A field that is not here is refused by its name, never ignored.

`null` means "not said". A field that OpenAI defines and this server cannot honour is accepted only
with the value that asks for nothing (`store: false`).
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pratique.core.wire import Sampling
from pratique.formats import json_strict
from pratique.serve.gateway.errors import ApiError
from pratique.serve.gateway.fields_tools import NamedTool, ResponseFormat, Tool
from pratique.serve.gateway.said import Said
from pratique.serve.gateway.wrong_fields import refusal

_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)
M = TypeVar("M", bound=BaseModel)

# The first wrong entry of a long list is enough: a body could hold millions, and each costs memory.
FIRST: Any = Field(fail_fast=True)
_Texts = Annotated[list[str], FIRST]
_Row = Annotated[list[int], FIRST]
_Rows = Annotated[list[_Row], FIRST]
_StopText = Annotated[str, Field(max_length=1024)]
Stop = _StopText | Annotated[list[_StopText], Field(max_length=16)]


class TextPart(Said):
    """One text part of a message's content."""

    type: Literal["text", "input_text", "output_text"]
    text: str


class CalledFunction(Said):
    """A function as the assistant called it."""

    name: str
    arguments: str


class ToolCall(Said):
    """A call in an assistant's message."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class Message(Said):
    """One message. `developer` is OpenAI's newer name for `system`."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Annotated[list[TextPart], FIRST] | None = None
    name: str | None = None
    tool_calls: Annotated[list[ToolCall], FIRST] | None = None
    tool_call_id: str | None = None

    def plain(self) -> dict[str, Any]:
        """Return what a template is given."""
        content = self.content
        if isinstance(content, list):
            content = "".join(part.text for part in content)
        message: dict[str, Any] = {
            "role": "system" if self.role == "developer" else self.role,
            "content": content if content is not None else "",
        }
        if self.name is not None:
            message["name"] = self.name
        if self.tool_call_id is not None:
            message["tool_call_id"] = self.tool_call_id
        if self.tool_calls:
            message["tool_calls"] = [_called(call) for call in self.tool_calls]
        return message


def _called(call: ToolCall) -> dict[str, Any]:
    """Return a call as templates expect it: arguments as an object where they are one."""
    try:
        arguments: Any = json_strict.parse(call.function.arguments.encode())
    except ValueError:
        arguments = call.function.arguments
    except Exception:  # noqa: BLE001 - foreign text of any kind: hand it over as it is
        arguments = call.function.arguments
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.function.name, "arguments": arguments},
    }


class StreamOptions(Said):
    """What a stream ends with. Nothing is padded, so only that can be asked for."""

    include_usage: bool = False
    include_obfuscation: Literal[False] | None = None


class _Sampled(BaseModel):
    """Fields that all generating routes share."""

    model_config = _STRICT

    model: str
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=-1, lt=2**31)
    min_p: float | None = Field(default=None, ge=0, le=1)
    n: int | None = Field(default=None, ge=1, le=128)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: Stop | None = None
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    repetition_penalty: float | None = Field(default=None, gt=0, le=10)
    logit_bias: dict[str, float] | None = Field(default=None, max_length=1024)
    ignore_eos: bool | None = None
    store: Literal[False] | None = None

    def sampling(self) -> Sampling:
        """Return the settings as the worker takes them."""
        return Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=None if self.top_k is None else max(self.top_k, 0),
            min_p=self.min_p,
            presence_penalty=self.presence_penalty or 0.0,
            frequency_penalty=self.frequency_penalty or 0.0,
            repetition_penalty=self.repetition_penalty,
            seed=self.seed,
            logit_bias=self._bias(),
        )

    def _bias(self) -> dict[int, float]:
        found = {}
        for token, value in (self.logit_bias or {}).items():
            if not token.isascii() or not token.isdecimal() or not -100 <= value <= 100:
                raise ApiError(
                    400,
                    "field 'logit_bias': maps token ids to numbers from -100 to 100",
                    param="logit_bias",
                    code="invalid_value",
                )
            found[int(token[:18])] = value
        return found

    def stops(self) -> tuple[str, ...]:
        """Return the stop strings."""
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return tuple(stop for stop in stops if stop)


class ChatRequest(_Sampled):
    """POST /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1, max_length=4096)
    max_tokens: int | None = Field(default=None, ge=1, lt=2**31)
    max_completion_tokens: int | None = Field(default=None, ge=1, lt=2**31)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    response_format: ResponseFormat | None = None
    tools: list[Tool] | None = Field(default=None, max_length=128)
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None

    def scores(self) -> int | None:
        """Return how many alternatives are asked for, None for no log-probabilities."""
        if self.top_logprobs is not None and not self.logprobs:
            raise ApiError(
                400,
                "field 'top_logprobs': needs 'logprobs' to be true",
                param="top_logprobs",
                code="invalid_value",
            )
        return (self.top_logprobs or 0) if self.logprobs else None


class CompletionRequest(_Sampled):
    """POST /v1/completions."""

    prompt: str | _Texts | _Row | _Rows
    max_tokens: int | None = Field(default=16, ge=1, lt=2**31)
    logprobs: int | None = Field(default=None, ge=0, le=5)
    echo: Literal[False] | None = None
    best_of: Literal[1] | None = None


class EmbeddingRequest(BaseModel):
    """POST /v1/embeddings."""

    model_config = _STRICT

    model: str
    input: str | _Texts | _Row | _Rows
    encoding_format: Literal["float", "base64"] | None = None


class ClassifyRequest(BaseModel):
    """POST /v1/classify: sequence or token classification, as the model does."""

    model_config = _STRICT

    model: str
    input: str | _Texts


class TokenizeRequest(BaseModel):
    """POST /tokenize."""

    model_config = _STRICT

    model: str | None = None
    prompt: str | None = None
    messages: list[Message] | None = Field(default=None, max_length=4096)
    add_special_tokens: bool = True


def read(kind: type[M], data: bytes, *, depth: int = 64) -> M:
    """Parse a body. Raises ApiError that names the first wrong field and quotes no value."""
    try:
        value = json_strict.parse_object(
            data, json_strict.Limits(size=max(len(data), 1), depth=depth, items=2_000_000)
        )
    except Exception as error:  # the parser's own refusal, or the interpreter's limits
        raise ApiError(
            400, "the body is not a JSON object in UTF-8", code="invalid_json"
        ) from error
    if "chat_template" in value or "chat_template_kwargs" in value:
        name = "chat_template" if "chat_template" in value else "chat_template_kwargs"
        raise ApiError(
            400,
            f"unsupported field '{name}': the template is the admitted one",
            param=name,
            code="unsupported_field",
        )
    try:
        return kind.model_validate({k: v for k, v in value.items() if v is not None})
    except ValidationError as error:
        raise refusal(kind, error) from None

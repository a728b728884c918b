"""What a request to /v1/responses may say: the stateless part of it."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from pratique.serve.gateway.fields import (
    FIRST,
    CalledFunction,
    Message,
    TextPart,
    ToolCall,
)
from pratique.serve.gateway.fields_tools import NAME, Function, Tool
from pratique.serve.gateway.said import Said

_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)
_Status = Literal["in_progress", "completed", "incomplete"]


class AnsweredPart(TextPart):
    """A part of an answer as this server gave it: it may be sent back as it is."""

    annotations: list[dict[str, Any]] | None = Field(default=None, max_length=0)
    logprobs: list[dict[str, Any]] | None = Field(default=None, max_length=0)


class InputMessage(Said):
    """A message among the input."""

    type: Literal["message"] = "message"
    id: str | None = None
    status: _Status | None = None
    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[AnsweredPart], FIRST]

    def plain(self) -> dict[str, Any]:
        """Return what a template is given."""
        parts = self.content
        text = parts if isinstance(parts, str) else "".join(part.text for part in parts)
        return Message(role=self.role, content=text).plain()


class InputCall(Said):
    """A call that the model made earlier."""

    type: Literal["function_call"]
    id: str | None = None
    status: _Status | None = None
    call_id: str
    name: str
    arguments: str

    def plain(self) -> dict[str, Any]:
        """Return what a template is given."""
        called = CalledFunction(name=self.name, arguments=self.arguments)
        call = ToolCall(id=self.call_id, function=called)
        return Message(role="assistant", tool_calls=[call]).plain()


class InputResult(Said):
    """What a call gave."""

    type: Literal["function_call_output"]
    id: str | None = None
    status: _Status | None = None
    call_id: str
    output: str | Annotated[list[TextPart], FIRST]

    def plain(self) -> dict[str, Any]:
        """Return what a template is given."""
        return Message(role="tool", content=self.output, tool_call_id=self.call_id).plain()


def _kind(item: Any) -> str:  # noqa: ANN401 - a dict or a model
    kind = item.get("type") if isinstance(item, dict) else getattr(item, "type", None)
    return {"function_call": "Call", "function_call_output": "Result"}.get(str(kind), "Message")


InputItem = Annotated[
    Annotated[InputMessage, Tag("Message")]
    | Annotated[InputCall, Tag("Call")]
    | Annotated[InputResult, Tag("Result")],
    Discriminator(_kind),
]


class FlatTool(Function):
    """A function that the model may call, in this route's form."""

    type: Literal["function"]

    def nested(self) -> Tool:
        """Return it in the form of chat completions."""
        return Tool(type="function", function=Function(**self.model_dump(exclude={"type"})))


class FlatNamedTool(Said):
    """A tool that must be called, in this route's form."""

    type: Literal["function"]
    name: str


class TextFormat(Said):
    """What form the answer has, in this route's form."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = Field(default=None, pattern=NAME)
    description: str | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None

    @model_validator(mode="after")
    def _belongs(self) -> Self:
        named = self.model_fields_set - {"type"}
        if (self.type == "json_schema") != (self.schema_ is not None):
            raise ValueError("'schema' goes with the type 'json_schema', and only with it")
        if named and self.type != "json_schema":
            raise ValueError("this type has no name, description or strictness")
        return self

    def schema_for_worker(self) -> dict[str, Any] | None:
        """Return the schema that constrains the answer, None for free text."""
        match self.type:
            case "text":
                return None
            case "json_object":
                return {"type": "object"}
            case "json_schema":
                return self.schema_ or {}


class TextSettings(Said):
    """Settings of the answer's text."""

    format: TextFormat | None = None


class ResponseStreamOptions(Said):
    """Nothing is padded here, so only that can be asked for."""

    include_obfuscation: Literal[False] | None = None


class ResponsesRequest(BaseModel):
    """POST /v1/responses."""

    model_config = _STRICT

    model: str
    input: str | Annotated[list[InputItem], FIRST] = Field(max_length=2**23)
    instructions: str | None = None
    max_output_tokens: int | None = Field(default=None, ge=1, lt=2**31)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    text: TextSettings | None = None
    tools: list[FlatTool] | None = Field(default=None, max_length=128)
    tool_choice: Literal["auto", "none", "required"] | FlatNamedTool | None = None
    parallel_tool_calls: bool | None = None
    stream: bool | None = None
    stream_options: ResponseStreamOptions | None = None
    store: Literal[False] | None = None
    background: Literal[False] | None = None
    truncation: Literal["disabled"] | None = None

"""What a request may say about tools and about the form of the answer."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from pratique.serve.gateway.said import Said

NAME = r"^[A-Za-z0-9_.-]{1,64}$"


class Function(Said):
    """A function that the model may call. `strict`: only with arguments of its schema."""

    name: str = Field(pattern=NAME)
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Said):
    """A tool that the model may use."""

    type: Literal["function"]
    function: Function

    def plain(self) -> dict[str, Any]:
        """Return what a template is given."""
        return self.model_dump(exclude_none=True, exclude={"function": {"strict"}})


class ChosenFunction(Said):
    """The name of a function that must be called."""

    name: str


class NamedTool(Said):
    """A tool that must be called."""

    type: Literal["function"]
    function: ChosenFunction


class JsonSchema(Said):
    """A named schema. It is enforced whether `strict` says so or not."""

    name: str = Field(default="answer", pattern=NAME)
    description: str | None = None
    schema_: dict[str, Any] = Field(default_factory=dict, alias="schema")
    strict: bool | None = None


class ResponseFormat(Said):
    """What form the answer has."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def _belongs(self) -> Self:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("'json_schema' goes with the type of that name, and only with it")
        return self

    def schema_for_worker(self) -> dict[str, Any] | None:
        """Return the schema that constrains the answer, None for free text."""
        match self.type:
            case "text":
                return None
            case "json_object":
                return {"type": "object"}
            case "json_schema":
                return self.json_schema.schema_ if self.json_schema else {}

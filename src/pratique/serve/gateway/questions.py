"""From a parsed request to what the worker is asked. HTTP and batches share it, so that they cannot differ."""

from dataclasses import dataclass
from typing import Any, Final

from pratique.core.wire import Generate, Sampling, ToolForm
from pratique.serve.gateway.encode import inputs
from pratique.serve.gateway.errors import ApiError, FieldNames
from pratique.serve.gateway.fields import ChatRequest, CompletionRequest
from pratique.serve.gateway.fields_responses import ResponsesRequest
from pratique.serve.gateway.fields_tools import Tool
from pratique.serve.gateway.tools import Reading

MOST_PROMPTS: Final = 128


@dataclass(frozen=True, slots=True)
class Question:
    """A request to the worker. `fields` are where its client wrote what may be refused."""

    request: Generate
    fields: FieldNames
    several_calls: bool = True

    def reading(self, form: ToolForm) -> Reading:
        """Return how an answer of a model with this form of calls is read."""
        offered = frozenset(str(tool["function"]["name"]) for tool in self.request.tools)
        beside_json = self.request.schema_ is not None
        return Reading(offered, form, self.several_calls, beside_json)

    @property
    def texts(self) -> tuple[str, ...]:
        """What was asked, as text."""
        said = tuple(str(message.get("content", "")) for message in self.request.messages or ())
        return said if self.request.text is None else (*said, self.request.text)


@dataclass(frozen=True, slots=True)
class _Calls:
    """Which tools are offered, and which of them must be called."""

    tools: tuple[dict[str, Any], ...] = ()
    must: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    several: bool = True


def of_chat(asked: ChatRequest) -> Question:
    """Read POST /v1/chat/completions. Raises ApiError."""
    if asked.max_tokens is not None and asked.max_completion_tokens is not None:
        raise _wrong("max_tokens", "give only one of 'max_tokens' and 'max_completion_tokens'")
    choice = asked.tool_choice
    named = None if choice is None or isinstance(choice, str) else choice.function.name
    schema = asked.response_format.schema_for_worker() if asked.response_format else None
    parallel = asked.parallel_tool_calls
    calls = _calls(asked.tools or [], choice, named, parallel=parallel, held=schema is not None)
    request = Generate(
        id=0,
        messages=tuple(message.plain() for message in asked.messages),
        tools=calls.tools,
        sampling=asked.sampling(),
        max_tokens=asked.max_completion_tokens or asked.max_tokens,
        n=asked.n or 1,
        stop=asked.stops(),
        stream=bool(asked.stream),
        logprobs=asked.scores(),
        ignore_eos=bool(asked.ignore_eos),
        schema=schema,
        must_call=calls.must,
        may_call=calls.may,
        several_calls=calls.several,
    )
    return Question(request, FieldNames(), calls.several)


def of_completion(asked: CompletionRequest) -> list[Question]:
    """Read POST /v1/completions: a question for each prompt. Raises ApiError."""
    texts, tokens = inputs(asked.prompt, "prompt")
    prompts: list[dict[str, Any]] = [{"text": text} for text in texts]
    prompts += [{"tokens": row} for row in tokens]
    if len(prompts) > MOST_PROMPTS or (asked.stream and len(prompts) > 1):
        words = f"field 'prompt': at most {MOST_PROMPTS} prompts, and only one in a stream"
        raise _wrong("prompt", words)
    return [
        Question(
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
            ),
            FieldNames("prompt"),
        )
        for prompt in prompts
    ]


def of_responses(asked: ResponsesRequest) -> Question:
    """Read POST /v1/responses. Raises ApiError."""
    messages: list[dict[str, Any]] = []
    if asked.instructions is not None:
        messages.append({"role": "system", "content": asked.instructions})
    if isinstance(asked.input, str):
        messages.append({"role": "user", "content": asked.input})
    else:
        messages += [item.plain() for item in asked.input]
    choice = asked.tool_choice
    named = None if choice is None or isinstance(choice, str) else choice.name
    tools = [tool.nested() for tool in asked.tools or ()]
    form = asked.text.format if asked.text else None
    schema = form.schema_for_worker() if form else None
    # Here, unlike in chat completions, it may be said of no tools at all: clients send the default.
    parallel = asked.parallel_tool_calls if tools else None
    calls = _calls(tools, choice, named, parallel=parallel, held=schema is not None)
    request = Generate(
        id=0,
        messages=tuple(messages),
        tools=calls.tools,
        sampling=Sampling(temperature=asked.temperature, top_p=asked.top_p),
        max_tokens=asked.max_output_tokens,
        stream=bool(asked.stream),
        schema=schema,
        must_call=calls.must,
        may_call=calls.may,
        several_calls=calls.several,
    )
    return Question(request, FieldNames("input", "text.format"), calls.several)


def _calls(
    tools: list[Tool],
    choice: object,
    named: str | None,
    *,
    parallel: bool | None,
    held: bool,
) -> _Calls:
    """Sort the tools. `held`: the answer has a schema, so that what is no call must be of it."""
    names = [tool.function.name for tool in tools]
    if len(set(names)) != len(names):
        raise _wrong("tools", "field 'tools': two functions have the same name")
    if not tools:
        if choice not in {None, "auto", "none"}:
            raise _wrong("tool_choice", "field 'tool_choice': there are no tools to choose from")
        if parallel is not None:
            raise _wrong("parallel_tool_calls", "field 'parallel_tool_calls': there are no tools")
        return _Calls()
    if choice == "none":
        return _Calls()
    if named is not None and named not in names:
        raise _wrong("tool_choice", "field 'tool_choice': names a function that is not offered")
    must = (named,) if named is not None else tuple(names) if choice == "required" else ()
    held = held or any(tool.function.strict for tool in tools)
    may = tuple(names) if held and not must else ()
    several = parallel is not False and named is None
    return _Calls(tuple(tool.plain() for tool in tools), must, may, several)


def _wrong(field: str, words: str, *, code: str = "invalid_value") -> ApiError:
    return ApiError(400, words, param=field, code=code)

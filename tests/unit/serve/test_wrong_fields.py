"""Every refusal of a field names it as the client wrote it, and says nothing of this program or of values."""

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from pratique.core.wire import Failed, Fault
from pratique.serve.gateway.errors import _FAULTS, ApiError, FieldNames, of_fault
from pratique.serve.gateway.fields import (
    ChatRequest,
    ClassifyRequest,
    CompletionRequest,
    EmbeddingRequest,
    TokenizeRequest,
    read,
)
from pratique.serve.gateway.fields_responses import ResponsesRequest
from pratique.serve.gateway.questions import of_chat, of_completion, of_responses

_SAMPLED: dict[str, Any] = {
    "model": "m", "temperature": 1, "top_p": 0.5, "top_k": 3, "min_p": 0.1, "n": 2, "stream": True,
    "stream_options": {"include_usage": True, "include_obfuscation": False}, "stop": ["a", "b"], "seed": 4, "presence_penalty": 0,
    "frequency_penalty": 0, "repetition_penalty": 1, "logit_bias": {"5": 1}, "ignore_eos": False,
    "store": False,
}  # fmt: skip
_CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
_FUNCTION = {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
_SCHEMA = {"name": "n", "description": "d", "schema": {"type": "object"}, "strict": True}
WHOLE: dict[type[BaseModel], dict[str, Any]] = {
    ChatRequest: {
        **_SAMPLED,
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "x"}], "name": "ann"},
            {"role": "assistant", "content": "x", "tool_calls": [_CALL]},
            {"role": "tool", "content": "x", "tool_call_id": "c"},
        ],
        "max_tokens": 5, "logprobs": True, "top_logprobs": 2,
        "response_format": {"type": "json_schema", "json_schema": _SCHEMA},
        "tools": [{"type": "function", "function": _FUNCTION}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "parallel_tool_calls": False,
    },
    CompletionRequest: {
        **_SAMPLED, "prompt": [[1, 2], [3]], "max_tokens": 4, "logprobs": 2, "echo": False,
        "best_of": 1,
    },
    ResponsesRequest: {
        "model": "m",
        "input": [
            {"type": "message", "id": "i", "status": "completed", "role": "assistant",
             "content": [{"type": "output_text", "text": "x", "annotations": [], "logprobs": []}]},
            {"role": "user", "content": "x"},
            {"type": "function_call", "id": "i", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "x"}]},
        ],
        "instructions": "x", "max_output_tokens": 5, "temperature": 1, "top_p": 0.5,
        "text": {"format": {"type": "json_schema", **_SCHEMA}},
        "tools": [{"type": "function", **_FUNCTION}], "tool_choice": {"type": "function", "name": "f"},
        "parallel_tool_calls": True, "stream": True, "stream_options": {"include_obfuscation": False},
        "store": False, "background": False, "truncation": "disabled",
    },
    EmbeddingRequest: {"model": "m", "input": ["x", "y"], "encoding_format": "float"},
    ClassifyRequest: {"model": "m", "input": ["x", "y"]},
    TokenizeRequest: {
        "model": "m", "prompt": "x", "messages": [{"role": "user", "content": "x"}],
        "add_special_tokens": True,
    },
}  # fmt: skip
_MARK = "s3cr3t"
_VALUES: list[Any] = [
    5, -1, 2**80, 1.5, 1e300, True, _MARK, _MARK * 400, "", [], [_MARK], [5], [[5]], [[_MARK]], [None], [1, "a"],
    {}, {"str": 1}, {"constrained-str": 1}, {"list[str]": [1]}, {"Message": 1}, {"type": _MARK},
    {"type": "function"}, {"type": "text", "text": 5}, {"role": "user"}, ["a"] * 20,
]  # fmt: skip
# What a validator says of itself: its words for types, members of unions, classes, patterns, our spelling.
_INTERNAL = re.compile(
    r"Input|instance|constrained|literal\[|list\[|dict\[|function-|valid |\^|\$$|schema_|tagged"
    r"|[a-z][A-Z]|Message|TextPart|Function|Format\b"
)


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if at:
        yield at
    if at[-1:] in {("schema",), ("parameters",)}:
        return  # whatever is in there is for the worker
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()  # fmt: skip
    for key, item in items:
        yield from paths(item, (*at, key))


def changed(body: Any, at: tuple[Any, ...], value: Any) -> Any:
    body = copy.deepcopy(body)
    place = body
    for key in at[:-1]:
        place = place[key]
    if value is paths:  # a mark: take it away
        del place[at[-1]]
    else:
        place[at[-1]] = value
    return body


def resolves(body: Any, path: list[str], *, null: bool = True) -> bool:
    for part in path:
        if isinstance(body, list) and part.isdecimal() and int(part) < len(body):
            body = body[int(part)]
        elif isinstance(body, dict) and part in body:
            body = body[part]
        else:
            return False
    return body is not None or null


def refused(kind: type[BaseModel], body: Any) -> ApiError | None:
    try:
        read(kind, json.dumps(body).encode())
    except ApiError as error:
        return error
    return None


def named_as_it_was_written(kind: type[BaseModel], body: Any) -> ApiError | None:
    error = refused(kind, body)
    if error is None:
        return None
    assert error.status == 400
    assert _MARK not in json.dumps(error.body())
    assert error.param is not None
    assert f"'{error.param}'" in error.message
    words = error.message.replace(f"'{error.param}'", "")
    assert not _INTERNAL.search(words), words
    path = error.param.split(".")
    if error.code == "missing_field":
        assert resolves(body, path[:-1])
        assert not resolves(body, path, null=False)
    else:
        assert resolves(body, path), error.param
    return error


def test_the_bodies_from_which_all_begins_are_read():
    for kind, body in WHOLE.items():
        assert named_as_it_was_written(kind, body) is None
        assert set(body) | {"max_completion_tokens"} >= set(kind.model_fields)


@pytest.mark.parametrize("kind", list(WHOLE))
def test_each_value_in_each_place_is_named(kind):
    refused = 0
    for at in paths(WHOLE[kind]):
        for value in (*_VALUES, paths):
            refused += named_as_it_was_written(kind, changed(WHOLE[kind], at, value)) is not None
    assert refused > 20


@pytest.mark.parametrize("kind", list(WHOLE))
@pytest.mark.parametrize("name", ["str", "constrained-str", "schema_", "Message", "", "5", "ключ"])
def test_an_unknown_name_is_named_at_every_depth(kind, name):
    places = [
        (),
        *(p for p in paths(WHOLE[kind]) if p[-1] not in {"schema", "parameters", "logit_bias"}),
    ]
    for at in places:
        holder: Any = WHOLE[kind]
        for key in at:
            holder = holder[key]
        if isinstance(holder, dict):
            body = changed(WHOLE[kind], (*at, name), 1) if at else {**WHOLE[kind], name: 1}
            error = named_as_it_was_written(kind, body)
            assert error is not None, at
            assert error.code == "unsupported_field"
            assert error.param == ".".join(map(str, (*at, name)))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([_MARK, "user", "function", "text", "auto"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["type", "role", "content", "text", "name", "function", "str", "int"]), inner, max_size=3
    ),
    max_leaves=6,
)  # fmt: skip


@given(st.sampled_from(list(WHOLE)), st.data())
def test_whatever_stands_there_is_named_or_taken(kind, data):
    at = data.draw(st.sampled_from(list(paths(WHOLE[kind]))))
    value = data.draw(_JSON.filter(lambda value: value is not None))
    named_as_it_was_written(kind, changed(WHOLE[kind], at, value))


@pytest.mark.parametrize(
    ("kind", "more", "param", "words"),
    [
        (ChatRequest, {"stop": "x" * 1025}, "stop", "has more than 1024 characters"),
        (ChatRequest, {"stop": ["a", "x" * 1025]}, "stop.1", "has more than 1024 characters"),
        (ChatRequest, {"stop": ["x"] * 17}, "stop", "has more than 16 entries"),
        (ChatRequest, {"stop": 5}, "stop", "needs text or a list"),
        (ChatRequest, {"temperature": 2.5}, "temperature", "must be at most 2"),
        (ChatRequest, {"seed": 2**63}, "seed", f"must be less than {2**63}"),
        (ChatRequest, {"logit_bias": {"7": "x"}}, "logit_bias.7", "needs a number"),
        (CompletionRequest, {"prompt": [1, "a"]}, "prompt.0", "needs text or a list"),
        (CompletionRequest, {"prompt": 5}, "prompt", "needs text or a list"),
        (ResponsesRequest, {"input": [5]}, "input.0", "needs an object"),
        (ResponsesRequest, {"text": {"format": 5}}, "text.format", "needs an object"),
        (EmbeddingRequest, {"input": {"str": 1}}, "input", "needs text or a list"),
    ],
)
def test_the_words_are_about_the_field(kind, more, param, words):
    error = named_as_it_was_written(kind, {**WHOLE[kind], **more})
    assert error is not None
    assert (error.param, error.message) == (param, f"field '{param}': {words}")


@pytest.mark.parametrize("kind", list(WHOLE))
def test_null_is_not_said_at_every_depth(kind):
    """A field that may be left out may be null; one that may not is missing, not wrong."""
    for at in paths(WHOLE[kind]):
        if not isinstance(at[-1], str) or "logit_bias" in at:
            continue
        null = refused(kind, changed(WHOLE[kind], at, None))
        gone = refused(kind, changed(WHOLE[kind], at, paths))
        assert (null and null.body()) == (gone and gone.body()), at


@pytest.mark.parametrize("kind", list(WHOLE))
def test_of_a_list_that_is_wrong_throughout_little_is_noted(kind):
    """A validator notes each wrong entry, for each thing that a list may be: gigabytes, of one body."""
    lists = [
        at
        for at in paths(WHOLE[kind])
        if at[-1] in {"prompt", "input", "content", "output", "tool_calls"}
    ]
    assert lists or kind is TokenizeRequest
    for at in lists:
        for wrong in ([5.5] * 3000, [[5.5] * 3000], [{"a": 1}] * 3000, [[5.5]] * 3000):
            with pytest.raises(ValidationError) as caught:
                kind.model_validate(changed(WHOLE[kind], at, wrong))
            assert caught.value.error_count() < 30


@pytest.mark.parametrize(
    "more",
    [{str(at): 1 for at in range(10_001)}, {"logit_bias": {str(at): "x" for at in range(10_001)}}],
)
def test_of_very_many_wrong_fields_none_is_looked_for(more):
    error = refused(ChatRequest, {**WHOLE[ChatRequest], **more})
    assert error is not None
    assert (error.status, error.param, error.message) == (
        400,
        None,
        "more than 10000 fields are wrong",
    )


# --- what the worker refuses ------------------------------------------------------------------

ROUTES = {
    "messages": of_chat(read(ChatRequest, json.dumps(WHOLE[ChatRequest]).encode())).fields,
    "prompt": of_completion(read(CompletionRequest, b'{"model":"m","prompt":"x"}'))[0].fields,
    "input": of_responses(
        read(ResponsesRequest, json.dumps(WHOLE[ResponsesRequest]).encode())
    ).fields,
}
OF_THE_PROMPT = {
    Fault.PROMPT_TOO_LONG, Fault.PROMPT_EMPTY, Fault.BAD_TOKEN, Fault.NO_TEMPLATE, Fault.TEMPLATE_REFUSED,
    Fault.ANSWER_TOO_BIG, Fault.TOKENIZER_REFUSED,
}  # fmt: skip


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize("prompt", list(ROUTES))
def test_a_fault_names_a_field_of_its_route(fault, prompt):
    error = of_fault(Failed(id=0, fault=fault), ROUTES[prompt])
    assert fault in _FAULTS
    assert "{" not in f"{error.message}{error.param}"
    if fault in OF_THE_PROMPT:
        assert error.param == prompt
    else:
        assert error.param not in {"messages", "prompt", "input"}


def test_a_schema_is_named_where_it_was_written():
    failed = Failed(id=0, fault=Fault.SCHEMA_TOO_BIG)
    assert of_fault(failed, ROUTES["messages"]).param == "response_format"
    assert of_fault(failed, ROUTES["input"]).param == "text.format"
    in_tools = failed.model_copy(update={"of_tools": True})
    assert {of_fault(in_tools, fields).param for fields in ROUTES.values()} == {"tools"}
    assert of_fault(failed, FieldNames("input")).param == "response_format"

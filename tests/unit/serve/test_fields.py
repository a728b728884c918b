"""A field that is not understood is refused by name; nothing is quoted; null is not said."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pratique.serve.gateway.errors import ApiError
from pratique.serve.gateway.fields import (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    read,
)
from pratique.serve.gateway.fields_responses import ResponsesRequest

CHAT = {"model": "m", "messages": [{"role": "user", "content": "x"}]}


def refused(kind, value) -> ApiError:
    with pytest.raises(ApiError) as caught:
        read(kind, json.dumps(value).encode())
    assert caught.value.status == 400
    return caught.value


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"best_of": 2}, "best_of"),
        ({"functions": []}, "functions"),
        ({"user": "ann"}, "user"),
        ({"audio": {}}, "audio"),
        ({"chat_template": "{{ 1 }}"}, "chat_template"),
        ({"chat_template_kwargs": {}}, "chat_template_kwargs"),
        ({"store": True}, "store"),
        ({"tool_choice": "some"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "f"}}, "tool_choice.name"),
        ({"parallel_tool_calls": "yes"}, "parallel_tool_calls"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"response_format": {"type": "text", "json_schema": {"schema": {}}}}, "response_format"),
        ({"response_format": {"type": "json_object", "schema": {}}}, "response_format.schema"),
        ({"stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation"),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
        ({"messages": [{"role": "user", "content": "x", "weight": 1}]}, "messages.0.weight"),
        ({"messages": [{"role": "root", "content": "x"}]}, "messages.0.role"),
        ({"messages": []}, "messages"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 3}, "temperature"),
        ({"n": 0}, "n"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"model": 5}, "model"),
        ({"seed": True}, "seed"),
    ],
)
def test_the_first_wrong_field_is_named(more, param):
    assert refused(ChatRequest, {**CHAT, **more}).param == param


def test_an_image_is_refused():
    content = [{"type": "image_url", "image_url": {"url": "http://x"}}]
    error = refused(ChatRequest, {"model": "m", "messages": [{"role": "user", "content": content}]})
    assert error.param.startswith("messages.0.content")
    assert "http://x" not in error.message


def test_a_missing_field_is_named():
    assert refused(ChatRequest, {"model": "m"}).param == "messages"
    assert refused(CompletionRequest, {"model": "m"}).param == "prompt"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'"x"',
        b"{",
        b'{"model":"m","model":"n"}',
        b'{"model":"\xff"}',
        b'{"model":"\\ud800"}',
        b'{"temperature":NaN}',
        b'{"a":' * 5000,
        b'{"a":1e999}',
    ],
)
def test_what_is_not_strict_json_is_refused(data):
    with pytest.raises(ApiError) as caught:
        read(ChatRequest, data)
    assert caught.value.code == "invalid_json"


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=12), max_size=4))
def test_values_are_never_quoted(extra):
    marked = {f"x{key}": f"s3cr3t{value}" for key, value in extra.items()}
    data = json.dumps({**CHAT, "temperature": "s3cr3t", **marked}).encode()
    with pytest.raises(ApiError) as caught:
        read(ChatRequest, data)
    assert "s3cr3t" not in json.dumps(caught.value.body())


def test_null_is_not_said_and_the_supported_is_read():
    asked = read(
        ChatRequest,
        json.dumps(
            {
                **CHAT,
                "temperature": None,
                "stop": ["a", ""],
                "logprobs": True,
                "top_logprobs": 2,
                "logit_bias": {"5": -100},
                "store": False,
                "top_k": -1,
                "response_format": {"type": "json_schema", "json_schema": {"schema": {"a": 1}}},
            }
        ).encode(),
    )
    assert asked.sampling().temperature is None
    assert asked.sampling().top_k == 0
    assert asked.sampling().logit_bias == {5: -100}
    assert asked.stops() == ("a",)
    assert asked.scores() == 2
    assert asked.response_format.schema_for_worker() == {"a": 1}


def test_content_parts_are_joined_and_developer_is_system():
    asked = read(
        ChatRequest,
        json.dumps(
            {
                "model": "m",
                "messages": [
                    {
                        "role": "developer",
                        "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
                    },
                    {
                        "role": "assistant",
                        "content": None,
                        "tool_calls": [
                            {
                                "id": "c",
                                "type": "function",
                                "function": {"name": "f", "arguments": '{"x": 1}'},
                            }
                        ],
                    },
                ],
            }
        ).encode(),
    )
    first, second = (message.plain() for message in asked.messages)
    assert first == {"role": "system", "content": "ab"}
    assert second["tool_calls"][0]["function"]["arguments"] == {"x": 1}


@pytest.mark.parametrize("bias", [{"x": 1}, {"5": 101}, {"-1": 1}, {"٣": 1}])
def test_bias_maps_ids_to_numbers(bias):
    asked = read(ChatRequest, json.dumps({**CHAT, "logit_bias": bias}).encode())
    with pytest.raises(ApiError):
        asked.sampling()


def test_other_routes():
    assert refused(EmbeddingRequest, {"model": "m", "input": "x", "dimensions": 3}).param == (
        "dimensions"
    )
    asked = read(CompletionRequest, b'{"model":"m","prompt":[[1,2],[3]],"echo":false}')
    assert asked.prompt == [[1, 2], [3]]


RESPONSES = {"model": "m", "input": "x"}


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"store": True}, "store"),
        ({"background": True}, "background"),
        ({"truncation": "auto"}, "truncation"),
        ({"include": ["file_search_call.results"]}, "include"),
        ({"reasoning": {"effort": "high"}}, "reasoning"),
        ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format"),
        ({"text": {"format": {"type": "text", "schema": {}}}}, "text.format"),
        ({"text": {"format": {"type": "json_object", "strict": True}}}, "text.format"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input.0.role"),
        ({"input": [{"type": "reasoning", "summary": []}]}, "input.0.summary"),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "f"}]}, "input.0.arguments"),
    ],
)
def test_what_responses_cannot_do_is_named(more, param):
    assert refused(ResponsesRequest, {**RESPONSES, **more}).param == param


def test_what_a_client_was_given_can_be_sent_back():
    item = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "a", "annotations": [], "logprobs": []}],
        "phase": None,
    }
    call = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "c", "output": "4"}
    asked = read(
        ResponsesRequest, json.dumps({**RESPONSES, "input": [item, call, result]}).encode()
    )
    answer, called, told = (part.plain() for part in asked.input)
    assert answer == {"role": "assistant", "content": "a"}
    assert called["tool_calls"][0]["function"] == {"name": "f", "arguments": {}}
    assert told == {"role": "tool", "content": "4", "tool_call_id": "c"}
    message = {"role": "assistant", "content": "a", "refusal": None, "annotations": None}
    asked = read(ChatRequest, json.dumps({**CHAT, "messages": [message]}).encode())
    assert asked.messages[0].plain() == {"role": "assistant", "content": "a"}

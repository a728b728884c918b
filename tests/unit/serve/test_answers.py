"""Batches: what a line may be, what is kept of an earlier run."""

import json

import pytest

from pratique.core.wire import Embed, Generate
from pratique.errors import UnreadableInput
from pratique.serve import answers
from pratique.serve.answers import done_already, read_batch
from pratique.serve.gateway.errors import ApiError
from pratique.serve.gateway.fields import ChatRequest, CompletionRequest, read
from pratique.serve.gateway.questions import Question, of_chat, of_completion


def items(tmp_path, *lines: str):
    path = tmp_path / "in.jsonl"
    path.write_text("".join(line + "\n" for line in lines))
    return list(read_batch(path, "m"))


def test_the_forms_of_a_line(tmp_path):
    found = items(
        tmp_path,
        '{"prompt": "a", "max_tokens": 3, "seed": 1}',
        "",
        '{"messages": [{"role": "user", "content": "b"}]}',
        '{"input": "c"}',
        '{"custom_id": "x", "method": "POST", "url": "/v1/chat/completions", '
        '"body": {"model": "m", "messages": [{"role": "user", "content": "d"}]}}',
    )
    assert [item.number for item in found] == [1, 3, 4, 5]
    assert [item.custom_id for item in found] == ["1", "3", "4", "x"]
    text, chat, embed, batch = (
        r.request if isinstance(r, Question) else r for r in (item.request for item in found)
    )
    assert isinstance(text, Generate)
    assert (text.text, text.max_tokens, text.sampling.seed) == ("a", 3, 1)
    assert isinstance(chat, Generate)
    assert chat.messages == ({"role": "user", "content": "b"},)
    assert embed == Embed(id=0, texts=("c",))
    assert isinstance(batch, Generate)


@pytest.mark.parametrize(
    "line",
    [
        "not json",
        "[]",
        '{"prompt": "a", "prompt": "b"}',
        '{"prompt": "a", "unknown": 1}',
        '{"prompt": ["a", "b"]}',
        '{"messages": []}',
        '{"custom_id": "x", "body": {}, "more": 1}',
        '{"prompt": "\\ud800"}',
        '{"prompt": "a", "stream": true}',
        '{"prompt": "a", "stream_options": {"include_usage": true}}',
        '{"prompt": [1, 2]}',
        '{"input": "a", "encoding_format": "float"}',
        '{"custom_id": "x", "url": "/v1/responses", "body": {"input": "a"}}',
        '{"custom_id": "x", "url": "/v1/other", "body": {"prompt": "a"}}',
    ],
)
def test_a_bad_line_carries_its_refusal_and_stops_nobody(tmp_path, line):
    bad, good = items(tmp_path, line, '{"prompt": "fine"}')
    assert isinstance(bad.request, ApiError)
    assert isinstance(good.request, Question)


def test_unreadable_files_and_endless_lines(tmp_path, monkeypatch):
    with pytest.raises(UnreadableInput):
        list(read_batch(tmp_path / "absent", "m"))
    monkeypatch.setattr(answers, "_LONGEST_LINE", 100)
    with pytest.raises(UnreadableInput):
        items(tmp_path, '{"prompt": "' + "a" * 200 + '"}')


def test_what_was_answered_is_kept_and_half_a_line_is_cut(tmp_path):
    path = tmp_path / "out.jsonl"
    whole = json.dumps({"line": 1, "digest": "d1", "response": {}, "error": None}) + "\n"
    failed = json.dumps({"line": 2, "digest": "d2", "response": None, "error": {}}) + "\n"
    path.write_text(whole + failed + "garbage\n" + '{"line": 3, "dig')
    assert done_already(path) == {1: "d1"}
    assert path.read_text() == whole + "garbage\n"
    assert done_already(tmp_path / "absent") == {}


EVERYTHING = {
    "messages": [{"role": "user", "content": "b"}],
    "temperature": 0.5, "top_p": 0.9, "top_k": 3, "min_p": 0.1, "n": 2, "stop": ["x"], "seed": 7,
    "presence_penalty": 1, "frequency_penalty": 1, "repetition_penalty": 1.1, "logprobs": True,
    "top_logprobs": 2, "logit_bias": {"5": 1}, "ignore_eos": True, "max_tokens": 9,
}  # fmt: skip
TOOLS = [{"type": "function", "function": {"name": "f", "strict": True}}]
FORMAT = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "integer"}}}


@pytest.mark.parametrize(
    "more",
    [
        {"response_format": FORMAT},
        {"tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": False},
        {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"tools": TOOLS},
        {"tools": TOOLS, "response_format": FORMAT},
    ],
)
def test_a_line_asks_what_the_route_asks(tmp_path, more):
    body = {**EVERYTHING, **more}
    (item,) = items(tmp_path, json.dumps(body))
    assert item.request == of_chat(read(ChatRequest, json.dumps({"model": "m", **body}).encode()))


def test_every_field_of_a_request_reaches_the_worker():
    fields = {"temperature", "top_p", "top_k", "min_p", "presence_penalty", "seed", "logit_bias"}
    question = of_chat(read(ChatRequest, json.dumps({"model": "m", **EVERYTHING}).encode()))
    request = question.request
    assert fields <= request.sampling.model_fields_set
    assert None not in {getattr(request.sampling, field) for field in fields - {"logit_bias"}}
    assert (request.n, request.stop, request.logprobs, request.ignore_eos) == (2, ("x",), 2, True)
    body = {**EVERYTHING, "prompt": "p", "logprobs": 2}
    del body["messages"], body["top_logprobs"]
    (other,) = of_completion(read(CompletionRequest, json.dumps({"model": "m", **body}).encode()))
    left_out = {"messages", "text", "several_calls"}
    assert other.request.model_dump(exclude=left_out) == request.model_dump(exclude=left_out)


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"max_completion_tokens": 3}, "max_tokens"),
        ({"tools": TOOLS + TOOLS}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"parallel_tool_calls": True}, "parallel_tool_calls"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "g"}}},
         "tool_choice"),
    ],
)  # fmt: skip
def test_contradictions_are_refused_by_name_in_a_batch_too(tmp_path, more, param):
    (item,) = items(tmp_path, json.dumps({**EVERYTHING, **more}))
    assert isinstance(item.request, ApiError)
    assert item.request.param == param


def test_refusals_of_an_earlier_run_make_room_for_what_comes_now(tmp_path):
    answered = '{"line": 1, "digest": "a", "response": {}, "error": null}\n'
    refused = '{"line": 2, "digest": "b", "response": null, "error": {"message": "no"}}\n'
    foreign = '["not a line of ours"]\n'
    file = tmp_path / "answers.jsonl"
    file.write_text(refused + answered + foreign + refused + answered[:20])
    file.chmod(0o640)
    assert done_already(file) == {1: "a"}
    assert file.read_text() == answered + foreign
    assert file.stat().st_mode & 0o777 == 0o640
    assert [p.name for p in tmp_path.iterdir()] == ["answers.jsonl"]

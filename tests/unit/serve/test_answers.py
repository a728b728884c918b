"""Batches: what a line may be, what is kept of an earlier run."""

import json

import pytest

from pratique.core.wire import Embed, Generate
from pratique.errors import UnreadableInput
from pratique.serve import answers
from pratique.serve.answers import done_already, read_batch
from pratique.serve.gateway.errors import ApiError


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
    text, chat, embed, batch = (item.request for item in found)
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
    ],
)
def test_a_bad_line_carries_its_refusal_and_stops_nobody(tmp_path, line):
    bad, good = items(tmp_path, line, '{"prompt": "fine"}')
    assert isinstance(bad.request, ApiError)
    assert isinstance(good.request, Generate)


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
    assert path.read_text() == whole + failed + "garbage\n"
    assert done_already(tmp_path / "absent") == {}

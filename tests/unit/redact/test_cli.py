"""`pratique redact`: stdin to stdout, and a refusal that repeats nothing."""

import base64
import json

import pytest
from click.testing import CliRunner

from pratique.cli.redact import command
from pratique.errors import FormatError, UnreadableInput


def run(text, *arguments):
    return CliRunner().invoke(command, list(arguments), input=text)


def test_text():
    assert run("mail jane@example.com\nnow\n").output == "mail [EMAIL]\nnow\n"


def test_jsonl_with_spans():
    text = "é jane@example.com"
    lines = json.dumps({"text": text, "id": 7}) + "\n\n" + json.dumps({"text": "ok"}) + "\n"
    rows = [json.loads(row) for row in run(lines, "--jsonl", "--spans").output.splitlines()]
    assert rows == [
        {"text": "é [EMAIL]", "spans": [{"start": 2, "end": 18, "type": "EMAIL"}]},
        {"text": "ok", "spans": []},
    ]


def test_jsonl_without_spans():
    assert json.loads(run('{"text":"ok"}', "--jsonl").output) == {"text": "ok"}


@pytest.mark.parametrize(
    "line",
    [
        "hunter2",
        '{"text": 5}',
        '["hunter2"]',
        '{"txt": "hunter2"}',
        '{"text": "\\ud800"}',
        "[" * 9999,
    ],
)
def test_a_malformed_line_is_refused_by_number_alone(line):
    result = run('{"text":"ok"}\n' + line + "\n", "--jsonl")
    assert isinstance(result.exception, FormatError)
    assert result.exception.exit_code == 5
    assert "line 2" in result.exception.message
    assert "hunter2" not in result.exception.message + result.exception.hint + result.output
    assert result.output == '{"text": "ok"}\n'


def test_bytes_that_are_not_utf8_are_refused():
    result = CliRunner().invoke(command, [], input=b"\xff\xfe")
    assert isinstance(result.exception, FormatError)


def test_too_long_a_text_is_refused():
    assert isinstance(run("a" * 300_000).exception, FormatError)


def test_spans_need_jsonl():
    assert run("x", "--spans").exit_code == 2


def test_keys(tmp_path):
    keys = tmp_path / "redaction.keys"
    keys.write_text(f"k3 {base64.b64encode(b'x' * 32).decode()}\n")
    assert run("jane@example.com", "--key-file", str(keys)).output.startswith("[EMAIL:k3:")


def test_a_missing_key_file_is_refused(tmp_path):
    result = run("x", "--key-file", str(tmp_path / "none"))
    assert isinstance(result.exception, UnreadableInput)


def test_without_the_gazetteer():
    text = "Then Thomas Anderson left"
    assert run(text).output == "Then [PERSON] left"
    assert run(text, "--no-gazetteer").output == text

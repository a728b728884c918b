"""Schemas that are meant to cost the server: it lives, it says no, and its other clients are answered."""

import concurrent.futures
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support import models
from tests.support.serving import Served, limits_for, serving, with_tools

ASKED: Any = {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "max_tokens": 20}


def nested(key: str, levels: int) -> dict[str, Any]:
    schema: Any = {"type": "integer"}
    for _ in range(levels):
        schema = {key: [schema]} if key.endswith("Of") else {key: schema}
    return schema


def chain(links: int, *, through: bool = False) -> dict[str, Any]:
    """A `$ref` that leads to a `$ref` …; the compiler recursed along it until its stack was full."""

    def link(at: int) -> dict[str, Any]:
        inner = {"$ref": f"#/$defs/d{at + 1}"}
        return {"type": "object", "properties": {"a": inner}} if through else inner

    defs = {f"d{at}": link(at) for at in range(links)}
    return {"$ref": "#/$defs/d0", "$defs": {**defs, f"d{links}": {"type": "integer"}}}


def choices(levels: int, joiner: str) -> dict[str, Any]:
    """Doubles at each level."""
    defs: dict[str, Any] = {
        f"d{at}": {joiner: [{"$ref": f"#/$defs/d{at + 1}"}, {"$ref": f"#/$defs/d{at + 1}"}]}
        for at in range(levels)
    }
    last = {"type": "object", "properties": {"a": {"type": "integer"}}}
    return {"$ref": "#/$defs/d0", "$defs": {**defs, f"d{levels}": last}}


def intersected(count: int) -> dict[str, Any]:
    """Cost the compiler half a minute and two gigabytes."""
    return {
        "allOf": [{"type": "string", "pattern": f".*{chr(97 + at)}.{{20}}x"} for at in range(count)]
    }


def distributed(count: int) -> dict[str, Any]:
    return {
        "allOf": [
            {"anyOf": [{"type": "object", "required": [f"p{at}{side}"]} for side in "ab"]}
            for at in range(count)
        ]
    }


BOMBS: dict[str, dict[str, Any]] = {
    "reference to itself": {"$ref": "#"},
    "reference in a circle": chain(1) | {"$defs": {"d0": {"$ref": "#/$defs/d0"}}},
    "references": chain(499),
    "references through objects": chain(499, through=True),
    "too many references": chain(5_000),
    "doubling anyOf": choices(60, "anyOf"),
    "doubling allOf": choices(60, "allOf"),
    "distributed": distributed(16),
    "depth": nested("items", 25),
    "more depth": nested("items", 200),
    "depth of joiners": nested("allOf", 24),
    "a huge enum": {"enum": [f"x{at}" for at in range(100_000)]},
    "eight mebibytes": {"const": "x" * (8 * 2**20 - 500)},
    "many properties": {"type": "object", "properties": {f"p{at}": {} for at in range(500)}},
    "too many properties": {"type": "object", "properties": {f"p{at}": {} for at in range(9_000)}},
    "a thousand million items": {"type": "array", "items": {"type": "integer"}, "minItems": 10**9},
    "a long string": {"type": "string", "minLength": 10**9},
    "arrays of arrays": {"type": "array", "maxItems": 10**9, "items": {"type": "array", "minItems": 10**9}},
    "a number of many digits": {"type": "integer", "minimum": 10**300, "maximum": 10**301},
    "a large multiple": {"type": "integer", "multipleOf": 999_983},
    "a small multiple": {"type": "number", "multipleOf": 1e-300},
    "repetition": {"type": "string", "pattern": "(((((((a{99}){99}){99}){99}){99}){99}){99})"},
    "catastrophic": {"type": "string", "pattern": "^(a|a)*(a+)+(a*)*b$"},
    "exponential": {"type": "string", "pattern": "(a|b)*a(a|b){200}"},
    "unicode classes": {"type": "string", "pattern": r"^(\p{L}|\p{N}|\p{M}){400}$"},
    "parentheses": {"type": "string", "pattern": "(" * 250 + "a" + ")" * 250},
    "a long pattern": {"type": "string", "pattern": "a" * 100_000},
    "intersected patterns": intersected(20),
    "names by patterns": {
        "type": "object",
        "patternProperties": {f"(.*{chr(97 + at)}.{{20}}){{5}}": {} for at in range(20)},
    },
    "right to left": {"type": "object", "properties": {"\u202e\u2066a": {"const": "\u200b\u202e"}}},
    "control characters": {"enum": ["\x00\x1b[2J", "\ud83d\ude00"]},
    "special tokens": {"const": "<|end|><|user|></s>"},
    "options of the compiler": {"x-guidance": {"lenient": True}, "not": {}},
    "another host": {"$ref": "http://169.254.169.254/latest"},
    "a file": {"$ref": "file:///etc/passwd"},
}  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    directory = with_tools(models.write_llama(tmp_path_factory.mktemp("serve") / "tiny"))
    with serving(directory, limits=limits_for(rows=4, kv_tokens=4096)) as found:
        yield found


def body_with(schema: dict[str, Any], **more: Any) -> bytes:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    return json.dumps({**ASKED, "response_format": form, **more}, ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def post(served: Served, body: bytes) -> httpx.Response:
    return httpx.post(
        f"{served.url}/v1/chat/completions", content=body, timeout=60,
        headers={"Content-Type": "application/json"},
    )  # fmt: skip


def still_there(served: Served, pid: int) -> None:
    assert post(served, json.dumps(ASKED).encode()).status_code == 200
    assert served.supervisor.pid == pid
    assert served.supervisor.restarts == 0


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_answered_or_refused_and_the_worker_lives(served, name):
    pid = served.supervisor.pid
    answer = post(served, body_with(BOMBS[name]))
    assert answer.status_code in {200, 400, 413}
    if answer.status_code == 400:
        error = answer.json()["error"]
        assert error["code"] in {
            "unsupported_schema", "schema_too_big", "invalid_json", "invalid_value",
        }  # fmt: skip
    still_there(served, pid)


def test_what_is_known_to_cost_too_much_is_refused(served):
    for name in ("intersected patterns", "a large multiple", "too many references", "a huge enum",
                 "eight mebibytes", "another host", "a file", "options of the compiler"):  # fmt: skip
        assert post(served, body_with(BOMBS[name])).status_code in {400, 413}, name


def test_the_look_alikes_are_answered(served):
    for schema in (chain(3), choices(3, "anyOf"), nested("items", 3), distributed(2)):
        assert post(served, body_with(schema)).status_code == 200


def test_many_at_once_do_not_keep_the_others_waiting(served):
    pid = served.supervisor.pid
    bodies = [body_with(schema) for name, schema in BOMBS.items() if name != "eight mebibytes"]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        hostile = [pool.submit(post, served, body) for body in bodies * 2]
        for _ in range(5):
            assert post(served, json.dumps(ASKED).encode()).status_code == 200
        assert {work.result().status_code for work in hostile} <= {200, 400, 413, 429}
    still_there(served, pid)


def test_who_hangs_up_frees_row_and_grammar(served):
    pid = served.supervisor.pid
    endless = {"type": "array", "items": {"type": "boolean"}, "minItems": 10**9}
    body = body_with(endless, stream=True, max_tokens=230)
    for _ in range(12):  # more than there are rows and places for grammars
        with httpx.stream(
            "POST", f"{served.url}/v1/chat/completions", content=body, timeout=60,
            headers={"Content-Type": "application/json"},
        ) as response:  # fmt: skip
            assert response.status_code == 200
            next(response.iter_lines())
    assert post(served, body_with({"type": "boolean"})).status_code == 200
    still_there(served, pid)


def test_tools_with_hostile_parameters(served):
    pid = served.supervisor.pid
    for name, schema in BOMBS.items():
        function = {"name": "f", "parameters": schema}
        body = {**ASKED, "tools": [{"type": "function", "function": function}]}
        data = json.dumps({**body, "tool_choice": "required"}).encode("utf-8", "surrogatepass")
        assert post(served, data).status_code in {200, 400, 413}, name
    still_there(served, pid)


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_beside_one_another_cost_no_more(served, name):
    """A schema that stands beside tools is compiled twice: once by itself, once with them."""
    pid = served.supervisor.pid
    function = {"name": "f", "parameters": BOMBS[name], "strict": True}
    tools = [{"type": "function", "function": function}]
    for more in ({"tools": tools}, {"tools": tools, "tool_choice": "required"}):
        assert post(served, body_with(BOMBS[name], **more)).status_code in {200, 400, 413}
    still_there(served, pid)

"""A batch keeps every promise that the HTTP routes keep."""

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import jsonschema

from pratique.serve.answers import read_batch, run_batch, started
from pratique.serve.supervisor import Supervisor
from tests.support import models
from tests.support.serving import (
    Notes,
    OpenLauncher,
    limits_for,
    model_of,
    plan_for,
    with_tools,
)

SCHEMA = {"enum": ["port", "starboard"]}
TOOL = {
    "type": "function",
    "function": {"name": "moor", "parameters": {"additionalProperties": False}},
}
ASKED = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 100, "seed": 1}
LINES: list[dict[str, Any]] = [
    {**ASKED, "response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}},
    {**ASKED, "tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False},
    {**ASKED, "logprobs": True, "top_logprobs": 1, "max_tokens": 2, "ignore_eos": True, "n": 2},
    {**ASKED, "response_format": {"type": "json_schema", "json_schema": {"schema": {"not": {}}}}},
]  # fmt: skip


def answered(directory: Path, source: Path) -> list[dict[str, Any]]:
    limits, out, notes = limits_for(), io.StringIO(), Notes(keeps_text=True)

    async def body() -> None:
        supervisor = Supervisor(
            model_of(directory), plan_for(directory, limits), OpenLauncher(), notes, limits=limits
        )
        async with started(supervisor):
            await run_batch(
                supervisor, read_batch(source, "tiny"), out,
                kept={}, together=4, recorder=notes, advance=lambda: None,
            )  # fmt: skip

    asyncio.run(body())
    assert [exchange.prompt for exchange, _ in notes.served_] == [["x"]] * len(LINES)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    return sorted(lines, key=lambda line: int(line["line"]))


def test_fields_are_honoured_or_refused_by_name(tmp_path):
    directory = with_tools(models.write_llama(tmp_path / "tiny"))
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    held, called, scored, refused = answered(directory, source)
    jsonschema.validate(json.loads(held["response"]["choices"][0]["text"]), SCHEMA)
    (choice,) = called["response"]["choices"]
    assert choice["finish"] == "tool_calls"
    function = choice["tool_calls"][0]["function"]
    assert (function["name"], json.loads(function["arguments"])) == ("moor", {})
    assert [len(c["logprobs"]["content"]) for c in scored["response"]["choices"]] == [2, 2]
    assert refused["error"]["code"] == "unsupported_schema"
    assert refused["error"]["param"] == "response_format"

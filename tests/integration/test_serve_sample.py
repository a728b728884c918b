"""The built-in sample from admission to the last request, by command line, in the strict lock."""

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest

from pratique.confine.probe import probe
from pratique.flows.sample import sample_directory
from pratique.flows.sealing import SealRequest, vet_and_seal
from tests.support.bundles import POLICY as BUILD
from tests.support.bundles import OpenGate, World, make_world

CANARY = "zanzibar-quokka-7731"
ASKED = {
    "model": "sample",
    "messages": [{"role": "user", "content": "What is pratique?"}],
    "max_tokens": 60,
    "temperature": 0,
}


@pytest.fixture(scope="module", autouse=True)
def strict():
    """Skip where this host cannot close the whole lock."""
    report = probe()
    if not report.strict:
        pytest.skip(f"this host cannot close the strict lock: {report.problem or report.escaped}")


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    """A world whose enclave has admitted the sample by `pratique admit`."""
    made = make_world(tmp_path_factory.mktemp("world"))
    (made.root / "bundles").mkdir()
    request = SealRequest(sample_directory(), BUILD, made.root / "bundles" / "sample.bundle")
    bundle = vet_and_seal(
        request, OpenGate(BUILD), lambda: made.vetter, on_verdict=lambda _: None
    ).path
    made.approve(bundle)
    done = pratique(made, "admit", bundle, "--as", "sample")
    assert done.returncode == 0, done.stderr
    return made


def command(world: World, *words: object) -> list[str]:
    return [
        sys.executable, "-m", "pratique.cli.main", "--home", str(world.home), *map(str, words),
    ]  # fmt: skip


def pratique(world: World, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(world, *words), capture_output=True, text=True, timeout=120, check=False
    )


@dataclass
class Server:
    """A running `pratique serve`."""

    process: subprocess.Popen[str]
    url: str
    errors: Path

    def post(self, path: str = "/v1/chat/completions", **more: object) -> httpx.Response:
        """Ask once."""
        return httpx.post(self.url + path, json={**ASKED, **more}, timeout=60)

    def ended(self) -> int:
        """Wait for the end; return the exit code."""
        return self.process.wait(60)


@contextlib.contextmanager
def serve(world: World, *more: object) -> Iterator[Server]:
    errors = world.root / "serve.err"
    with errors.open("w") as err:
        process = subprocess.Popen(
            command(world, "serve", "sample", "--port", 0, *more),
            stdout=subprocess.PIPE, stderr=err, text=True,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        assert line.startswith("http"), errors.read_text()
        yield Server(process, line, errors)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(60)


@pytest.fixture(scope="module")
def served(world) -> Iterator[Server]:
    with serve(world) as found:
        yield found


@pytest.fixture(scope="module")
def client(served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)


def test_it_answers_whole_and_streamed(client):
    whole = client.chat.completions.create(**ASKED).choices[0].message.content
    assert "signed bundle" in whole
    pieces = list(client.chat.completions.create(**ASKED, stream=True))
    assert "".join(p.choices[0].delta.content or "" for p in pieces) == whole
    assert len(pieces) > 5


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/embeddings", {"model": "sample", "input": "a"}, 400, "wrong_task"),
        ("/v1/chat/completions", {**ASKED, "model": "other"}, 404, "model_not_found"),
        ("/v1/chat/completions", {**ASKED, "chat_template": "{{ 1 }}"}, 400, "unsupported_field"),
        (
            "/v1/chat/completions",
            {
                **ASKED,
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": {"type": "array", "uniqueItems": True}},
                },
            },
            400,
            "unsupported_schema",
        ),
    ],
)
def test_what_it_does_not_do_is_said(served, path, body, status, code):
    answer = httpx.post(served.url + path, json=body, timeout=60)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["message"]
    assert error["code"] == code


def test_a_schema_is_kept_to_in_the_lock(client):
    schema = {
        "type": "object",
        "properties": {"sure": {"type": "boolean"}, "why": {"type": "string", "maxLength": 20}},
        "required": ["sure", "why"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    done = client.chat.completions.create(**{**ASKED, "max_tokens": 200}, response_format=form)
    value = json.loads(done.choices[0].message.content)
    assert set(value) == {"sure", "why"}
    assert len(value["why"]) <= 20


def test_health_and_metrics(served):
    assert served.post().status_code == 200
    assert httpx.get(f"{served.url}/health").json()["ready"] is True
    text = httpx.get(f"{served.url}/metrics").text
    assert 'pratique_rung{rung="auto"} 1' in text


def test_no_text_is_kept_anywhere(world, served):
    message = [{"role": "user", "content": CANARY}]
    assert served.post(messages=message).status_code == 200
    assert served.post(messages=message, model="other").status_code == 404
    assert served.post(messages=message, user=CANARY).status_code == 400
    assert served.post("/v1/completions", prompt=CANARY).status_code == 400
    assert served.post("/tokenize", model="sample", prompt=CANARY).status_code == 400
    assert served.post(messages=message, n=CANARY).status_code == 400
    assert served.post(messages=message, **{CANARY: 1}).status_code == 400
    with httpx.stream(
        "POST", f"{served.url}/v1/chat/completions",
        json={**ASKED, "messages": message, "stream": True}, timeout=60,
    ) as response:  # fmt: skip
        next(response.iter_lines())
    assert served.post().status_code == 200
    places = [path for path in world.home.rglob("*") if path.is_file()]
    assert len(places) > 10
    for path in (*places, served.errors):
        assert CANARY.encode() not in path.read_bytes(), path


def test_the_worker_is_in_the_strict_lock(served):
    said = served.errors.read_text()
    assert "lock: " in said
    assert "lacking" not in said


def test_sigterm_lets_requests_finish_and_takes_no_new_ones(world):
    with serve(world) as server:
        body = {**ASKED, "stream": True, "ignore_eos": True, "max_tokens": 200}
        with httpx.stream(
            "POST", f"{server.url}/v1/chat/completions", json=body, timeout=60
        ) as response:
            lines = response.iter_lines()
            next(lines)
            server.process.send_signal(signal.SIGTERM)
            refused = server.post(max_tokens=1)
            while refused.status_code == 200:  # it came before the signal did
                refused = server.post(max_tokens=1)
            rest = [line for line in lines if line]
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "model_unavailable"
        assert int(refused.headers["retry-after"]) > 0
        assert rest[-1] == "data: [DONE]"
        assert '"finish_reason":"length"' in rest[-2].replace(" ", "")
        assert server.ended() == 0


def test_a_revocation_ends_it_and_it_does_not_start_again(world):
    with serve(world, "--recheck", 1) as server:
        assert server.post().status_code == 200
        done = pratique(world, "revoke", "sample", "--reason", "poisoned upstream")
        assert done.returncode == 0, done.stderr
        assert server.ended() == 11
        said = server.errors.read_text()
    assert "poisoned upstream" in said
    assert "Traceback" not in said
    done = pratique(world, "serve", "sample", "--port", 0)
    assert done.returncode == 11
    assert "poisoned upstream" in done.stderr

"""The gateway and the supervisor around a worker that only speaks the language: fast and exact."""

import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from pratique.errors import ServeError, VerificationRefused
from pratique.serve.gateway.access import Callers, new_key, read_keys
from pratique.serve.gateway.app import Settings
from pratique.serve.server import Listen
from tests.support import models
from tests.support.serving import (
    FAKE_WORKER,
    Notes,
    OpenLauncher,
    Served,
    limits_for,
    serving,
)

MESSAGES = [{"role": "user", "content": "Is this model online?"}]
ENDLESS = {"model": "tiny", "prompt": "a", "ignore_eos": True}


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    return models.write_llama(tmp_path_factory.mktemp("serve") / "tiny")


@contextlib.contextmanager
def fake(directory: Path, **more: Any) -> Iterator[Served]:
    """Serve with the worker in miniature."""
    with serving(directory, launcher=OpenLauncher(FAKE_WORKER), **more) as served:
        yield served


def ask(client: openai.OpenAI) -> Any:
    return client.chat.completions.create(model="tiny", messages=MESSAGES)


def test_every_request_leaves_one_record_without_text(directory):
    notes = Notes()
    with fake(directory, notes=notes) as served:
        post = f"{served.url}/v1/chat/completions"
        body = {"model": "tiny", "messages": MESSAGES, "max_tokens": 3}
        httpx.post(post, json=body)
        httpx.post(post, json={**body, "model": "x"})
        with httpx.stream("POST", post, json={**body, "stream": True}) as response:
            response.read()
    done, refused, streamed = (exchange for exchange, _ in notes.served_)
    assert (done.status, done.completion_tokens, done.prompt) == (200, 3, [])
    assert done.prompt_chars == len(MESSAGES[0]["content"])
    assert (refused.status, refused.code) == (404, "model_not_found")
    assert (streamed.status, streamed.streamed, streamed.completion_tokens) == (200, True, 3)
    assert len({one.request_id for one, _ in notes.served_}) == 3


def test_a_killed_worker_fails_its_requests_and_comes_back(directory):
    with fake(directory, limits=limits_for(rows=1)) as served:
        post = f"{served.url}/v1/completions"
        with httpx.stream("POST", post, json={**ENDLESS, "stream": True}, timeout=30) as response:
            lines = response.iter_lines()
            next(lines)
            os.kill(served.supervisor.pid, signal.SIGKILL)
            rest = "\n".join(lines)
        assert "model_unavailable" in rest
        assert "[DONE]" not in rest
        assert _until_there(post, {"model": "tiny", "prompt": "a"}).status_code == 200
        assert served.supervisor.restarts == 1


def _until_there(post: str, body: dict) -> httpx.Response:
    """Retry as a client would: after the time that the server names."""
    for _ in range(100):
        response = httpx.post(post, json=body, timeout=60)
        if response.status_code != 503:
            break
        assert int(response.headers["retry-after"]) > 0
        threading.Event().wait(0.1)
    return response


def test_a_disconnect_in_mid_stream_frees_the_row(directory):
    with fake(directory, limits=limits_for(rows=1)) as served:
        post = f"{served.url}/v1/completions"
        with httpx.stream("POST", post, json={**ENDLESS, "stream": True}) as response:
            next(response.iter_lines())
        after = httpx.post(post, json={"model": "tiny", "prompt": "a"}, timeout=60)
        assert after.status_code == 200
    statuses = [exchange.status for exchange, _ in served.notes.served_]
    assert sorted(statuses) == [200, 499]


# Answers nobody before it is told that somebody has gone.
HOLDING = (
    FAKE_WORKER
    + """
def vector(m):
    if m.op == "classify":
        return Labels(id=m.id, prompt_tokens=1, rows=((),))
    return Vectors(id=m.id, prompt_tokens=1, dimensions=1, rows=("AAAAAA==",))
def main(channel):
    frames, held, gone = Frames(), [], set()
    while data := channel.recv(65536):
        for body in frames.feed(data):
            m = parse_to_worker(body)
            if m.op == "load":
                hello(channel)
            elif m.op == "stop":
                os._exit(0)
            elif m.op == "cancel":
                gone.add(m.id)
            else:
                held.append(m)
        for m in held if gone else ():
            if m.id not in gone:
                channel.sendall(encode(vector(m)))
        held = [] if gone else held
"""
)


@pytest.mark.parametrize("route", ["embeddings", "classify"])
def test_who_waits_for_a_vector_and_hangs_up_is_taken_back(directory, route):
    launcher = OpenLauncher(HOLDING)
    with serving(directory, launcher=launcher, limits=limits_for(rows=1)) as served:
        body = json.dumps({"model": "tiny", "input": "a"})
        host = served.url.removeprefix("http://")
        head = f"POST /v1/{route} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        name, _, port = host.rpartition(":")
        with socket.create_connection((name, int(port))) as leaving:
            leaving.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
            for _ in range(1000):
                if served.supervisor.link.busy:
                    break
                threading.Event().wait(0.01)
        answer = httpx.post(
            f"{served.url}/v1/{route}", content=body, timeout=60,
            headers={"Content-Type": "application/json"},
        )  # fmt: skip
        assert answer.status_code == 200
        assert served.supervisor.restarts == 0
    assert sorted(exchange.status for exchange, _ in served.notes.served_) == [200, 400]


def test_too_many_waiting_is_429_with_retry_after(directory):
    settings = Settings(queue=0, drain_seconds=1)
    with fake(directory, limits=limits_for(rows=1), settings=settings) as served:
        post = f"{served.url}/v1/completions"
        with httpx.stream("POST", post, json={**ENDLESS, "stream": True}) as response:
            lines = response.iter_lines()  # kept: httpx hangs up when it is dropped
            next(lines)
            refused = httpx.post(post, json=ENDLESS)
            assert refused.status_code == 429
            assert int(refused.headers["retry-after"]) >= 1
            assert refused.json()["error"]["type"] == "rate_limit_error"


def test_keys_open_and_are_limited(directory, tmp_path):
    secret, lines = new_key("ann")
    path = tmp_path / "keys.toml"
    path.write_text(lines + "requests_per_minute = 2\n")
    assert Callers(read_keys(path)).required
    with fake(directory, keys=read_keys(path)) as served:
        for key in ("wrong", ""):
            with pytest.raises(openai.AuthenticationError):
                ask(openai.OpenAI(base_url=f"{served.url}/v1", api_key=key or "x", max_retries=0))
        client = openai.OpenAI(base_url=f"{served.url}/v1", api_key=secret, max_retries=0)
        ask(client)
        ask(client)
        with pytest.raises(openai.RateLimitError):
            ask(client)
        assert httpx.get(f"{served.url}/health").status_code == 200
        assert httpx.get(f"{served.url}/metrics").status_code == 401
        assert httpx.get(f"{served.url}/v1/models").status_code == 401
    assert {e.caller for e, _ in served.notes.served_ if e.status == 200} == {"ann"}


def test_tokens_are_limited_by_key_and_the_wait_is_named(directory, tmp_path):
    secrets, path = {}, tmp_path / "keys.toml"
    lines = []
    for name in ("ann", "ben"):
        secrets[name], more = new_key(name)
        lines.append(more + "tokens_per_minute = 10\n")
    path.write_text("\n".join(lines))
    with fake(directory, keys=read_keys(path)) as served:

        def post(name: str) -> httpx.Response:
            return httpx.post(
                f"{served.url}/v1/completions", json={"model": "tiny", "prompt": "a"},
                headers={"Authorization": f"Bearer {secrets[name]}"},
            )  # fmt: skip

        # an answer of the worker in miniature uses six tokens: the second goes into debt
        assert [post("ann").status_code for _ in range(3)] == [200, 200, 429]
        refused = post("ann")
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert int(refused.headers["retry-after"]) >= 1
        assert post("ben").status_code == 200


def test_metrics_say_what_happened(directory):
    with fake(directory) as served:
        post, body = f"{served.url}/v1/completions", {"model": "tiny", "prompt": "a"}
        assert httpx.post(post, json=body).status_code == 200
        assert httpx.post(post, json={**body, "model": "x"}).status_code == 404
        lines = httpx.get(f"{served.url}/metrics").text.splitlines()
    route = 'route="/v1/completions"'
    for line in (
        f'pratique_requests_total{{{route},status="200"}} 1',
        'pratique_refusals_total{code="model_not_found"} 1',
        "pratique_prompt_tokens_total 3",
        "pratique_completion_tokens_total 3",
        f"pratique_first_token_seconds_count{{{route}}} 1",  # of a whole answer too
        f"pratique_request_seconds_count{{{route}}} 2",
        "pratique_requests_in_flight 0",
        "pratique_requests_waiting 0",
        "pratique_batch_size 0",
        'pratique_rung{rung="auto"} 1',
        "pratique_worker_restarts_total 0",
        "pratique_ready 1",
    ):
        assert line in lines
    assert any(line.startswith("pratique_worker_resident_bytes ") for line in lines)


def test_a_unix_socket(directory, tmp_path):
    path = tmp_path / "serve.sock"
    with fake(directory, listen=Listen(unix=path)) as served:
        assert served.url == f"unix:{path}"
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as http:
            assert http.get("http://anything/health").json()["ready"] is True
    assert not path.exists()


def test_tls(directory, tmp_path):
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", str(key), "-out", str(certificate), "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    listen = Listen(port=0, certificate=certificate, private_key=key)
    with fake(directory, listen=listen) as served:
        assert served.url.startswith("https://127.0.0.1:")
        context = ssl.create_default_context(cafile=str(certificate))
        assert httpx.get(f"{served.url}/health", verify=context).json()["ready"] is True


def test_a_revocation_ends_the_serving(directory):
    revoked = threading.Event()

    def still_admitted() -> None:
        if revoked.is_set():
            raise VerificationRefused("the bundle was revoked")

    with fake(directory, still_admitted=still_admitted) as served:
        assert httpx.get(f"{served.url}/health").json()["ready"] is True
        revoked.set()
        served.thread.join(30)
    assert isinstance(served.error, VerificationRefused)


def test_while_it_drains_what_is_new_is_refused_and_what_runs_goes_on(directory):
    revoked = threading.Event()

    def still_admitted() -> None:
        if revoked.is_set():
            raise VerificationRefused("the approval has expired")

    settings = Settings(drain_seconds=2)
    with fake(directory, still_admitted=still_admitted, settings=settings) as served:
        post = f"{served.url}/v1/completions"
        with httpx.stream("POST", post, json={**ENDLESS, "stream": True}, timeout=30) as response:
            lines = response.iter_lines()
            next(lines)
            revoked.set()
            body = {"model": "tiny", "prompt": "a"}
            while (refused := httpx.post(post, json=body)).status_code == 200:
                pass
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) > 0
            assert httpx.get(f"{served.url}/health/live").status_code == 200
            assert httpx.get(f"{served.url}/health/ready").status_code == 503
            assert served.thread.is_alive()  # for the sake of the one that runs
        served.thread.join(30)  # which hung up
    assert isinstance(served.error, VerificationRefused)


def test_a_spoiled_model_directory_cannot_be_served(directory, tmp_path):
    copy = tmp_path / "tiny"
    shutil.copytree(directory, copy)

    class Spoiling(OpenLauncher):
        async def launch(self, channel, report):
            models.flip_byte(copy / "model.safetensors")
            return await super().launch(channel, report)

    with (
        pytest.raises(ServeError, match="not what was admitted"),
        serving(copy, launcher=Spoiling()),
    ):
        pass

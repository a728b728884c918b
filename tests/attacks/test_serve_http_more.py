"""More hostile clients: many at once, odd numbers, odd framing. And nothing of it in any log."""

import concurrent.futures
import contextlib
import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from pratique.serve.gateway.app import Gateway, Settings
from tests.support import models
from tests.support.serving import FAKE_WORKER, OpenLauncher, Served, serving

CANARY = "quokka-7731"
GOOD = {"model": "tiny", "messages": [{"role": "user", "content": CANARY}]}
CONNECTIONS = 40


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    directory: Path = models.write_llama(tmp_path_factory.mktemp("attacked") / "tiny")
    # Seconds are for slow clients to run into, and enough for honest ones on a busy machine.
    settings = Settings(
        body_bytes=300_000, body_seconds=2, header_seconds=2, drain_seconds=1,
        connections=CONNECTIONS,
    )  # fmt: skip
    with serving(directory, launcher=OpenLauncher(FAKE_WORKER), settings=settings) as found:
        yield found


@pytest.fixture(autouse=True)
def lives(served, caplog, capfd):
    """After each test an honest client is answered, and nobody's text was logged."""
    caplog.set_level(logging.DEBUG, logger="pratique")
    yield
    for _ in range(100):
        answer = chat(served)
        if answer.status_code == 200:
            break
    assert answer.status_code == 200
    out, err = capfd.readouterr()
    for said in (out, err, caplog.text):
        assert CANARY not in said
        assert "Traceback" not in said


def chat(served: Served, **more: object) -> httpx.Response:
    return httpx.post(f"{served.url}/v1/chat/completions", json={**GOOD, **more}, timeout=30)


def raw(served: Served, body: str | bytes) -> httpx.Response:
    """Send bytes as a body."""
    return httpx.post(
        f"{served.url}/v1/chat/completions", content=body, timeout=30,
        headers={"Content-Type": "application/json"},
    )  # fmt: skip


def send(served: Served, data: bytes) -> bytes:
    """Send bytes; return everything up to the hang-up."""
    parts = urlsplit(served.url)
    answer = b""
    with (
        socket.create_connection((parts.hostname, parts.port), timeout=30) as sock,
        contextlib.suppress(ConnectionResetError, BrokenPipeError),
    ):
        sock.sendall(data)
        while piece := sock.recv(65536):
            answer += piece
    return answer


def request(body: bytes, *lines: str, first: str = "POST /v1/chat/completions HTTP/1.1") -> bytes:
    fixed = [first, "Host: localhost", "Content-Type: application/json", *lines]
    return "\r\n".join(fixed).encode("latin-1") + b"\r\n\r\n" + body


def is_error(answer: httpx.Response, status: int = 400) -> None:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert CANARY not in answer.text
    assert len(answer.text) < 2000


@pytest.mark.parametrize(
    "literal",
    ["NaN", "Infinity", "-Infinity", "1e999", "1" * 5000, "-1", "2.5", '"1"', "true", "[]", "{}"],
)
@pytest.mark.parametrize("field", ["temperature", "n", "max_tokens", "seed", "top_p", "top_k"])
def test_odd_numbers(served, field, literal):
    body = json.dumps(GOOD)[:-1] + f', "{field}": {literal}}}'
    answer = raw(served, body)
    if answer.status_code != 200:
        is_error(answer)
    else:
        assert (field, literal) in {
            ("seed", "-1"), ("top_k", "-1"), ("temperature", "1"),
        }  # fmt: skip


@pytest.mark.parametrize(
    "more",
    [
        {"n": 129},
        {"n": 10**9},
        {"max_tokens": 2**31},
        {"max_tokens": 0},
        {"stop": ["x"] * 10_000},
        {"stop": [CANARY, 7]},
        {"stop": {"a": CANARY}},
        {"stop": "s" * 200_000},
        {"logit_bias": {CANARY: 1}},
        {"logit_bias": {"-1": 1}},
        {"logit_bias": {"\u0661": 1}},
        {"logit_bias": {"1": 1000}},
        {"logit_bias": {"1": CANARY}},
        {"logit_bias": {str(at): 1 for at in range(1025)}},
        {"logit_bias": [[1, 2]]},
        {"messages": []},
        {"messages": [{"role": CANARY, "content": "x"}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": CANARY}]}]},
        {"messages": [{"role": "user", "content": "x"}] * 5000},
        {"tools": [{"type": "function", "function": {"name": "f" * 65}}]},
        {"tools": [{"type": CANARY}]},
        {CANARY: 1},
        {"stop": ["s" * 1025]},
        {"stream_options": {"include_usage": CANARY}},
        {"logprobs": True, "top_logprobs": 21},
    ],
)
def test_odd_values_are_named_and_not_quoted(served, more):
    if set(more) == {CANARY}:  # the name of an unknown field is the one thing that is said back
        answer = chat(served, **more)
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "unsupported_field"
        return
    answer = chat(served, **more)
    is_error(answer)


@pytest.mark.parametrize(
    "body",
    [
        '{"model":"tiny","messages":[{"role":"user","role":"system","content":"x"}]}',
        '{"model":"tiny","messages":[{"role":"user","content":NaN}]}',
        b'{"model":"tiny","messages":[{"role":"user","content":"\xc3\x28"}]}',
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\x00}\x00",
        "[]",
        '"x"',
        "{}{}",
        '{"model":"tiny","messages":' + "[" * 5000 + "]" * 5000 + "}",
        '{"model":"tiny","messages":[' + "{}," * 50_000 + "{}]}",
    ],
)
def test_odd_json(served, body):
    is_error(raw(served, body))


def test_a_chunked_body_that_never_ends(served):
    endless = request(b"1\r\n{\r\n", "Transfer-Encoding: chunked")
    answer = send(served, endless)  # returns when the server hangs up
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"body_timeout" in answer


@pytest.mark.parametrize(
    "first", ["POST /nothing HTTP/1.1", "GET /health/live HTTP/1.1", "POST /tokenize HTTP/1.1"]
)
def test_who_goes_on_sending_after_the_answer_is_hung_up_on(served, first):
    parts = urlsplit(served.url)
    lines = request(b"1\r\n{\r\n", "Transfer-Encoding: chunked", first=first)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as sock:
        sock.sendall(lines)
        assert sock.recv(65536).startswith(b"HTTP/1.1 ")
        sock.settimeout(0.05)
        assert _is_hung_up_on(sock)


def _is_hung_up_on(sock: socket.socket) -> bool:
    """Send a chunk every moment until the server has had enough."""
    try:
        for _ in range(200):
            sock.sendall(b"1\r\n{\r\n")
            with contextlib.suppress(TimeoutError):
                if sock.recv(65536) == b"":
                    return True
    except (BrokenPipeError, ConnectionResetError):
        return True
    return False


def test_a_body_that_ends_after_the_answer_keeps_its_connection(served):
    parts = urlsplit(served.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as sock:
        sock.sendall(request(b"", "Transfer-Encoding: chunked", first="POST /nothing HTTP/1.1"))
        answer = b""
        while b"no_such_route" not in answer:
            answer += sock.recv(65536)
        sock.sendall(b"1\r\n{\r\n0\r\n\r\n")
        sock.sendall(request(b"", first="GET /health/live HTTP/1.1"))
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: -1",),
        ("Content-Length: 1e3",),
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: " + "9" * 400,),
        ("Transfer-Encoding: gzip",),
        ("Transfer-Encoding: chunked, identity",),
        ("X-A: " + "a" * 40_000,),
        *[tuple(f"X-{at}: a" for at in range(5000))],
        ("Host: localhost",),
        ("X-A\x00B: c",),
        ("X-A: \x80\xff", "Content-Length: 0", "Connection: close"),
        ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: x", "Content-Length: 0"),
        ("Authorization: Bearer \xff\xfe", "Content-Length: 0", "Connection: close"),
        ("Origin: \xff", "Content-Length: 0", "Connection: close"),
        ("Content-Encoding: gzip", "Content-Length: 2", "Connection: close"),
    ],
)
def test_odd_headers(served, lines):
    answer = send(served, request(b"\x1f\x8b", *lines))
    assert answer == b"" or 400 <= int(answer.split(b" ", 2)[1]) < 500


@pytest.mark.parametrize(
    "first",
    [
        "POST /v1/chat/completions HTTP/0.9",
        "POST /v1/chat/completions HTTP/2.0",
        "PRI * HTTP/2.0",
        "GET http://evil.example/ HTTP/1.1",
        "CONNECT evil.example:443 HTTP/1.1",
        "TRACE /metrics HTTP/1.1",
        "GET /%ff%00%2e%2e/metrics HTTP/1.1",
        "GET //metrics HTTP/1.1",
        "A" * 60_000,
    ],
)
def test_odd_request_lines(served, first):
    answer = send(served, request(b"", "Connection: close", first=first))
    assert answer == b"" or 400 <= int(answer.split(b" ", 2)[1]) < 500
    assert b"pratique_requests_total" not in answer


def test_pipelined_requests_are_answered_in_order(served):
    body = json.dumps(GOOD).encode()
    one = request(body, f"Content-Length: {len(body)}")
    last = request(body, f"Content-Length: {len(body)}", "Connection: close")
    answer = send(served, one * 20 + last)
    assert answer.count(b"HTTP/1.1 200") == 21


def test_a_hundred_hang_ups_in_mid_stream(served):
    body = {**GOOD, "stream": True, "ignore_eos": True}
    with httpx.Client(timeout=30) as client:
        for _ in range(100):
            with client.stream("POST", f"{served.url}/v1/chat/completions", json=body) as response:
                if response.status_code == 200:
                    next(response.iter_lines())
    for _ in range(200):
        if served.supervisor.link.busy == 0:
            break
        httpx.get(f"{served.url}/health/live")
    assert served.supervisor.link.busy == 0


def test_two_hundred_at_once_are_answered_or_turned_away(served):
    def one(_: int) -> int:
        try:
            return chat(served).status_code
        except httpx.TransportError:
            return 0

    with concurrent.futures.ThreadPoolExecutor(200) as pool:
        found = set(pool.map(one, range(200)))
    assert 200 in found
    assert found <= {200, 429, 503, 0}


def test_a_bug_is_a_500_without_the_text_that_caused_it(served, monkeypatch, caplog):
    def broken(self: Gateway, name: str) -> None:
        raise RuntimeError(f"{name} {CANARY}")

    with monkeypatch.context() as patched:
        patched.setattr(Gateway, "check_model", broken)
        answer = chat(served)
        is_error(answer, 500)
    assert "a bug: RuntimeError at test_serve_http_more.py" in caplog.text

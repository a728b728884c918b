"""Hostile clients. In each case: a proper error or a hang-up, and the server answers the next one."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from pratique.serve.gateway.app import Settings
from tests.support import models
from tests.support.serving import FAKE_WORKER, OpenLauncher, Served, serving

GOOD = {"model": "tiny", "messages": [{"role": "user", "content": "x"}]}


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    directory: Path = models.write_llama(tmp_path_factory.mktemp("attacked") / "tiny")
    # Seconds are for slow clients to run into, and enough for honest ones on a busy machine.
    settings = Settings(
        body_bytes=20_000, body_seconds=2, header_seconds=2, drain_seconds=1, connections=40
    )
    with serving(directory, launcher=OpenLauncher(FAKE_WORKER), settings=settings) as found:
        yield found


@pytest.fixture(autouse=True)
def lives(served):
    """Whatever a test does, the next honest client is answered."""
    yield
    assert chat(served).status_code == 200


def chat(served: Served, **more: object) -> httpx.Response:
    return httpx.post(f"{served.url}/v1/chat/completions", json={**GOOD, **more}, timeout=30)


@contextlib.contextmanager
def connection(served: Served) -> Iterator[socket.socket]:
    parts = urlsplit(served.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as sock:
        yield sock


def everything(sock: socket.socket) -> bytes:
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(65536):
            data += piece
    return data


def head(body: bytes, *more: str, host: str = "localhost", length: int | None = None) -> bytes:
    lines = [
        "POST /v1/chat/completions HTTP/1.1",
        f"Host: {host}",
        "Content-Type: application/json",
        f"Content-Length: {len(body) if length is None else length}",
        "Connection: close",
        *more,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def test_slow_headers_are_hung_up_on(served):  # Slowloris, CVE-2007-6750
    with connection(served) as sock:
        sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX-A: ")
        assert everything(sock) == b""


def test_a_silent_connection_is_hung_up_on(served):
    with connection(served) as sock:
        assert everything(sock) == b""


def test_slow_headers_on_a_kept_connection_are_hung_up_on(served):
    with connection(served) as sock:
        sock.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert status(sock.recv(65536)) == 200
        sock.sendall(b"GET /health/live HTTP/1.1\r\nHost: ")
        assert b"HTTP/1.1" not in everything(sock)


def test_a_slow_body_is_told_so(served):
    with connection(served) as sock:
        sock.sendall(head(b"", length=100) + b'{"model":')
        answer = everything(sock)
    assert status(answer) == 408
    assert b"body_timeout" in answer


@pytest.mark.parametrize("announced", [True, False])
def test_a_huge_body_is_refused_without_reading_it(served, announced):
    data = b'{"model":"' + b"a" * 30_000 + b'"}'
    with connection(served) as sock:
        if announced:
            sock.sendall(head(data))
        else:
            lines = head(data).replace(b"Content-Length: 30012", b"Transfer-Encoding: chunked")
            sock.sendall(lines + b"%x\r\n" % len(data) + data + b"\r\n0\r\n\r\n")
        answer = everything(sock)
    assert status(answer) == 413
    assert b"body_too_large" in answer


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"tiny","messages":[{"role":"user","content":"\xff\xfe"}]}',
        b'{"model":"tiny","messages":[{"role":"user","content":"\\ud800"}]}',
        b"[" * 9_000,
        b'{"a":' * 3_000,
        b'{"model":"tiny","model":"other"}',
        b"\x00",
        b"",
    ],
)
def test_bytes_that_are_not_strict_json_are_400(served, body):
    with connection(served) as sock:
        sock.sendall(head(body) + body)
        answer = everything(sock)
    assert status(answer) == 400
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "invalid_json"


def test_huge_headers_are_refused(served):
    with connection(served) as sock:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            sock.sendall(head(b"", "X-A: " + "a" * 100_000))
        answer = everything(sock)
    assert answer == b"" or status(answer) == 400


def test_what_is_not_http_is_hung_up_on(served):
    with connection(served) as sock:
        sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n")
        answer = everything(sock)
    assert answer == b"" or status(answer) == 400


def test_content_length_and_chunked_together_cannot_smuggle(served):
    smuggled = b"0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connection(served) as sock:
        sock.sendall(head(smuggled, "Transfer-Encoding: chunked") + smuggled)
        answer = everything(sock)
    assert b"pratique_requests_total" not in answer


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", ""]
)
def test_a_name_that_was_made_to_point_here_is_refused(served, host):  # DNS rebinding
    body = json.dumps(GOOD).encode()
    with connection(served) as sock:
        sock.sendall(head(body, host=host) + body)
        assert status(everything(sock)) == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1:80", "[::1]:9"])
def test_our_own_names_pass(served, host):
    body = json.dumps(GOOD).encode()
    with connection(served) as sock:
        sock.sendall(head(body, host=host) + body)
        assert status(everything(sock)) == 200


@pytest.mark.parametrize(
    ("origin", "code"),
    [("https://evil.example", 403), ("null", 403), ("http://localhost:3000", 200)],
)
def test_pages_of_other_origins_are_refused(served, origin, code):
    answer = httpx.post(f"{served.url}/v1/chat/completions", json=GOOD, headers={"Origin": origin})
    assert answer.status_code == code
    assert "access-control-allow-origin" not in answer.headers


def test_a_form_of_a_page_cannot_ask(served):
    answer = httpx.post(
        f"{served.url}/v1/chat/completions",
        content=json.dumps(GOOD),
        headers={"Content-Type": "text/plain"},
    )
    assert answer.status_code == 415


@pytest.mark.parametrize(
    ("path", "method", "code"),
    [
        ("/load_model", "POST", 404),
        ("/v1/models/../../etc/passwd", "GET", 404),
        ("/v1/chat/completions", "GET", 405),
        ("/docs", "GET", 404),
        ("/openapi.json", "GET", 404),
    ],
)
def test_there_is_nothing_else_to_call(served, path, method, code):
    answer = httpx.request(method, served.url + path)
    assert answer.status_code == code
    assert answer.json()["error"]["code"] == "no_such_route"


@pytest.mark.parametrize(
    "more",
    [
        {"chat_template": "{{ cycler.__init__.__globals__.os.popen('id').read() }}"},
        {"chat_template_kwargs": {"x": 1}},
        {"documents": []},
        {"tokenizer": "other/repo"},
        {"trust_remote_code": True},
    ],
)
def test_a_client_cannot_bring_templates_or_code(served, more):
    answer = chat(served, **more)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] in more
    assert "popen" not in answer.text


@pytest.mark.parametrize("name", ["../../etc/passwd", "http://evil/x", "other", "tiny\n", ""])
def test_a_client_cannot_choose_another_model(served, name):
    answer = chat(served, model=name)
    assert answer.status_code == 404
    assert "etc" not in answer.text


def test_clients_that_hang_up_at_every_moment(served):
    body = json.dumps({**GOOD, "ignore_eos": True, "stream": True}).encode()
    whole = head(body) + body
    for cut in range(1, len(whole), 23):
        with connection(served) as sock:
            sock.sendall(whole[:cut])
    with connection(served) as sock:
        sock.sendall(whole)
        sock.recv(10)
    assert chat(served).status_code == 200


def test_more_connections_than_allowed_are_turned_away(served):
    parts = urlsplit(served.url)
    socks = [socket.create_connection((parts.hostname, parts.port)) for _ in range(45)]
    try:
        socks[-1].sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        socks[-1].settimeout(10)
        assert status(socks[-1].recv(65536)) == 503
    finally:
        for sock in socks:
            sock.close()
    for _ in range(100):
        if httpx.get(f"{served.url}/health/live").status_code == 200:
            break
        threading.Event().wait(0.05)


def test_log_lines_cannot_be_forged(served):
    served.notes.served_.clear()
    httpx.post(
        f"{served.url}/v1/chat/completions",
        json=GOOD,
        headers={"X-Request-Id": "forged", "User-Agent": "a\tb"},
    )
    exchange, _ = served.notes.served_[-1]
    assert exchange.request_id.startswith("req-")
    assert exchange.caller == "-"

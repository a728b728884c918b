"""Metrics, listening, records: the small parts."""

import grp
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pratique.errors import ServeError, UnreadableInput, UsageError
from pratique.redact import redact
from pratique.serve.gateway.access import Key
from pratique.serve.gateway.app import Settings
from pratique.serve.gateway.exchange import Exchange
from pratique.serve.gateway.metrics import Metrics, gateway_metrics
from pratique.serve.records import Records, TextLog
from pratique.serve.server import Listen, bind, is_loopback, settings_for, url

KEY = Key(id="a", sha256="0" * 64)


def test_prometheus_text():
    metrics = Metrics()
    metrics.describe("a_total", "counter", "How many")
    metrics.describe("b_seconds", "histogram", "How long")
    metrics.add("a_total", 2, route='x"\n\\')
    metrics.observe("b_seconds", 0.3)
    metrics.observe("b_seconds", 1000)
    text = metrics.render()
    assert 'a_total{route="x\\"\\n\\\\"} 2' in text
    assert 'b_seconds_bucket{le="0.25"} 0' in text
    assert 'b_seconds_bucket{le="0.5"} 1' in text
    assert 'b_seconds_bucket{le="+Inf"} 2' in text
    assert "b_seconds_sum 1000.3" in text
    assert text.endswith("\n")
    with pytest.raises(KeyError):
        metrics.add("undeclared")
    assert gateway_metrics().render().count("# TYPE") == 17


@pytest.mark.parametrize(
    ("host", "own"),
    [("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("localhost.evil", False)],
)  # fmt: skip
def test_what_is_loopback(host, own):
    assert is_loopback(host) is own


def test_other_machines_need_keys():
    with pytest.raises(UsageError):
        bind(Listen(host="0.0.0.0", port=0), ())
    sock = bind(Listen(host="0.0.0.0", port=0), (KEY,))
    sock.close()


def test_a_port_in_use_says_so():
    first = bind(Listen(port=0), ())
    try:
        with pytest.raises(ServeError, match="in use") as caught:
            bind(Listen(port=first.getsockname()[1]), ())
        assert caught.value.exit_code == 12
        assert "--port" in caught.value.hint
    finally:
        first.close()


def test_unix_sockets_replace_a_dead_one_and_nothing_else(tmp_path):
    path = tmp_path / "s.sock"
    listen = Listen(unix=path)
    sock = bind(listen, ())
    assert url(listen, sock) == f"unix:{path}"
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ServeError):
        bind(listen, ())
    sock.close()
    bind(listen, ()).close()
    path.unlink()
    path.write_text("mine")
    with pytest.raises(ServeError):
        bind(listen, ())
    assert path.read_text() == "mine"


def test_a_unix_socket_for_a_group(tmp_path):
    group = grp.getgrgid(os.getgid())
    path = tmp_path / "s.sock"
    with bind(Listen(unix=path, unix_group=group.gr_name), ()):
        assert path.stat().st_mode & 0o777 == 0o660
        assert path.stat().st_gid == group.gr_gid
    with pytest.raises(UsageError, match="no group 'nobody-has-this'"):
        bind(Listen(unix=tmp_path / "t.sock", unix_group="nobody-has-this"), ())
    assert not (tmp_path / "t.sock").exists()


def test_which_names_are_answered():
    settings = Settings()
    assert "localhost" in settings_for(Listen(), settings).hosts
    assert "gpu.lan" in settings_for(Listen(names=("GPU.lan",)), settings).hosts
    assert settings_for(Listen(host="0.0.0.0"), settings).hosts is None
    assert settings_for(Listen(host="0.0.0.0", names=("a",)), settings).hosts == {"a"}


def test_addresses_in_urls():
    sock = bind(Listen(port=0), ())
    with sock:
        assert url(Listen(), sock) == f"http://127.0.0.1:{sock.getsockname()[1]}"
    if socket.has_ipv6:
        try:
            six = bind(Listen(host="::1", port=0), ())
        except ServeError:
            return
        with six:
            assert url(Listen(host="::1"), six).startswith("http://[::1]:")


@dataclass
class Book:
    events: list = field(default_factory=list)

    def append(self, event) -> int:
        self.events.append(event)
        return len(self.events)


def exchange(keeps: bool) -> Exchange:
    one = Exchange(route="/v1/completions", keeps_text=keeps, finish="stop")
    one.asked("mail maria.keller@example.org")
    one.said("to maria.kel")
    one.said("ler@example.org")
    return one


def test_the_ledger_gets_counts_and_no_text():
    book = Book()
    records = Records(book, bundle_id="0" * 64, name="m")
    records.served(exchange(keeps=False), rung="auto")
    (event,) = book.events
    assert (event.prompt_chars, event.completion_chars) == (29, 27)
    assert "maria" not in repr(event)
    assert not records.keeps_text


def test_text_is_redacted_whole_before_it_is_written(tmp_path):
    book, path = Book(), tmp_path / "log" / "text.jsonl"
    texts = TextLog(path)
    records = Records(book, bundle_id="0" * 64, name="m", texts=texts, redactor=redact)
    records.served(exchange(keeps=True), rung="auto")
    texts.close()
    written = path.read_text()
    assert "keller" not in written
    assert written.count("EMAIL") == 2
    assert book.events[0].entities == {"EMAIL": 2}
    assert path.stat().st_mode & 0o777 == 0o600


def test_tcp_is_named_so_that_answers_do_not_wait_for_acknowledgements():
    with bind(Listen(port=0), ()) as sock:
        assert sock.proto == socket.IPPROTO_TCP


def test_a_certificate_that_cannot_be_used_is_said_before_a_model_is_loaded(
    tmp_path: Path,
) -> None:
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    listen = Listen(port=0, certificate=certificate, private_key=key)
    with pytest.raises(UnreadableInput, match="for TLS"):
        bind(listen, ())
    certificate.write_text("no certificate")
    key.write_text("no key")
    with pytest.raises(UnreadableInput, match="for TLS"):
        bind(listen, ())

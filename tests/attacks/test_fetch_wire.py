"""A Hub that lies below HTTP: answers that are none, that never begin or never end.

Each must end in a refusal, soon; nothing may hang, crash or be taken for an answer.
"""

import contextlib
import itertools
import socket
import threading
from collections.abc import Callable, Iterable, Iterator

import pytest

from pratique.errors import FetchError
from pratique.fetch.patience import Patience
from pratique.fetch.session import hub_session
from pratique.fetch.urls import Endpoint

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@contextlib.contextmanager
def talking(say: Callable[[], Iterable[bytes]]) -> Iterator[str]:
    """A server that says the same to whatever it is asked, until the other side hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk(client: socket.socket) -> None:
            with contextlib.suppress(OSError), client:
                client.recv(65536)
                for piece in say():
                    client.sendall(piece)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=talk, args=(client,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def asked(say: Callable[[], Iterable[bytes]], patience: Patience | None = None) -> bytes:
    patience = patience or Patience(attempts=2, first=0.0)
    with (
        talking(say) as url,
        hub_session(Endpoint.parse(url), timeout=5, patience=patience) as session,
    ):
        return session.get(f"{url}/x", limit=1 << 20, what="x").body


def forever(first: bytes, again: bytes) -> Callable[[], Iterable[bytes]]:
    return lambda: itertools.chain([first], itertools.repeat(again))


def once(answer: bytes) -> Callable[[], Iterable[bytes]]:
    return lambda: [answer]


def test_an_honest_answer() -> None:
    """The look-alike of all that follows, with one interim answer."""
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    assert asked(once(early + OK + b"Content-Length: 2\r\n\r\nhi")) == b"hi"
    assert asked(once(CHUNKED + b"2\r\nhi\r\n0\r\nX-Trailer: y\r\n\r\n")) == b"hi"


@pytest.mark.parametrize(
    "say",
    [
        pytest.param(forever(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 999), id="1xx"),
        pytest.param(forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 999), id="100-continue"),
        pytest.param(forever(OK + b"X: ", b"a" * 65536), id="header without end"),
        pytest.param(forever(OK, b"X-A: b\r\n" * 8192), id="headers without end"),
        pytest.param(forever(b"HTTP/1.1 200 ", b"a" * 65536), id="reason without end"),
        pytest.param(forever(CHUNKED + b"0\r\n", b"X: y\r\n" * 9999), id="trailers without end"),
        pytest.param(forever(CHUNKED + b"1;", b"a" * 65536), id="chunk extension without end"),
        pytest.param(forever(CHUNKED, b"1\r\nx\r\n" * 9999), id="chunks without end"),
        pytest.param(once(b"<html>hello</html>"), id="HTTP/0.9"),
        pytest.param(once(b"\0" * 100_000), id="zeros"),
        pytest.param(once(b"\x16\x03\x01\x02\x00\x01"), id="TLS on a plain port"),
        pytest.param(once(CHUNKED + b"f" * 20 + b"\r\nx"), id="huge chunk"),
        pytest.param(once(CHUNKED + b"-1\r\nx"), id="negative chunk"),
        pytest.param(once(OK + b"Content-Length: -1\r\n\r\n"), id="negative length"),
        pytest.param(once(OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"), id="lengths"),
        pytest.param(once(OK + b"X: a\0b\r\nContent-Length: 0\r\n\r\n"), id="NUL in a header"),
        pytest.param(once(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"), id="upgrade"),
        pytest.param(once(b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n"), id="status 999"),
        pytest.param(once(b""), id="nothing"),
        pytest.param(once(OK + b"Content-Length: 9\r\n\r\nx"), id="cut"),
        pytest.param(once(OK + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b"), id="gzip"),
        pytest.param(once(OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), id="te gzip"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_refused(say: Callable[[], Iterable[bytes]]) -> None:
    with pytest.raises(FetchError) as caught:
        asked(say)
    assert caught.value.hint


@pytest.mark.parametrize("before", [b"", OK, OK + b"Content-Length: 99999\r\n\r\n"])
def test_a_dripping_answer_is_given_up(before: bytes) -> None:
    """Byte after byte, each in time: before the headers end, and in a body."""
    ticks = itertools.count(0.0, 10.0)
    patience = Patience(attempts=1, drip=1000.0, clock=lambda: next(ticks))

    def drops() -> Iterator[bytes]:
        yield before
        pause = threading.Event()
        for _ in range(5000):
            yield b"x"
            pause.wait(0.0005)  # so that each is received by itself

    with pytest.raises(FetchError, match="in time"):
        asked(drops, patience)

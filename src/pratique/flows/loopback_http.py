"""HTTP/1.1 on loopback around a pure function from requests to replies.

The function may be a liar's: a reply can announce one length and send another, end early or never.
Never binds anything but 127.0.0.1.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked. `headers` has lower-case names; `path` is decoded, without the query."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class FilePart:
    """Bytes `start` to `start + size` of a file on disk."""

    path: Path
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered. An iterator as body may end early or never: `length` is what is announced."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: "bytes | FilePart | Iterator[bytes]" = b""
    length: int | None = None

    @property
    def announced(self) -> int | None:
        """The Content-Length to send, or None for none."""
        if self.length is not None:
            return self.length
        if isinstance(self.body, bytes):
            return len(self.body)
        return self.body.size if isinstance(self.body, FilePart) else None


@contextlib.contextmanager
def serving(respond: Callable[[Request], Reply]) -> Iterator[str]:
    """Serve `respond` on a free port of 127.0.0.1; yields `http://127.0.0.1:PORT`."""

    class Bound(Handler):
        answer = staticmethod(respond)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
    server.daemon_threads = True
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
    )
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 around a pure function."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each answer waits for the client's delayed ACK
    answer: Callable[[Request], Reply]

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("content-length") or 0)
        request = Request(
            method=self.command,
            path=unquote(parts.path),
            query={k: v[-1] for k, v in parse_qs(parts.query).items()},
            headers={k.lower(): v for k, v in self.headers.items()},
            body=self.rfile.read(length) if length else b"",
        )
        reply = type(self).answer(request)
        try:
            self._send(reply)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_HEAD = do_POST = _handle  # noqa: N815 - the base class's names

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.announced is not None:
            self.send_header("Content-Length", str(reply.announced))
        if reply.announced is None or not isinstance(reply.body, bytes | FilePart):
            # Said, or a client that is quicker than the end would ask again on this connection.
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command == "HEAD":
            return
        match reply.body:
            case bytes() as body:
                self.wfile.write(body)
            case FilePart() as part:
                with part.path.open("rb") as stream:
                    self.wfile.flush()
                    self.connection.sendfile(stream, part.start, part.size)
            case pieces:
                for piece in pieces:
                    self.wfile.write(piece)

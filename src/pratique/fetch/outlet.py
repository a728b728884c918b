"""The only way out for a program that makes connections of its own: a proxy on loopback.

The rules: a connection leads to an origin that redirects of file content may lead to, whatever the
program was told by a server; nobody else on this machine can use it (a password that only the
program's environment has); TLS is between the program and the far end, and not looked into.
"""

import base64
import contextlib
import hmac
import re
import secrets
import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from pratique.fetch.urls import Origin, origin_of

_LONGEST_HEAD: Final = 32 << 10
_PIECE: Final = 256 << 10
_AT_ONCE: Final = 128
_REQUEST: Final = re.compile(rb"([A-Z]{3,8}) ([!-~]{1,16000}) HTTP/1\.1\r\n")
_OWN_HEADER: Final = re.compile(rb"(?im)^(?:proxy-[a-z-]+|connection):[^\n]*\n")


@dataclass(frozen=True, slots=True)
class Outlet:
    """A running proxy. `url` has the password in it."""

    url: str
    refused: list[str]
    """Origins that were asked for and not expected, for the tests."""


@contextlib.contextmanager
def outlet(expects: Callable[[Origin], bool], *, timeout: float) -> Iterator[Outlet]:
    """Run the proxy until the context ends, and every connection with it.

    `timeout` is the longest silence of a connection, in seconds.
    """
    password = secrets.token_urlsafe(24)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        port = listener.getsockname()[1]
        running = _Running(expects, password, timeout)
        thread = threading.Thread(target=running.accept, args=(listener,), daemon=True)
        thread.start()
        try:
            yield Outlet(f"http://x:{password}@127.0.0.1:{port}", running.refused)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            running.close()
            thread.join()


class _Running:
    def __init__(self, expects: Callable[[Origin], bool], password: str, timeout: float) -> None:
        self._expects = expects
        self._login = b"Basic " + base64.b64encode(b"x:" + password.encode())
        self._timeout = timeout
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self.refused: list[str] = []

    def accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            if len(self._open) >= _AT_ONCE:
                near.close()
                continue
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def close(self) -> None:
        with self._lock:
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def _held(self, one: socket.socket) -> Iterator[socket.socket]:
        with self._lock:
            self._open.add(one)
        try:
            with one:
                one.settimeout(self._timeout)
                yield one
        finally:
            with self._lock:
                self._open.discard(one)

    def _serve(self, near: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), self._held(near):
            head, rest = _read_head(near)
            origin, first = self._judge(head)
            if origin is None:
                near.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                return
            try:
                far = socket.create_connection((origin.host, origin.port), self._timeout)
            except OSError:
                near.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                return
            with self._held(far):
                if first:
                    far.sendall(first + rest)
                    near.sendall(_closing(*_read_head(far)))
                else:
                    near.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
                    far.sendall(rest)
                _exchange(near, far, self._timeout)

    def _judge(self, head: bytes) -> tuple[Origin | None, bytes]:
        """Where a request may go, and what to send there first (nothing for a tunnel)."""
        match = _REQUEST.match(head)
        login = re.search(rb"(?im)^proxy-authorization: *([^\r\n]*)\r$", head)
        if not match or not login or not hmac.compare_digest(login[1], self._login):
            return None, b""
        method, target = match[1], match[2].decode("ascii")
        tunnel = method == b"CONNECT"
        origin = origin_of(f"https://{target}" if tunnel else target)
        if origin is None or not (tunnel or origin.scheme == "http") or not self._expects(origin):
            self.refused.append(target)
            return None, b""
        if tunnel:
            return origin, b""
        path = "/" + target.split("/", 3)[3] if target.count("/") >= 3 else "/"
        kept = _OWN_HEADER.sub(b"", head[match.end() :])
        line = method + b" " + path.encode("ascii") + b" HTTP/1.1\r\nConnection: close\r\n"
        return origin, line + kept


def _read_head(near: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        piece = near.recv(_LONGEST_HEAD)
        if not piece or len(data) > _LONGEST_HEAD:
            raise ValueError("no request")
        data += piece
    return data[: end + 4], data[end + 4 :]


def _closing(head: bytes, rest: bytes) -> bytes:
    """An answer that says what is so: nothing more comes on this connection."""
    line, _, fields = head.partition(b"\r\n")
    return line + b"\r\nConnection: close\r\n" + _OWN_HEADER.sub(b"", fields) + rest


def _exchange(near: socket.socket, far: socket.socket, timeout: float) -> None:
    """Pass bytes on in both directions until both ends are done, one breaks, or all is silent."""
    other = {near: far, far: near}
    with selectors.DefaultSelector() as selector:
        for one in other:
            selector.register(one, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(timeout)
            if not ready:
                return
            for key, _ in ready:
                one = near if key.fileobj is near else far
                piece = one.recv(_PIECE)
                if piece:
                    other[one].sendall(piece)
                    continue
                selector.unregister(one)
                if one is far:
                    return
                other[one].shutdown(socket.SHUT_WR)

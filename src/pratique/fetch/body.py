"""The bytes of one answer, in order, for the least work.

Large bodies of known length are read from the connection itself once the HTTP parser has given what
it had buffered: parsing a gigabyte in pieces of 64 KiB costs as much as hashing it. What was read is
counted against the announced length here and hashed elsewhere; the connection is not used again.
"""

import socket
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol

import httpx2

_LARGE: Final = 8 << 20

Reader = Callable[[memoryview], int]
"""Fills what it is given from the start, and returns how much that was: 0 at the end."""


class _Connection(Protocol):
    def get_extra_info(self, info: str) -> object: ...


def raw(response: httpx2.Response) -> Iterator[bytes]:
    """Yield the body through the parser; also of an answer that a transport in memory made whole."""
    if response.is_stream_consumed:
        yield response.content
    else:
        yield from response.iter_raw()


def reader_of(pieces: Iterable[bytes]) -> Reader:
    """Read what an iterator yields."""
    coming = iter(pieces)
    rest = memoryview(b"")

    def read(room: memoryview) -> int:
        nonlocal rest
        while not rest:
            piece = next(coming, None)
            if piece is None:
                return 0
            rest = memoryview(piece)
        count = min(len(room), len(rest))
        room[:count] = rest[:count]
        rest = rest[count:]
        return count

    return read


def body(response: httpx2.Response, *, timeout: float, directly: bool) -> Reader:
    """Read the body. Ends early if the connection does; raises httpx2 errors.

    `directly` permits reading past the parser, where the framing is a plain Content-Length.
    """
    parsed = raw(response)
    length = _plain_length(response)
    connection = _socket(response.extensions.get("network_stream"))
    if not directly or connection is None or length is None or length < _LARGE:
        return reader_of(parsed)
    connection.settimeout(timeout)
    return _Direct(parsed, connection, length)


class _Direct:
    """Reads what the parser has buffered, then the connection, up to `length` bytes in all."""

    def __init__(self, parsed: Iterator[bytes], connection: socket.socket, length: int) -> None:
        self._parsed = parsed  # held on to: without it, the connection is closed
        self._connection = connection
        first = next(parsed, b"")
        self._buffered = reader_of([first])
        self._left = length - len(first)

    def __call__(self, room: memoryview) -> int:
        count = self._buffered(room)
        if count or not self._left:
            return count
        count = _read(self._connection, room[: self._left])
        self._left = self._left - count if count else 0
        return count


def _socket(connection: _Connection | None) -> socket.socket | None:
    """The socket that a connection reads the body from, if that is all there is to it.

    TLS to a proxy with TLS inside has more to it: there the socket's TLS is not the connection's.
    """
    found = connection.get_extra_info("socket") if connection is not None else None
    if connection is None or not isinstance(found, socket.socket):
        return None
    same = getattr(found, "_sslobj", None) is connection.get_extra_info("ssl_object")
    return found if same else None


def _plain_length(response: httpx2.Response) -> int | None:
    """The announced length, if the body is framed by nothing else (and is HTTP/1.1's)."""
    text = response.headers.get("content-length", "")
    plain = "transfer-encoding" not in response.headers and response.http_version == "HTTP/1.1"
    return int(text) if plain and text.isascii() and text.isdigit() and len(text) < 19 else None


def _read(connection: socket.socket, room: memoryview) -> int:
    try:
        return connection.recv_into(room)
    except TimeoutError as error:
        raise httpx2.ReadTimeout("no bytes in time") from error
    except OSError as error:
        raise httpx2.ReadError("the connection broke") from error

"""The bytes of one answer, in order, for the least work.

Large bodies of known length are read from the connection itself once the HTTP parser has given what
it had buffered: parsing a gigabyte in pieces of 64 KiB costs as much as hashing it. What was read is
counted against the announced length here and hashed elsewhere; the connection is not used again.
"""

from collections.abc import Iterator
from typing import Final, Protocol

import httpcore2
import httpx2

_LARGE: Final = 8 << 20
_PIECE: Final = 256 << 10


class _Connection(Protocol):
    def read(self, max_bytes: int, timeout: float | None = None) -> bytes: ...


def raw(response: httpx2.Response) -> Iterator[bytes]:
    """Yield the body through the parser; also of an answer that a transport in memory made whole."""
    if response.is_stream_consumed:
        yield response.content
    else:
        yield from response.iter_raw()


def pieces(response: httpx2.Response, *, timeout: float, directly: bool) -> Iterator[bytes]:
    """Yield the body. Ends early if the connection does; raises httpx2 errors.

    `directly` permits reading past the parser, where the framing is a plain Content-Length.
    """
    parsed = raw(response)
    connection: _Connection | None = response.extensions.get("network_stream")
    length = _plain_length(response)
    if not directly or connection is None or length is None or length < _LARGE:
        yield from parsed
        return
    first = next(parsed, b"")
    yield first
    left = length - len(first)
    while left > 0:
        piece = _read(connection, min(_PIECE, left), timeout)
        if not piece:
            return
        left -= len(piece)
        yield piece


def _plain_length(response: httpx2.Response) -> int | None:
    """The announced length, if the body is framed by nothing else (and is HTTP/1.1's)."""
    text = response.headers.get("content-length", "")
    plain = "transfer-encoding" not in response.headers and response.http_version == "HTTP/1.1"
    return int(text) if plain and text.isascii() and text.isdigit() and len(text) < 19 else None


def _read(connection: _Connection, count: int, timeout: float) -> bytes:
    try:
        return connection.read(count, timeout=timeout)
    except httpcore2.TimeoutException as error:
        raise httpx2.ReadTimeout("no bytes in time") from error
    except httpcore2.NetworkError as error:
        raise httpx2.ReadError("the connection broke") from error

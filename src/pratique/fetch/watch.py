"""Connections that cannot be kept busy with nothing.

The client's own timeout is for silence only. Here, what comes before an answer has a limit (a server
may send interim answers for ever), and so has the time that a few bytes may take (a server may send one
byte a minute).
"""

import ssl
from collections.abc import Iterable
from typing import Any, Final

import httpcore2
import httpx2

from pratique.fetch.patience import Patience

_MAX_BEFORE_ANSWER: Final = 1 << 20
_PROGRESS: Final = 64 << 10


class Watched(httpcore2.NetworkStream):
    """One connection. After each request: an answer soon, and then no dripping."""

    def __init__(self, inner: httpcore2.NetworkStream, patience: Patience) -> None:
        self._inner = inner
        self._patience = patience
        self._since = patience.clock()
        self._seen = 0
        self._answered = False

    def answered(self) -> None:
        """The headers of an answer have come; what follows is its body."""
        self._answered = True

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Raises ReadError, ReadTimeout where it is kept busy with nothing."""
        piece = self._inner.read(max_bytes, timeout)
        self._seen += len(piece)
        now = self._patience.clock()
        if not self._answered and self._seen > _MAX_BEFORE_ANSWER:
            raise httpcore2.ReadError("no answer in what came")
        if now - self._since > self._patience.drip:
            raise httpcore2.ReadTimeout("the answer drips")
        if self._answered and self._seen >= _PROGRESS:
            self._since, self._seen = now, 0
        return piece

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send; what is read afterwards is an answer to it."""
        self._since, self._seen, self._answered = self._patience.clock(), 0, False
        self._inner.write(buffer, timeout)

    def close(self) -> None:
        """Close."""
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        """TLS over this connection, watched too."""
        return Watched(self._inner.start_tls(ssl_context, server_hostname, timeout), self._patience)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - the base class has it so
        """What is known of the connection."""
        return self._inner.get_extra_info(info)


class _Backend(httpcore2.NetworkBackend):
    """Makes watched connections."""

    def __init__(self, inner: httpcore2.NetworkBackend, patience: Patience) -> None:
        self._inner = inner
        self._patience = patience

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connect."""
        stream = self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        return Watched(stream, self._patience)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self._inner.sleep(seconds)


def watched(client: httpx2.Client, patience: Patience) -> httpx2.Client:
    """Let every connection of `client` be watched. A transport that has none is left alone.

    httpx2 has no public place for this, so a test sees to it that it works.
    """
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001 - see above
        if isinstance(transport, httpx2.HTTPTransport):
            pool = transport._pool  # noqa: SLF001
            pool._network_backend = _Backend(pool._network_backend, patience)  # noqa: SLF001
    return client


def note_answer(response: httpx2.Response) -> None:
    """Tell the connection of `response` that its headers have come."""
    stream = response.extensions.get("network_stream")
    if isinstance(stream, Watched):
        stream.answered()

"""uvicorn with the patience of a server on a hostile network.

Slow senders of headers are hung up on; bodies are read against a size and a clock; a reader who takes
nothing off the stream does not hold a worker for ever.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from typing import Any, Final

import h11
import uvicorn
from starlette.requests import ClientDisconnect, Request
from uvicorn.protocols.http.h11_impl import H11Protocol

from pratique.serve.gateway.errors import ApiError

_MOST_HEADER_BYTES: Final = 32 * 1024


class GuardedProtocol(H11Protocol):
    """HTTP/1.1 with a deadline for headers, counted from the connection or the last answer."""

    header_seconds = 10.0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - as uvicorn has it
        """Start the clock."""
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Stop the clock once a request's headers are whole; start it with the next one's first byte."""
        before: Any = self.cycle  # None until the first request
        if self._deadline is None and (before is None or before.response_complete):
            self._arm()
        super().data_received(data)
        if self.cycle is not before:
            self._disarm()

    def on_response_complete(self) -> None:
        """Give who was answered before the end of its body a moment to end it; then hang up.

        Else a body that never ends would hold a connection for ever.
        """
        cycle, sending = self.cycle, self.conn.their_state is h11.SEND_BODY
        super().on_response_complete()
        if sending:
            self.loop.call_later(self.header_seconds, self._still_sending, cycle)

    def _still_sending(self, cycle: Any) -> None:  # noqa: ANN401 - uvicorn's
        if self.cycle is cycle and self.conn.their_state is h11.SEND_BODY:
            self._too_slow()

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(self.header_seconds, self._too_slow)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.abort()


class Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the one who runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do nothing: the caller sets `should_exit`."""
        yield


def server(
    app: Any,  # noqa: ANN401 - an ASGI application
    *,
    header_seconds: float,
    keep_alive_seconds: int,
    drain_seconds: int,
    connections: int,
    tls: dict[str, str] | None = None,
) -> Server:
    """Return a server for sockets that the caller has bound. It logs nothing by itself."""
    quiet = logging.getLogger("uvicorn")  # its tracebacks and warnings can quote requests
    quiet.addHandler(logging.NullHandler())
    quiet.propagate = False
    config = uvicorn.Config(
        app,
        http=type("Protocol", (GuardedProtocol,), {"header_seconds": header_seconds}),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=keep_alive_seconds,
        timeout_graceful_shutdown=drain_seconds,
        limit_concurrency=connections,
        h11_max_incomplete_event_size=_MOST_HEADER_BYTES,
        **(tls or {}),  # type: ignore[arg-type]  # ssl_certfile, ssl_keyfile, ssl_ca_certs
    )
    return Server(config)


async def read_body(request: Request, *, most: int, seconds: float) -> bytes:
    """Read a request's body. Raises ApiError when it is too long or too slow."""
    announced = request.headers.get("content-length", "")
    too_long = ApiError(413, f"the body is longer than {most} bytes", code="body_too_large")
    if announced.isdecimal() and int(announced[:18]) > most:
        raise too_long
    data = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for piece in request.stream():
                data += piece
                if len(data) > most:
                    raise too_long
    except TimeoutError:
        raise ApiError(408, "the body took too long to arrive", code="body_timeout") from None
    except ClientDisconnect:
        raise ApiError(400, "the client went away", code="disconnected") from None
    return bytes(data)

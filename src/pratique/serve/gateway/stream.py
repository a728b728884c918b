"""Server-sent events that end when the client does, and do not wait for a client that stopped reading."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pratique.serve.gateway.errors import note_bug

END = b"data: [DONE]\n\n"


def event(value: dict[str, object]) -> bytes:
    """Return one event."""
    return (
        b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
    )


def named_event(value: dict[str, object]) -> bytes:
    """Return one event under the name of its type."""
    return f"event: {value['type']}\n".encode() + event(value)


class EventStream(Response):
    """Sends pieces as they come. However it ends, closes the source and calls `on_end` once."""

    media_type = "text/event-stream"

    def __init__(
        self,
        pieces: AsyncGenerator[bytes, None],
        *,
        on_end: Callable[[], None],
        write_seconds: float,
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-cache"})
        del self.headers["content-length"]
        self._pieces = pieces
        self._on_end = on_end
        self._write_seconds = write_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        del scope
        pumping = asyncio.create_task(self._pump(send))
        gone = asyncio.create_task(gone_away(receive))
        try:
            await asyncio.wait({pumping, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (pumping, gone):
                task.cancel()
            # Whatever went wrong, the source is closed and the end is noted: headers are long sent.
            ended = await asyncio.gather(pumping, gone, return_exceptions=True)
            with contextlib.suppress(Exception):
                await self._pieces.aclose()
            self._on_end()
            for error in ended:
                if isinstance(error, Exception) and not isinstance(error, OSError):
                    note_bug(error)

    async def _pump(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for piece in self._pieces:
            async with asyncio.timeout(self._write_seconds):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        async with asyncio.timeout(self._write_seconds):
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def gone_away(receive: Receive) -> None:
    """Return when the client has hung up."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return

"""The worker's end of the socket: frames in, frames out. Nothing but `core.wire` messages pass."""

import socket
import threading
from collections.abc import Iterable, Iterator

from pydantic import BaseModel

from pratique.core.wire import Frames, encode, parse_to_worker

_READ_BYTES = 256 * 1024


class Channel:
    """Sends from any thread; is read by one. A closed far end ends the iteration."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._sock.setblocking(True)
        self._sending = threading.Lock()

    def send(self, *messages: BaseModel) -> None:
        """Send messages, in one piece. Blocks while the gateway does not read."""
        self.send_frames(encode(message) for message in messages)

    def send_frames(self, frames: Iterable[bytes]) -> None:
        """Send frames that are encoded already."""
        data = b"".join(frames)
        if data:
            with self._sending:
                self._sock.sendall(data)

    def messages(self) -> Iterator[BaseModel]:
        """Yield what the gateway sends until it hangs up. Raises FormatError on anything else."""
        frames = Frames()
        while data := self._sock.recv(_READ_BYTES):
            for body in frames.feed(data):
                yield parse_to_worker(body)

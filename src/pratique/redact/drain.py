"""A child's output, drained into log records.

The rule: what a child prints is redacted joined, not line by line: bytes that arrive without a
pause are one record, so that a key or number that spans lines is seen whole. A burst beyond
what the redactor takes is withheld, never cut.
"""

import logging
import os
import select
import threading
from typing import Self

from pratique.redact.engine import MAX_CHARS

_PAUSE = 0.05
_CHUNK = 65_536
_MAX_BURST = 4 * MAX_CHARS + 4  # bytes; more is more than MAX_CHARS characters, or will be withheld


class Drain:
    """Reads a pipe to its end and logs what comes, one record for each burst.

    Takes over the file descriptor and closes it at the end.
    """

    def __init__(self, fd: int, logger: str, level: int = logging.INFO) -> None:
        self._fd = fd
        self._logger = logging.getLogger(logger)
        self._level = level
        self._thread: threading.Thread | None = None

    def start(self) -> Self:
        """Drain in a thread that ends with the pipe."""
        self._thread = threading.Thread(
            target=self.run, name=f"drain-{self._logger.name}", daemon=True
        )
        self._thread.start()
        return self

    def join(self, seconds: float = 5.0) -> None:
        """Wait for the end of the pipe, which comes when its last writer closes it."""
        if self._thread is not None:
            self._thread.join(seconds)

    def run(self) -> None:
        """Drain to the end, in this thread."""
        try:
            while burst := self._burst():
                text = burst.decode("utf-8", "replace").rstrip("\r\n")
                if text.strip():
                    self._logger.log(self._level, "%s", text)
        finally:
            os.close(self._fd)

    def _burst(self) -> bytes:
        """Return what comes until a pause after a line's end; empty at the end of the pipe."""
        pieces: list[bytes] = []
        size = 0
        while True:
            piece = os.read(self._fd, _CHUNK)
            if not piece:
                break
            room = _MAX_BURST - size
            if room > 0:  # the rest of what will be withheld anyway is not kept
                pieces.append(piece[:room])
                size += len(pieces[-1])
            if piece.endswith(b"\n") and not select.select([self._fd], [], [], _PAUSE)[0]:
                break
        return b"".join(pieces)

"""The open end of a log: whole lines or none, and one fdatasync for all who wait.

`offset` is the end of the last line that this process knows of. Whoever writes holds the log's lock;
syncing needs none, and threads that arrive while one syncs are served by the next sync together.
"""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pratique.errors import StorageError


class SegmentFile:
    """The segment that is written to; nothing is open until `open` is called."""

    def __init__(self) -> None:
        self._descriptor = -1
        self._disk = threading.Lock()
        self._synced = 0
        self.offset = 0

    @property
    def is_open(self) -> bool:
        """Whether there is a segment."""
        return self._descriptor >= 0

    def open(self, path: Path, offset: int, *, access: int = os.O_RDWR) -> None:
        """Go over to another segment, of which the first `offset` bytes are known."""
        flags = access | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            fresh = os.open(path, flags)
        except OSError as error:
            raise StorageError(f"cannot open {path}: {error.strerror}") from error
        with self._disk:
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._descriptor = fresh
        self.offset = offset

    def close(self) -> None:
        """Let go; nothing is synced."""
        with self._disk:
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._descriptor = -1

    def size(self) -> int:
        """Bytes on the file now, other processes' included."""
        return os.fstat(self._descriptor).st_size

    def put(self, data: bytes) -> None:
        """Append all of `data`, or nothing. Raises StorageError."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            with suppress(OSError):
                self.cut()
            raise StorageError(
                f"the event could not be written to the ledger: {error.strerror}",
                hint="free some space; what was acknowledged before is safe",
            ) from error
        self.offset += len(data)

    def cut(self) -> None:
        """Remove what comes after the last known line."""
        os.ftruncate(self._descriptor, self.offset)

    def seal(self) -> None:
        """Take the write permission away, where the file system lets us."""
        with suppress(OSError):
            os.fchmod(self._descriptor, 0o400)

    def sync(self, upto: int, written: Callable[[], int]) -> None:
        """Return when the first `upto` events are on the disk. `written()` events are in the file."""
        if self._synced >= upto:
            return
        with self._disk:
            if self._synced >= upto:  # the thread before us took ours along
                return
            now = written()
            try:
                os.fdatasync(self._descriptor)
            except OSError as error:
                raise StorageError(
                    f"the ledger did not reach the disk: {error.strerror}"
                ) from error
            self._synced = max(self._synced, now)

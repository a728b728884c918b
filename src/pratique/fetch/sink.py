"""Where a download is written: a part file and its digests, always of the same bytes.

The rule: nothing written is held back in this process, so that a kill loses no block; what an earlier
run left is hashed again before it counts. Large files are hashed in a thread of their own, at most a
few blocks behind the writing, and the disk is kept busy meanwhile, so that neither is waited for.
"""

import contextlib
import hashlib
import os
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pratique.core.ids import Digest, GitId, shown
from pratique.errors import StorageError
from pratique.fetch.listing import Wanted
from pratique.formats.git import blob_hasher

_BLOCK: Final = 1 << 20
_BLOCKS: Final = 8
"""How many there are for a large file: that far hashing may be behind."""
_LARGE: Final = 8 << 20
_WRITE_OUT: Final = 32 << 20


@dataclass(frozen=True, slots=True)
class Arrived:
    """A file at rest whose digest is the expected one. `sha256` was computed here."""

    wanted: Wanted
    sha256: Digest

    @property
    def git_id(self) -> GitId:
        """Git's id for this path: the blob's, or the LFS pointer's."""
        return self.wanted.git_id


class _Digests:
    """SHA-256 and, for files that git holds itself, the blob id."""

    def __init__(self, wanted: Wanted) -> None:
        self._sha256 = hashlib.sha256()
        self._blob = blob_hasher(wanted.size) if wanted.sha256 is None else None

    def update(self, data: memoryview) -> None:
        self._sha256.update(data)
        if self._blob is not None:
            self._blob.update(data)

    def finish(self) -> tuple[Digest, str]:
        """Return SHA-256, and the digest by which the file was asked for."""
        sha256 = Digest(self._sha256.hexdigest())
        return sha256, sha256 if self._blob is None else self._blob.hexdigest()


class _Blocks:
    """Memory for what comes: one block is filled while others are hashed, in order, and come back."""

    def __init__(self, wanted: Wanted) -> None:
        self.digests = _Digests(wanted)
        self._room = memoryview(bytearray(max(1, min(_BLOCK, wanted.size))))
        self._used = 0
        self._full: queue.SimpleQueue[memoryview | None] = queue.SimpleQueue()
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        if wanted.size >= _LARGE:
            for _ in range(_BLOCKS - 1):
                self._free.put(memoryview(bytearray(_BLOCK)))
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    @property
    def room(self) -> memoryview:
        """Where the next bytes go: never empty. Waits while all blocks are still to be hashed."""
        if self._used == len(self._room):
            self._hand_over()
            self._room, self._used = self._free.get(), 0
        return self._room[self._used :]

    def take(self, count: int) -> memoryview:
        """The first `count` bytes of `room`, which are to be hashed."""
        self._used += count
        return self._room[self._used - count : self._used]

    def close(self) -> None:
        """Hash what is left and end the thread."""
        self._hand_over()
        self._used = 0
        if self._thread is not None:
            self._full.put(None)
            self._thread.join()
            self._thread = None

    def _hand_over(self) -> None:
        filled = self._room[: self._used]
        if self._thread is not None:
            self._full.put(filled)
        else:
            self.digests.update(filled)
            self._free.put(self._room)

    def _run(self) -> None:
        while (filled := self._full.get()) is not None:
            self.digests.update(filled)
            if len(filled) == _BLOCK:
                self._free.put(filled)


class Sink:
    """A part file with its digests so far: `size` bytes are written. Used from one thread."""

    def __init__(self, handle: int, wanted: Wanted) -> None:
        self._handle = handle
        self._wanted = wanted
        self._blocks = _Blocks(wanted)
        self._written_out = 0
        self.size = 0

    @classmethod
    @contextlib.contextmanager
    def open(cls, part: Path, wanted: Wanted) -> "Iterator[Sink]":
        """Open `part` and take up what an earlier run left there. Raises StorageError."""
        with storing(part):
            part.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(
                part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600
            )
        sink = cls(handle, wanted)
        try:
            with storing(part):
                sink._take_up()
            yield sink
        finally:
            sink._blocks.close()
            os.close(handle)

    def _take_up(self) -> None:
        """Hash what is there. A part longer than the file cannot be right: start over."""
        if os.fstat(self._handle).st_size > self._wanted.size:
            os.ftruncate(self._handle, 0)
        while count := os.preadv(self._handle, [self._blocks.room], self.size):
            self._blocks.take(count)
            self.size += count

    def restart(self) -> None:
        """Throw away what was written."""
        self._blocks.close()
        self._blocks = _Blocks(self._wanted)
        self.size = self._written_out = 0
        os.ftruncate(self._handle, 0)

    @property
    def room(self) -> memoryview:
        """Where to put the next bytes, before `write` says how many."""
        return self._blocks.room

    def write(self, count: int) -> None:
        """Append the first `count` bytes of `room`. Raises StorageError."""
        left = self._blocks.take(count)
        with storing(Path(self._wanted.path)):
            while left:
                done = os.pwrite(self._handle, left, self.size)
                left = left[done:]
                self.size += done
            if self.size - self._written_out >= _WRITE_OUT:
                # Starts writing these pages to the disk without waiting for it.
                count = self.size - self._written_out
                os.posix_fadvise(self._handle, self._written_out, count, os.POSIX_FADV_DONTNEED)
                self._written_out = self.size

    def arrived(self) -> Arrived | None:
        """The file, durable, if its digest is the expected one. The sink is spent."""
        self._blocks.close()
        sha256, digest = self._blocks.digests.finish()
        if digest != self._wanted.expected:
            return None
        with storing(Path(self._wanted.path)):
            os.fsync(self._handle)
        return Arrived(self._wanted, sha256)


@contextlib.contextmanager
def storing(path: Path) -> Iterator[None]:
    """Failures of the disk are StorageError, and keep what was downloaded."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{shown(path.name)} cannot be written: {error.strerror}",
            hint="free some space and run the same command again; what was downloaded is kept",
        ) from error

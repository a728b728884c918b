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
_BLOCKS_BEHIND: Final = 8
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
    """SHA-256 and, for files that git holds itself, the blob id. Fed in order from one thread."""

    def __init__(self, wanted: Wanted) -> None:
        self._sha256 = hashlib.sha256()
        self._blob = blob_hasher(wanted.size) if wanted.sha256 is None else None
        self._pending: list[bytes] = []
        self._held = 0
        self._queue: queue.Queue[list[bytes] | None] = queue.Queue(_BLOCKS_BEHIND)
        self._thread: threading.Thread | None = None
        if wanted.size >= _LARGE:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def feed(self, piece: bytes) -> None:
        """Add bytes. Blocks while the hashing is `_BLOCKS_BEHIND` blocks behind."""
        if self._thread is None:
            self._update(piece)
            return
        self._pending.append(piece)
        self._held += len(piece)
        if self._held >= _BLOCK:
            self._hand_over()

    def finish(self) -> tuple[Digest, str]:
        """Return SHA-256, and the digest by which the file was asked for."""
        self.close()
        sha256 = Digest(self._sha256.hexdigest())
        return sha256, sha256 if self._blob is None else self._blob.hexdigest()

    def close(self) -> None:
        """Hash what is left and end the thread."""
        if self._thread is not None:
            self._hand_over()
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _hand_over(self) -> None:
        self._queue.put(self._pending)
        self._pending, self._held = [], 0

    def _run(self) -> None:
        while (pieces := self._queue.get()) is not None:
            for piece in pieces:
                self._update(piece)

    def _update(self, piece: bytes) -> None:
        self._sha256.update(piece)
        if self._blob is not None:
            self._blob.update(piece)


class Sink:
    """A part file with its digests so far: `size` bytes are written. Used from one thread."""

    def __init__(self, handle: int, wanted: Wanted) -> None:
        self._handle = handle
        self._wanted = wanted
        self._digests = _Digests(wanted)
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
            sink._digests.close()
            os.close(handle)

    def _take_up(self) -> None:
        """Hash what is there. A part longer than the file cannot be right: start over."""
        if os.fstat(self._handle).st_size > self._wanted.size:
            os.ftruncate(self._handle, 0)
        while block := os.pread(self._handle, _BLOCK, self.size):
            self._digests.feed(block)
            self.size += len(block)

    def restart(self) -> None:
        """Throw away what was written."""
        self._digests.close()
        self._digests = _Digests(self._wanted)
        self.size = self._written_out = 0
        os.ftruncate(self._handle, 0)

    def write(self, piece: bytes) -> None:
        """Append. Raises StorageError."""
        with storing(Path(self._wanted.path)):
            left = memoryview(piece)
            at = self.size
            while left:
                done = os.pwrite(self._handle, left, at)
                left = left[done:]
                at += done
            self.size = at
            if self.size - self._written_out >= _WRITE_OUT:
                # Starts writing these pages to the disk without waiting for it.
                count = self.size - self._written_out
                os.posix_fadvise(self._handle, self._written_out, count, os.POSIX_FADV_DONTNEED)
                self._written_out = self.size
        self._digests.feed(piece)

    def arrived(self) -> Arrived | None:
        """The file, durable, if its digest is the expected one. The sink is spent."""
        sha256, digest = self._digests.finish()
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

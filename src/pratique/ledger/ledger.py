"""The writer: append-only, one writer at a time, nothing acknowledged that a crash can take back.

The rules, in the order in which they are kept:

1. The lock file is held (flock) during every write, so any number of processes may share a log; each
   first follows what the others wrote, checking it like a verifier.
2. Opening refuses (`LedgerNotIntact`) unless the log continues its last checkpoint and the signer
   has signed nothing beyond it.
3. A half-written last line can only be a dead writer's: it is set aside, and that is recorded.
4. `append` returns when the line is in the file: it survives the death of this process.
   `append_durable` and `append_batch` return after fdatasync: it survives the machine's. Threads
   that wait for the disk share one fdatasync (group commit).
5. A checkpoint is signed only over events that are on the disk: when opening, every so many events
   or seconds, at the end of a segment, when closing. Copies are made by a thread of their own.
"""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pratique.core.ids import Digest
from pratique.errors import LedgerNotIntact, StorageError
from pratique.ledger.copies import CheckpointCopy, Copier
from pratique.ledger.cursor import Broken, Cursor
from pratique.ledger.events import (
    Count,
    Event,
    Line,
    Retention,
    Rotation,
    TornTail,
)
from pratique.ledger.folder import Folder, Segment, base_bytes, lines, sync_dir, write_new
from pratique.ledger.merkle import leaf_hash
from pratique.ledger.opening import Opened, look_before_writing
from pratique.ledger.record import Chain, render
from pratique.ledger.segment_file import SegmentFile
from pratique.ledger.signer import MAX_LEAVES, Signer

_UNSIGNED_TIMES: Final = 4
"""So many intervals may pass without a checkpoint when the signer fails; then nothing is taken."""
_EVIDENCE: Final = "keep the files as they are and run `pratique log verify`"


@dataclass(frozen=True, slots=True)
class Settings:
    """How often to sign, and when to begin another segment."""

    checkpoint_events: int = 1024
    checkpoint_seconds: float = 60.0
    segment_bytes: int = 4 * 2**20


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Ledger:
    """An open log. Use `Ledger.open`; close it, or use it as a context manager.

    Safe for threads and for several processes on one host. Not for a network file system.
    """

    def __init__(
        self,
        folder: Folder,
        signer: Signer,
        *,
        settings: Settings,
        copies: Sequence[CheckpointCopy],
        clock_ms: Callable[[], int],
        lock: int,
    ) -> None:
        self._folder = folder
        self._signer = signer
        self._settings = settings
        self._copier = Copier(copies)
        self._clock_ms = clock_ms
        self._lock = lock
        self._mutex = threading.RLock()
        self._chain = chain_of(signer)
        self._file = SegmentFile()
        self._pending: list[bytes] = []  # leaf hashes that the signer has not seen
        self._signed_at = time.monotonic()
        self._rotated = False  # the segment has ended, and the next was not begun yet
        self._segment: Segment
        self._cursor: Cursor

    # --- opening and closing -----------------------------------------------------------------

    @classmethod
    def open(
        cls,
        directory: Path,
        signer: Signer,
        *,
        settings: Settings | None = None,
        copies: Sequence[CheckpointCopy] = (),
        clock_ms: Callable[[], int] = _now_ms,
    ) -> Self:
        """Open a log for writing, or begin one in an empty or absent directory.

        Guarantees that what is there continues its last signed checkpoint, and signs a checkpoint
        over it. Raises LedgerNotIntact if it does not, StorageError if the disk does not let us.
        """
        folder = Folder(directory)
        try:
            for path in (directory, folder.segments_dir, folder.checkpoints_dir):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"cannot open the ledger: {error.strerror}: {directory}") from error
        ledger = cls(
            folder,
            signer,
            settings=settings or Settings(),
            copies=copies,
            clock_ms=clock_ms,
            lock=lock,
        )
        try:
            with ledger._mutex, ledger._alone():
                ledger._begin()
        except BaseException:
            ledger._release()
            raise
        return ledger

    def close(self) -> None:
        """Sign a last checkpoint and let go. The log stays valid if this is never called."""
        with self._mutex:
            if self._lock < 0:
                return
            try:
                self._copier.wait()
                with self._alone():
                    self._follow()
                    self._write_with_failures(())
                    self._checkpoint()
                self._copier.wait()
                with self._alone():
                    self._write_with_failures(())
            finally:
                self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- writing -----------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """How many events this writer knows of."""
        return self._cursor.tree.size

    def _written(self) -> int:
        return self._cursor.tree.size

    def append(self, event: Event) -> int:
        """Write one event and return its number. It is in the file, not yet surely on the disk.

        Raises TypeError if the event is none (see events.py), StorageError if it could not be
        written (then nothing of it remains), LedgerNotIntact if somebody changed the log meanwhile.
        """
        return self._append((event,))

    def append_durable(self, event: Event) -> int:
        """Write one event and return its number when it is on the disk."""
        number = self._append((event,))
        self._file.sync(number + 1, self._written)
        return number

    def append_batch(self, events: Sequence[Event]) -> range:
        """Write events side by side and return their numbers when all are on the disk."""
        if not events:
            return range(self.size, self.size)
        first = self._append(events)
        self._file.sync(first + len(events), self._written)
        return range(first, first + len(events))

    def flush(self) -> None:
        """Return when everything written so far is on the disk."""
        self._file.sync(self.size, self._written)

    def checkpoint(self) -> bytes:
        """Sign a checkpoint over everything written so far and return the note."""
        with self._mutex, self._alone():
            self._follow()
            return self._folder.note(self._checkpoint())

    def retain(self, through: int, *, by: str) -> list[Path]:
        """Delete the whole segments that hold nothing from event `through` on; keep checkpoints.

        What was deleted is recorded first, durably and under a checkpoint. Returns the files.
        """
        with self._mutex, self._alone():
            self._follow()
            segments = self._folder.segments()
            kept = [s for s in segments[1:] if s.first <= through]
            if not kept:
                return []
            oldest = kept[-1]
            self._write((Retention(through=Count(oldest.first), by=Line(by)),))
            self._checkpoint()
            gone = [s for s in segments if s.first < oldest.first]
            try:
                for segment in gone:
                    segment.path.unlink()
                    segment.base_path.unlink(missing_ok=True)
                sync_dir(self._folder.segments_dir)
            except OSError as error:
                raise StorageError(f"cannot delete a segment: {error.strerror}") from error
        return [segment.path for segment in gone]

    # --- inside the lock ---------------------------------------------------------------------

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if self._lock < 0:
            raise RuntimeError("the ledger is closed")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        except OSError as error:
            raise StorageError(f"the ledger cannot be locked: {error.strerror}") from error
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _append(self, events: Sequence[Event]) -> int:
        with self._mutex, self._alone():
            self._follow()
            if len(self._pending) >= _UNSIGNED_TIMES * self._settings.checkpoint_events:
                self._checkpoint()
            first = self._write_with_failures(events)
            # Written is written: if signing fails now, the next event tries again, and before
            # long nothing more is taken without it.
            with suppress(StorageError):
                if self._file.offset >= self._settings.segment_bytes:
                    self._rotate()
                elif self._due():
                    self._checkpoint()
            return first

    def _write_with_failures(self, events: Sequence[Event]) -> int:
        """Write events behind what became of the copies; return the number of the first of them."""
        failed = self._copier.failed()
        if not (failed or events):
            return self.size
        first = self._write([*failed, *events]) + len(failed)
        self._copier.forget(len(failed))
        return first

    def _due(self) -> bool:
        return (
            len(self._pending) >= self._settings.checkpoint_events
            or time.monotonic() - self._signed_at >= self._settings.checkpoint_seconds
        )

    def _begin(self) -> None:
        opened = look_before_writing(self._folder, self._signer.key, self._chain)
        self._take_over(opened)
        self._signer.resume(opened.note, opened.signed_peaks)
        if opened.note is None:
            self._checkpoint()  # a log has a checkpoint before it has a segment
            self._start_segment()
        else:
            access = os.O_RDONLY if opened.rotated else os.O_RDWR
            self._file.open(self._segment.path, opened.offset, access=access)
            self._rotated = opened.rotated
            self._follow()
            self._checkpoint()

    def _take_over(self, opened: Opened) -> None:
        self._cursor = opened.cursor
        self._pending = opened.unsigned
        self._segment = opened.segment

    def _start_segment(self) -> None:
        """Begin the segment at the tree's size. A crash half-way is repaired by doing it again."""
        if not self._checkpoint_path(self.size).exists():
            self._checkpoint()
        self._segment = self._folder.segment(self._cursor.tree.size)
        if self._segment.first:
            base = base_bytes(self._cursor.tree, self._cursor.previous or "")
            write_new(self._segment.base_path, base)
        if not self._segment.path.exists():
            write_new(self._segment.path, b"")
        self._file.open(self._segment.path, 0)
        self._rotated = False

    def _follow(self) -> None:
        """Take in what other processes wrote since, and set a dead writer's half line aside."""
        while True:
            if self._rotated:
                self._start_segment()
            if self._file.size() == self._file.offset:
                return
            self._follow_segment()

    def _follow_segment(self) -> None:
        if self._file.size() < self._file.offset:
            raise LedgerNotIntact(
                f"the log was cut while it was open: {self._segment.path.name}", hint=_EVIDENCE
            )
        for line, whole in lines(self._segment.path, self._file.offset):
            if not whole:
                self._set_aside(line)
                return
            try:
                record, leaf = self._cursor.take(line)
            except Broken as error:
                raise LedgerNotIntact(
                    f"the log was changed while it was open: event {error.at}: {error.why}",
                    hint=_EVIDENCE,
                ) from error
            self._pending.append(leaf)
            self._file.offset += len(line) + 1
            self._rotated = record.kind == Rotation.kind

    def _set_aside(self, torn: bytes) -> None:
        digest = sha256(torn).hexdigest()
        aside = self._folder.root / "torn"
        aside.mkdir(mode=0o700, exist_ok=True)
        write_new(aside / f"{self._cursor.tree.size:020d}-{digest[:16]}", torn)
        self._file.cut()
        self._write((TornTail(size=Count(len(torn)), sha256=Digest(digest)),))

    def _write(self, events: Sequence[Event]) -> int:
        """Append lines: all of them, or none. The lock is held and nothing is left to follow."""
        tree, previous = self._cursor.tree.copy(), self._cursor.previous or ""
        first, written, leaves = tree.size, [], []
        for event in events:
            line, previous = render(
                event,
                number=tree.size,
                previous=previous,
                time_ms=self._clock_ms(),
                chain=self._chain,
            )
            leaf = leaf_hash(line)
            tree.append(leaf)
            leaves.append(leaf)
            written.append(line + b"\n")
        self._file.put(b"".join(written))
        self._cursor.tree, self._cursor.previous = tree, previous
        self._pending += leaves
        return first

    def _rotate(self) -> None:
        """End the segment: its last event, a checkpoint, read-only; then begin the next."""
        first = self._segment.first
        self._write((Rotation(first=Count(first), count=Count(self.size + 1 - first)),))
        self._rotated = True
        self._file.seal()
        self._start_segment()

    def _checkpoint_path(self, size: int) -> Path:
        return self._folder.checkpoints_dir / f"{size:020d}"

    def _checkpoint(self) -> int:
        """Sign a checkpoint over everything, which is on the disk first. Returns its size."""
        size = self.size
        if self._file.is_open:
            self._file.sync(size, self._written)
        note = b""
        for _ in range(0, max(len(self._pending), 1), MAX_LEAVES):
            note = self._signer.extend(self._pending[:MAX_LEAVES])
            del self._pending[:MAX_LEAVES]
        self._signed_at = time.monotonic()
        path = self._checkpoint_path(size)
        if not path.exists():
            write_new(path, note)
            self._copier.hand_over(size, note)
        return size

    def _release(self) -> None:
        self._copier.close()
        self._file.close()
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1


def chain_of(signer: Signer) -> Chain:
    """What the lines of this signer's log carry."""
    return Chain(signer.key.name, signer.key.key_id.hex())

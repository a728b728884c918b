"""Where a log lies on disk, and how its segments and checkpoints are read.

    DIR/log.vkey                        the log's name and public key, one line
    DIR/lock                            held (flock) by the one process that is writing
    DIR/segments/FIRST.jsonl            events FIRST, FIRST+1, …; read-only once a later one exists
    DIR/segments/FIRST.base             the tree's peaks at FIRST, so that older segments may go
    DIR/checkpoints/SIZE                signed checkpoints, kept for ever
    DIR/torn/…                          half-written last lines, set aside

FIRST and SIZE are decimal, 20 digits. A base file proves nothing by itself: whoever uses one checks
its root against a signed checkpoint of that size.
"""

import errno
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from pratique.errors import LedgerNotIntact, StorageError, UnreadableInput
from pratique.ledger.merkle import Frontier
from pratique.ledger.note import MAX_NOTE_BYTES, Checkpoint, LogKey
from pratique.ledger.record import MAX_LINE_BYTES, canonical

_SEGMENT: Final = re.compile(r"([0-9]{20})\.jsonl\Z")
_CHECKPOINT: Final = re.compile(r"([0-9]{20})\Z")
_BLOCK: Final = 1 << 20
_MAX_SMALL_BYTES: Final = 16_384


@dataclass(frozen=True, slots=True)
class Segment:
    """One file of events; `first` is the number of its first."""

    first: int
    path: Path

    @property
    def base_path(self) -> Path:
        """The file with the tree's peaks at `first`."""
        return self.path.with_suffix(".base")


@dataclass(frozen=True, slots=True)
class Folder:
    """A log's directory. Reading only; the writer is in ledger.py."""

    root: Path

    @property
    def segments_dir(self) -> Path:
        """Where segments are."""
        return self.root / "segments"

    @property
    def checkpoints_dir(self) -> Path:
        """Where checkpoints are."""
        return self.root / "checkpoints"

    def segment(self, first: int) -> Segment:
        """Name the segment that begins at `first`."""
        return Segment(first, self.segments_dir / f"{first:020d}.jsonl")

    def segments(self) -> list[Segment]:
        """List the segments, oldest first."""
        return sorted(
            (
                Segment(int(match[1]), self.segments_dir / name)
                for name in _names(self.segments_dir)
                if (match := _SEGMENT.match(name))
            ),
            key=lambda segment: segment.first,
        )

    def last_time_ms(self) -> int | None:
        """The latest time that one of the last events says it was written at; None if there is none.

        Proves nothing, and says nothing of the log: that is for `verify`.
        """
        found = []
        for segment in self.segments()[-2:]:  # a segment that was just begun is empty
            for line in _tail(segment.path).split(b"\n")[:-1]:
                try:
                    moment = json.loads(line)["time"]
                except (ValueError, LookupError, TypeError, RecursionError):
                    continue
                if type(moment) is int:
                    found.append(moment)
        return max(found, default=None)

    def key(self) -> LogKey:
        """Read the log's own key. It proves nothing about who wrote the log: pin it elsewhere."""
        path = self.root / "log.vkey"
        if not path.exists():
            raise UnreadableInput(
                f"there is no ledger at {self.root}", hint="give its directory, or --home"
            )
        return LogKey.parse(_read(path, _MAX_SMALL_BYTES).decode("utf-8", "replace"))

    def checkpoint_sizes(self) -> list[int]:
        """List the sizes of the checkpoints here, smallest first. Verifies nothing."""
        names = _names(self.checkpoints_dir)
        return sorted(int(name) for name in names if _CHECKPOINT.match(name))

    def note(self, size: int) -> bytes:
        """Read the checkpoint of one size. Verifies nothing."""
        return _read(self.checkpoints_dir / f"{size:020d}", MAX_NOTE_BYTES)

    def open_checkpoint(self, size: int, key: LogKey) -> Checkpoint:
        """Verify the checkpoint stored under `size`. Raises LedgerNotIntact if it is another's."""
        checkpoint = key.open(self.note(size))
        if checkpoint.size != size:
            raise LedgerNotIntact(
                f"the checkpoint stored for {size} events covers {checkpoint.size}"
            )
        return checkpoint

    def base(self, segment: Segment) -> tuple[Frontier, str]:
        """Read the tree's peaks before a segment, and the fingerprint of the event before it.

        Proves nothing: see the module.
        """
        if segment.first == 0:
            return Frontier(), ""
        try:
            table = json.loads(_read(segment.base_path, _MAX_SMALL_BYTES))
            peaks = [bytes.fromhex(peak) for peak in table["peaks"]]
            previous = table["previous"]
            if table["size"] != segment.first or type(previous) is not str:
                raise ValueError("another segment's")
            return Frontier(segment.first, peaks), previous
        except UnreadableInput as error:
            raise LedgerNotIntact(f"{segment.base_path.name} is missing") from error
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise LedgerNotIntact(f"{segment.base_path.name} is damaged") from error


def lines(path: Path, offset: int = 0) -> Iterator[tuple[bytes, bool]]:
    """Yield (line without newline, whether its newline is there) from `offset` on.

    A line longer than any event can be is yielded cut, so that a hostile file costs no memory. Raises
    UnreadableInput.
    """
    rest = b""
    try:
        with _open(path) as file:
            file.seek(offset)
            while block := file.read(_BLOCK):
                *whole, rest = (rest + block).split(b"\n")
                for line in whole:
                    yield line, True
                if len(rest) > MAX_LINE_BYTES:
                    yield rest[: MAX_LINE_BYTES + 1], True
                    return
    except OSError as error:
        raise UnreadableInput(f"cannot read {path}: {error.strerror}") from error
    if rest:
        yield rest, False


def _open(path: Path) -> BinaryIO:
    """Open a regular file. A pipe or device in its place must not make a reader wait."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file")
    return os.fdopen(descriptor, "rb")


def _read(path: Path, limit: int) -> bytes:
    """Read a small file; one byte more than `limit` at most, which its parser then refuses."""
    try:
        with _open(path) as file:
            return file.read(limit + 1)
    except OSError as error:
        raise UnreadableInput(f"cannot read {path}: {error.strerror}") from error


def _tail(path: Path) -> bytes:
    """The last bytes of a segment: more than one event, or all there is."""
    try:
        with _open(path) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 2 * MAX_LINE_BYTES))
            return file.read(2 * MAX_LINE_BYTES)
    except OSError as error:
        raise UnreadableInput(f"cannot read {path}: {error.strerror}") from error


def write_new(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write a file whole or not at all, durably, under its final name. Raises StorageError."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        sync_dir(path.parent)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise StorageError(f"cannot write {path}: {error.strerror}") from error


def sync_dir(path: Path) -> None:
    """Make renames and new files in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def base_bytes(tree: Frontier, previous: str) -> bytes:
    """Write what a base file holds: the tree's peaks, and the last event's fingerprint."""
    peaks = [peak.hex() for peak in tree.peaks]
    return canonical({"peaks": peaks, "previous": previous, "size": tree.size}) + b"\n"


def _names(path: Path) -> list[str]:
    try:
        return os.listdir(path)  # noqa: PTH208 - names only, a hundred thousand of them
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UnreadableInput(f"cannot read {path}: {error.strerror}") from error

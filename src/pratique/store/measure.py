"""One read of a file gives its SHA-256, the BLAKE3 of each 64 MiB chunk, and, if wanted, a copy.

What is hashed is what is written: both come from the same buffer. Files are spread over all cores; if
there are fewer large ones than cores, each is read ahead by a second thread, which also does BLAKE3
and the writing, so that SHA-256 alone sets the pace.
"""

import enum
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import blake3

from pratique.core.bundle import CHUNK_BYTES
from pratique.core.ids import Digest, RelPath, shown
from pratique.core.progress import Progress, Quiet
from pratique.errors import StorageError

BLOCK_BYTES: Final = 256 * 1024
"""Stays in a core's own cache between one digest and the next."""
AHEAD_BYTES: Final = 2 * 2**20
"""What one thread hands to the other at a time: fewer handovers, and still in the cores' shared cache."""
LARGE_BYTES: Final = 8 * 2**20
_BATCH_FILES: Final = 128

Sink = Callable[[memoryview], None]
T = TypeVar("T")
R = TypeVar("R")


class Wanted(enum.Enum):
    """Which digests to compute."""

    BOTH = "sha256+blake3"
    SHA256 = "sha256"


@dataclass(frozen=True, slots=True)
class Measured:
    """What a file's bytes were found to be. `chunks` is empty where only SHA-256 was wanted."""

    path: RelPath
    size: int
    sha256: Digest
    chunks: tuple[Digest, ...]


def measure(
    descriptor: int,
    path: RelPath,
    wanted: Wanted,
    *,
    ahead: bool = False,
    sink: Sink | None = None,
    progress: Progress | None = None,
) -> Measured:
    """Read an open file from its start to its end, once.

    `ahead` spends a second thread on it. `sink` is given every block in order, from the buffer that
    is hashed.
    Raises StorageError if reading fails. Errors of the sink pass through.
    """
    whole = hashlib.sha256()
    chunks = _Chunks(wanted)
    size = 0
    for block in _blocks(descriptor, path, chunks, sink, ahead=ahead):
        whole.update(block)
        size += len(block)
        if progress is not None:
            progress.advance(len(block))
    return Measured(path, size, Digest(whole.hexdigest()), chunks.digests())


class _Chunks:
    """BLAKE3 of each 64 MiB of a stream of blocks; blocks divide chunks evenly."""

    def __init__(self, wanted: Wanted) -> None:
        self._on = wanted is Wanted.BOTH
        self._done: list[Digest] = []
        self._hasher = blake3.blake3()
        self._filled = 0

    def update(self, block: memoryview) -> None:
        if not self._on:
            return
        while block:
            part = block[: CHUNK_BYTES - self._filled]
            self._hasher.update(part)
            self._filled += len(part)
            if self._filled == CHUNK_BYTES:
                self._close()
            block = block[len(part) :]

    def _close(self) -> None:
        self._done.append(Digest(self._hasher.hexdigest()))
        self._hasher = blake3.blake3()
        self._filled = 0

    def digests(self) -> tuple[Digest, ...]:
        if self._filled:
            self._close()
        return tuple(self._done)


def _blocks(
    descriptor: int, path: RelPath, chunks: _Chunks, sink: Sink | None, *, ahead: bool
) -> Iterator[memoryview]:
    """Yield the file's blocks. Each was given to `chunks` and `sink` before it is yielded."""

    def fill(buffer: bytearray) -> memoryview:
        block = memoryview(buffer)[: _read_into(descriptor, path, buffer)]
        chunks.update(block)
        if sink is not None and block:
            sink(block)
        return block

    size = os.fstat(descriptor).st_size
    if ahead and size >= LARGE_BYTES:
        yield from _read_ahead(fill)
        return
    # One more than it says, so that the end of a small file is seen in the same read.
    buffer = bytearray(min(size + 1, BLOCK_BYTES))
    while block := fill(buffer):
        yield block
        if len(block) < len(buffer):
            return
        if len(buffer) < BLOCK_BYTES:  # it grew
            buffer = bytearray(BLOCK_BYTES)


def _read_ahead(fill: Callable[[bytearray], memoryview]) -> Iterator[memoryview]:
    """Yield blocks, filling one buffer while the other is used."""
    now, spare = bytearray(AHEAD_BYTES), bytearray(AHEAD_BYTES)
    block = fill(now)
    with ThreadPoolExecutor(1, thread_name_prefix="read") as reader:
        while block:
            following: Future[memoryview] = reader.submit(fill, spare)
            yield block
            now, spare = spare, now
            block = following.result()


def _read_into(descriptor: int, path: RelPath, buffer: bytearray) -> int:
    """Fill `buffer` as far as the file goes; return how far."""
    filled = 0
    view = memoryview(buffer)
    try:
        while filled < len(buffer) and (count := os.readv(descriptor, [view[filled:]])):
            filled += count
    except OSError as error:
        raise StorageError(
            f"{shown(path)} cannot be read: {error.strerror}",
            hint="the medium may be damaged: copy the bundle again",
        ) from error
    return filled


class Work(Protocol):
    """What to do for one file: returns how it was measured. Runs in a worker thread."""

    def __call__(self, path: RelPath, *, ahead: bool) -> Measured:
        """Open, measure (reading `ahead` or not) and return."""
        ...


def measure_all(
    paths: Sequence[tuple[RelPath, int]],
    work: Work,
    *,
    progress: Progress | None = None,
    what: str = "hashing",
) -> list[Measured]:
    """Measure many files on all cores; results are in the order of `paths` (path, size).

    Large files go first and alone, small ones in batches. The first error stops the rest.
    """
    (progress or Quiet()).begin(what, sum(size for _, size in paths))
    large = sorted((p for p in paths if p[1] >= LARGE_BYTES), key=lambda p: -p[1])
    small = [p for p in paths if p[1] < LARGE_BYTES]
    ahead = len(large) < cores()
    batches = [[path] for path, _ in large]
    batches += [
        [path for path, _ in small[at : at + _BATCH_FILES]]
        for at in range(0, len(small), _BATCH_FILES)
    ]
    found = {
        m.path: m for m in on_all_cores(batches, lambda b: [work(path, ahead=ahead) for path in b])
    }
    return [found[path] for path, _ in paths]


def on_all_cores(items: Sequence[T], work: Callable[[T], Iterable[R]]) -> list[R]:
    """Run `work` on each item in a pool of threads, one per core; the first error stops the rest."""
    if len(items) == 1:
        return list(work(items[0]))
    with ThreadPoolExecutor(cores(), thread_name_prefix="hash") as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            return [result for future in futures for result in future.result()]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def measure_bytes(path: RelPath, data: bytes, wanted: Wanted) -> Measured:
    """Measure what is in memory, as `measure` would measure a file of it."""
    chunks = _Chunks(wanted)
    chunks.update(memoryview(data))
    return Measured(path, len(data), Digest(hashlib.sha256(data).hexdigest()), chunks.digests())

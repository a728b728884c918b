"""Copies of checkpoints, kept where the log's own machine cannot rewrite them.

A log and all its checkpoints can be thrown away or written anew by whoever owns the machine and the
key. One checkpoint kept elsewhere shows it. A copy that cannot be made never stops the log: it becomes
an event.
"""

import hashlib
import queue
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from pratique.errors import PratiqueError, StorageError
from pratique.ledger.events import CopyFailed, Line, Remark
from pratique.ledger.folder import write_new

_COMMAND_SECONDS: Final = 30


class CheckpointCopy(Protocol):
    """A place that keeps checkpoints."""

    @property
    def name(self) -> str:
        """What to call it in the log."""

    def keep(self, size: int, note: bytes) -> None:
        """Keep one signed checkpoint. Raises StorageError if it cannot."""


@dataclass(frozen=True, slots=True)
class DirectoryCopy:
    """Another directory: another disk, a share, a write-once medium."""

    directory: Path

    @property
    def name(self) -> str:
        """The directory."""
        return _plain(f"directory {self.directory}")

    def keep(self, size: int, note: bytes) -> None:
        """Write the note under its size."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot make {self.directory}: {error.strerror}") from error
        write_new(self.directory / f"{size:020d}", note, mode=0o644)


@dataclass(frozen=True, slots=True)
class CommandCopy:
    """A program that gets the note on its standard input: to mail, print or post it."""

    argv: Sequence[str]

    @property
    def name(self) -> str:
        """The program."""
        return _plain(f"command {self.argv[0]}")

    def keep(self, size: int, note: bytes) -> None:
        """Run the program; anything but exit code 0 within half a minute is a failure."""
        del size
        try:
            done = subprocess.run(
                list(self.argv),
                input=note,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_COMMAND_SECONDS,
                check=False,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise StorageError(f"{self.argv[0]} did not run: {type(error).__name__}") from error
        if done.returncode != 0:
            raise StorageError(f"{self.argv[0]} ended with {done.returncode}")


class Copier:
    """Makes copies in a thread of its own, so that a slow place keeps no event waiting."""

    def __init__(self, copies: Sequence[CheckpointCopy]) -> None:
        self._copies = tuple(copies)
        self._waiting: queue.Queue[tuple[int, bytes] | None] = queue.Queue()
        self._failed: list[CopyFailed] = []
        self._thread: threading.Thread | None = None

    def hand_over(self, size: int, note: bytes) -> None:
        """Have a checkpoint copied to every place; returns at once."""
        if not self._copies:
            return
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._work, name="checkpoint-copies", daemon=True
            )
            self._thread.start()
        self._waiting.put((size, note))

    def failed(self) -> list[CopyFailed]:
        """What could not be copied since `forget` was last called."""
        return list(self._failed)

    def forget(self, count: int) -> None:
        """The first so many failures are on record."""
        del self._failed[:count]

    def wait(self) -> None:
        """Return when everything handed over was tried."""
        if self._thread is not None:
            self._waiting.join()

    def close(self) -> None:
        """End the thread; what waits is still tried."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        while (task := self._waiting.get()) is not None:
            for copy in self._copies:
                try:
                    copy.keep(*task)
                except PratiqueError as error:
                    failed = CopyFailed(copy=Line(copy.name), reason=Remark(error.message))
                    self._failed.append(failed)
            self._waiting.task_done()


def _plain(text: str) -> str:
    return ascii(text)[1:-1][:200]


def on_paper(note: bytes) -> str:
    """Render a checkpoint for printing and typing in again: the note, and a short check of each line.

    The check is the first four hex digits of the line's SHA-256; it finds slips of the typist, nothing
    else: what proves the checkpoint is its signature.
    """
    rows = []
    for line in note.decode("utf-8").rstrip("\n").split("\n"):
        check = hashlib.sha256(line.encode()).hexdigest()[:4]
        rows.append(f"{check} | {line}")
    return "\n".join(rows) + "\n"


def from_paper(text: str) -> bytes:
    """Read back what `on_paper` printed. Raises StorageError naming the line that has a slip."""
    rows = []
    for number, row in enumerate(text.rstrip("\n").split("\n"), start=1):
        check, bar, line = row.partition("|")
        line = line.removeprefix(" ").rstrip()
        if not bar or hashlib.sha256(line.encode()).hexdigest()[:4] != check.strip():
            raise StorageError(f"line {number} of the printed checkpoint has a slip")
        rows.append(line)
    return ("\n".join(rows) + "\n").encode()

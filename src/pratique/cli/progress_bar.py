"""A progress bar on stderr for work that is measured in bytes; nothing where stderr is no terminal."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pratique.cli.context import Context
from pratique.core.progress import Progress, Quiet

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

_REFRESH_SECONDS = 0.05


class _Bar:
    """Feeds a rich progress bar; adds up small steps, so that 100,000 files do not slow it down.

    Appears with the first piece of work, so that a password can be asked for before. Work of no
    bytes shows nothing; of work whose size nobody knows, that it goes on, and for how long.
    """

    def __init__(self, console: "Console") -> None:
        self._console = console
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None
        self._lock = threading.Lock()
        self._pending = 0
        self._shown = 0.0

    def begin(self, what: str, total: int | None) -> None:
        with self._lock:
            if self._bar is None:
                self._bar = _rich_bar(self._console)
                self._bar.start()
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = None if total == 0 else self._bar.add_task(what, total=total)
            self._pending = 0

    def advance(self, count: int) -> None:
        with self._lock:
            self._pending += count
            now = time.monotonic()
            if (
                self._bar is not None
                and self._task is not None
                and now - self._shown >= _REFRESH_SECONDS
            ):
                self._bar.advance(self._task, self._pending)
                self._pending, self._shown = 0, now

    def finish(self) -> None:
        with self._lock:
            if self._bar is not None:
                self._bar.stop()


def _rich_bar(console: "Console") -> "RichProgress":
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.text import Text

    amount, speed = DownloadColumn(binary_units=True), TransferSpeedColumn()
    left, gone = TimeRemainingColumn(), TimeElapsedColumn()

    class Numbers(TextColumn):
        """Bytes, speed and what is left; where there is no whole, the time gone is all there is."""

        def render(self, task: Task) -> Text:
            if task.total is None:
                return gone.render(task)
            parts = [amount.render(task)]
            if (task.finished_speed or task.speed) is not None:
                parts.append(speed.render(task))
            return Text(" ").join([*parts, left.render(task)])

    columns = (TextColumn("{task.description}"), BarColumn(), Numbers(""))
    return Progress(*columns, console=console, transient=True)


@contextlib.contextmanager
def progress_bar(context: Context) -> Iterator[Progress]:
    """Yield something to report progress to while inside."""
    console = context.err
    if not console.is_terminal:
        yield Quiet()
        return
    bar = _Bar(console)
    try:
        yield bar
    finally:
        bar.finish()

"""A progress bar on stderr for work that is measured in bytes; nothing where stderr is no terminal."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pratique.cli.context import Context
from pratique.core.progress import Progress, Quiet

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

_REFRESH_SECONDS = 0.05


class _Bar:
    """Feeds a rich progress bar; adds up small steps, so that 100,000 files do not slow it down."""

    def __init__(self, bar: "RichProgress") -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None)
        self._lock = threading.Lock()
        self._pending = 0
        self._shown = 0.0

    def begin(self, what: str, total: int) -> None:
        with self._lock:
            self._bar.update(self._task, visible=False)
            self._task = self._bar.add_task(what, total=max(total, 1))
            self._pending = 0

    def advance(self, count: int) -> None:
        with self._lock:
            self._pending += count
            now = time.monotonic()
            if now - self._shown >= _REFRESH_SECONDS:
                self._bar.advance(self._task, self._pending)
                self._pending, self._shown = 0, now

    def finish(self) -> None:
        with self._lock:
            self._bar.advance(self._task, self._pending)


@contextlib.contextmanager
def progress_bar(context: Context) -> Iterator[Progress]:
    """Yield something to report progress to while inside."""
    console = context.err
    if not console.is_terminal:
        yield Quiet()
        return
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=console, transient=True) as rich:
        bar = _Bar(rich)
        try:
            yield bar
        finally:
            bar.finish()

"""The choke point: every log record of every library leaves through one redacting handler.

The rule: while it is installed, no logger reaches another handler, whatever handlers it has,
gets later, or however it propagates; warnings, uncaught exceptions in the main thread, in other
threads, in destructors and in tasks become records too.

    with install(sys.stderr):
        serve()

A child's output is no record until it is drained: see `pratique.redact.drain`.
"""

import asyncio
import faulthandler
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TextIO

from pratique.redact.drain import Drain
from pratique.redact.engine import Redactor, default_redactor
from pratique.redact.records import ExceptionText, RecordRenderer

_log = logging.getLogger(__name__)


class RedactingHandler(logging.Handler):
    """A handler that writes one redacted line of JSON for each record.

    It can be used alone, on one logger; `install` makes it the only one.

    Args:
        stream: where lines go; each is written whole, with one call.
        redactor: finds and replaces; by default without a key.
        exceptions: what is shown of the words of exceptions.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        redactor: Redactor | None = None,
        exceptions: ExceptionText = ExceptionText.OURS,
    ) -> None:
        super().__init__()
        self._stream = stream
        self._renderer = RecordRenderer(redactor or default_redactor(), exceptions)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record; a stream that cannot be written to is reported nowhere else."""
        try:
            self._stream.write(self._renderer.line(record) + "\n")
            self._stream.flush()
        except Exception:  # noqa: BLE001  a logging call never breaks its caller
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  the name is logging's
        """Drop the record: logging's own report would print its message and arguments."""


class Choke:
    """What `install` changed, and the way back.

    A context manager; `remove` puts everything back as it was found.
    """

    def __init__(self, handler: RedactingHandler) -> None:
        self.handler = handler
        self._undo: list[Callable[[], None]] = []
        self._crashes: Drain | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()

    def remove(self) -> None:
        """Undo everything, the last change first."""
        while self._undo:
            self._undo.pop()()

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Send what goes wrong in this loop's tasks and callbacks through the choke point."""
        loop.set_exception_handler(_on_loop_error)

    def _set(self, owner: object, name: str, value: object) -> None:
        before = getattr(owner, name)
        setattr(owner, name, value)
        self._undo.append(lambda: setattr(owner, name, before))

    def _take_logging(self, level: int) -> None:
        handler = self.handler

        def call_handlers(_logger: logging.Logger, record: logging.LogRecord) -> None:
            level: object = record.levelno  # makeLogRecord takes anything
            if not isinstance(level, int) or level >= handler.level:
                handler.handle(record)

        original = logging.Handler.handle

        def handle(self: logging.Handler, record: logging.LogRecord) -> bool | logging.LogRecord:
            if isinstance(self, RedactingHandler):
                return original(self, record)
            return handler.handle(record)

        # Loggers of a class of their own, and who calls a handler directly, come by here.
        self._set(logging.Handler, "handle", handle)
        # Handlers come and go (uvicorn configures its own at start); the one call that all
        # records pass is Logger.callHandlers.
        self._set(logging.Logger, "callHandlers", call_handlers)
        self._set(logging, "raiseExceptions", False)
        root = logging.getLogger()
        before = root.level
        root.setLevel(level)
        self._undo.append(lambda: root.setLevel(before))

    def _take_hooks(self) -> None:
        self._set(sys, "excepthook", _on_exception)
        self._set(sys, "unraisablehook", _on_unraisable)
        self._set(threading, "excepthook", _on_thread_exception)
        self._set(warnings, "showwarning", _on_warning)

    def _take_crashes(self, crash_fd: int | None) -> None:
        was_enabled = faulthandler.is_enabled()
        if crash_fd is None:
            reader, writer = os.pipe()
            self._crashes = Drain(reader, "faulthandler", logging.CRITICAL).start()
            self._undo += [self._crashes.join, lambda: os.close(writer)]
            crash_fd = writer
        faulthandler.enable(file=crash_fd, all_threads=True)
        self._undo.append(faulthandler.enable if was_enabled else faulthandler.disable)


def install(
    stream: TextIO,
    *,
    level: int = logging.INFO,
    redactor: Redactor | None = None,
    exceptions: ExceptionText = ExceptionText.OURS,
    crash_fd: int | None = None,
) -> Choke:
    """Make `RedactingHandler` the only way out for log records of this process.

    Args:
        stream: where the lines go.
        level: what the root logger lets through.
        redactor: finds and replaces; by default without a key.
        exceptions: what is shown of the words of exceptions.
        crash_fd: where faulthandler writes on a fatal signal. A dead process cannot drain its
            own pipe, so a supervisor passes the writing end of one that it drains. Without it,
            only dumps that the process survives become records.
    """
    choke = Choke(RedactingHandler(stream, redactor=redactor, exceptions=exceptions))
    choke._take_logging(level)  # noqa: SLF001  install and Choke are one thing in two parts
    choke._take_hooks()  # noqa: SLF001
    choke._take_crashes(crash_fd)  # noqa: SLF001
    return choke


def _on_exception(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    _log.critical("uncaught exception", exc_info=(kind, error, trace))


def _on_thread_exception(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
        info = (args.exc_type, args.exc_value, args.exc_traceback)
        _log.critical("uncaught exception in a thread", exc_info=info)


def _on_unraisable(args: "sys.UnraisableHookArgs") -> None:
    if args.exc_value is not None:
        info = (args.exc_type, args.exc_value, args.exc_traceback)
        _log.error("exception that could not be raised", exc_info=info)


def _on_warning(  # noqa: PLR0917  the signature is that of warnings.showwarning
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    del file, line  # the source line may hold a literal
    logging.getLogger("py.warnings").warning(
        "%s at %s:%d: %s", category.__name__, filename, lineno, message
    )


def _on_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    info = (type(error), error, error.__traceback__) if isinstance(error, BaseException) else None
    logging.getLogger("asyncio").error("%s", context.get("message", "loop error"), exc_info=info)

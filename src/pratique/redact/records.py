"""One log record as one line of JSON that holds nothing it should not.

The rule: every text of a record, wherever it came from, goes through the redactor field by
field; what fails is withheld, field by field. Exceptions give their type and where they were
raised; their text may quote a prompt, so it is shown only for errors whose text is ours or the
operating system's, unless `ExceptionText.REDACTED` is asked for. Locals, source lines, query
strings, authorization and cookie headers and validation input are never written.
"""

import json
import logging
import math
import re
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pratique.errors import PratiqueError
from pratique.redact.engine import Redactor

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {
    "message",
    "asctime",
    "taskName",
    "color_message",
}
_QUERY = re.compile(
    r"((?:[A-Za-z][A-Za-z0-9+.\-]{1,20}://|\"?(?:GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS|CONNECT|TRACE) +/)[^\s\"'?#<>]*|(?<![^\s\"'(=])/[^\s\"'?#<>]*(?=\?[^\s\"'<>=]{1,100}=))[?#][^\s\"'<>]*"
)
_HEADER = re.compile(
    r"((?:proxy-)?authorization|(?:set-)?cookie|x-api-key|x-auth-token|api-key)"
    r"(\\?[\"']?\s*[:=,]\s*)([^\r\n]+(?:\r?\n[ \t]+[^\r\n]+)*)",
    re.IGNORECASE,
)
_HEADER_NAME = re.compile(
    r"(?:proxy-)?authorization|(?:set-)?cookie|x-api-key|x-auth-token|api-key", re.IGNORECASE
)
_MAX_FRAMES = 40
_MAX_CHAIN = 5
_MAX_DEPTH = 4
_MAX_ITEMS = 64
_MAX_TEXT = 65_536
_MAX_EXTRA = 131_072
_PAIR = 2


class ExceptionText(StrEnum):
    """What is shown of an exception's own words."""

    OURS = "ours"
    REDACTED = "redacted"


class _Room:
    """How many characters the fields of one record may still have, all together."""

    def __init__(self) -> None:
        self._left = _MAX_EXTRA

    def takes(self, text: str) -> bool:
        """Say whether ``text`` still fits, and count it."""
        self._left -= len(text)
        return self._left >= 0


class RecordRenderer:
    """Turns log records into lines; holds no state but its redactor.

    `line` never raises, and returns one line of ASCII JSON without control characters.
    """

    def __init__(self, redactor: Redactor, exceptions: ExceptionText = ExceptionText.OURS) -> None:
        self._redactor = redactor
        self._exceptions = exceptions

    def line(self, record: logging.LogRecord) -> str:
        """Return the record as one line, without the newline at its end."""
        event: dict[str, Any] = {"time": _time(record)}
        try:
            event["level"] = self.text(str(record.levelname))
            event["logger"] = self.text(str(record.name))
            self._fill(event, record)
        except Exception:  # noqa: BLE001  the seam: a record that cannot be rendered is withheld
            event["message"] = "[WITHHELD:error]"
        return json.dumps(event, ensure_ascii=True, allow_nan=False, default=str)

    def text(self, value: str) -> str:
        """Return one text of a record, redacted."""
        if len(value) > _MAX_TEXT:
            return "[WITHHELD:too-long]"
        bare = _QUERY.sub(r"\1?query-removed", _HEADER.sub(r"\1\2[SECRET]", value))
        return self._redactor.redact(bare).text

    def _fill(self, event: dict[str, Any], record: logging.LogRecord) -> None:
        event["message"] = self.text(_message(record))
        extra = {k: v for k, v in vars(record).items() if k not in _STANDARD}
        if extra:
            event["extra"] = self._value("", extra, 0, _Room())
        if record.exc_info and record.exc_info[1] is not None:
            event["exception"] = self._chain(record.exc_info[1])
        elif record.exc_text:
            event["exception"] = "[WITHHELD:exception text]"
        if record.stack_info:
            event["stack"] = [self.text(p) for p in _stack_places(record.stack_info)]

    def _value(self, key: str, value: object, depth: int, room: "_Room") -> object:
        """Redact a value in the light of its key: ``password`` beside it says what it is."""
        if value is None or isinstance(value, bool):
            return value
        if depth >= _MAX_DEPTH:
            return "[WITHHELD:too-deep]"
        if isinstance(value, Mapping):
            items = [(_plain(k), v) for k, v in list(value.items())[:_MAX_ITEMS]]
            return {self.text(k): self._value(k, v, depth + 1, room) for k, v in items}
        if isinstance(value, (list, tuple, set, frozenset)):
            return self._several(key, list(value)[:_MAX_ITEMS], depth + 1, room)
        if isinstance(value, BaseException):
            return self._exception(value)
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)
        plain = _plain(value)
        if not room.takes(plain):
            return "[WITHHELD:too-long]"
        redacted = "[SECRET]" if _HEADER_NAME.fullmatch(key) else self._beside(key, plain)
        return value if isinstance(value, (int, float)) and redacted == plain else redacted

    def _several(self, key: str, values: list[object], depth: int, room: "_Room") -> object:
        """Redact a sequence; of a pair, the first names the second, as in lists of headers."""
        if len(values) == _PAIR and isinstance(values[0], (str, bytes)):
            key = _plain(values[0])
            return [self.text(key), self._value(key, values[1], depth, room)]
        return [self._value(key, v, depth, room) for v in values]

    def _beside(self, key: str, plain: str) -> str:
        alone = self.text(plain)
        if not key or len(plain) > _MAX_TEXT:
            return alone
        label = f"{key}: "
        together = self._redactor.redact(label + plain)
        if any(span.end > len(label) for span in together.spans) and alone == plain:
            kinds = [span.type for span in together.spans if span.end > len(label)]
            return (
                together.text[len(label) :] if together.text.startswith(label) else f"[{kinds[0]}]"
            )
        return alone

    def _chain(self, error: BaseException) -> list[dict[str, Any]]:
        chain: list[dict[str, Any]] = []
        seen: set[int] = set()
        current: BaseException | None = error
        while current is not None and id(current) not in seen and len(chain) < _MAX_CHAIN:
            seen.add(id(current))
            chain.append(self._exception(current))
            hidden = current.__suppress_context__
            current = current.__cause__ or (None if hidden else current.__context__)
        return chain

    def _exception(self, error: BaseException) -> dict[str, Any]:
        kind = type(error)
        frames = traceback.extract_tb(error.__traceback__, limit=-_MAX_FRAMES)
        shown: dict[str, Any] = {
            "type": self.text(f"{kind.__module__}.{kind.__qualname__}"),
            "text": self._words(error),
            "at": [self.text(f"{f.filename}:{f.lineno} {f.name}") for f in frames],
        }
        if isinstance(error, BaseExceptionGroup):
            shown["group"] = [self._exception(e) for e in error.exceptions[:_MAX_CHAIN]]
        return shown

    def _words(self, error: BaseException) -> str:
        if isinstance(error, PratiqueError):
            return self.text(error.message)
        if isinstance(error, OSError) and error.strerror:
            return self.text(str(error.strerror))
        if (validation := _validation(error)) is not None:
            return self.text(validation)
        if self._exceptions is ExceptionText.REDACTED:
            return self.text(str(error))
        return "[WITHHELD:exception text]"


def _time(record: logging.LogRecord) -> str:
    """Return when the record was made; now, where it carries no such time."""
    try:
        moment = datetime.fromtimestamp(record.created, UTC)
    except Exception:  # noqa: BLE001  a hostile record: not a number, or beyond the calendar
        moment = datetime.now(UTC)
    return moment.isoformat(timespec="milliseconds")


def _plain(value: object) -> str:
    """Return a value as text; bytes as what they say, for ``b'…'`` hides where a word begins."""
    if isinstance(value, (bytes, bytearray)):
        return value.decode("utf-8", "replace")
    return str(value)


def _message(record: logging.LogRecord) -> str:
    try:
        message = record.getMessage()
    except Exception:  # noqa: BLE001  a broken format string or __str__: the arguments are not shown
        return "[WITHHELD:message does not format]"
    if record.name == "asyncio":
        # The default handler appends the repr of tasks, callbacks and exceptions, arguments included.
        head = message.split("\n", 1)[0]
        return re.split(r"[(<]| in callback ", head, maxsplit=1)[0].strip() or "asyncio"
    return message


def _validation(error: BaseException) -> str | None:
    """Name the fields and rules of a pydantic error, never the input."""
    if not type(error).__module__.startswith(("pydantic", "fastapi")):
        return None
    errors = getattr(error, "errors", None)
    if not callable(errors):
        return None
    rules = [f"{'.'.join(map(str, e.get('loc', ())))}: {e.get('type', '')}" for e in errors()]
    return f"{len(rules)} validation errors: " + "; ".join(rules[:_MAX_ITEMS])


_PLACE = re.compile(r'File "([^"]{1,300})", line (\d+), in ([^\s]{1,100})')


def _stack_places(stack: str) -> list[str]:
    return [f"{m[1]}:{m[2]} {m[3]}" for m in _PLACE.finditer(stack)][-_MAX_FRAMES:]

"""What goes over the pipes between parent, keeper and child: lengths first, limits everywhere.

Down (descriptor 0): a length, the start message as JSON, then the request to the end of the pipe.
Up (`out`): frames of one letter, a length and a body; N a note, R the answer, E the class name of an
error, M out of memory. Up (`control`): one JSON object per line, from our own code only.
"""

import json
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

HEADER = struct.Struct("<cI")
_LENGTH = struct.Struct("<I")
NOTE_LIMIT = 4096
_CHUNK = 1 << 20

NOTE, ANSWER, ERROR, MEMORY = b"N", b"R", b"E", b"M"


class TooLong(Exception):
    """A frame said to be longer than its kind may be."""


class Frames:
    """Cuts what comes up the pipe into frames; holds no more than the longest one allowed."""

    def __init__(self, max_answer: int) -> None:
        self._max_answer = max_answer
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Takes the next bytes, at whatever boundary; yields each whole (kind, body).

        Raises TooLong at a header that announces too much, before its body is waited for.
        """
        self._data += data
        while len(self._data) >= HEADER.size:
            kind, length = HEADER.unpack_from(self._data)
            if length > (self._max_answer if kind == ANSWER else NOTE_LIMIT):
                raise TooLong
            end = HEADER.size + length
            if len(self._data) < end:
                return
            body = bytes(memoryview(self._data)[HEADER.size : end])
            del self._data[:end]
            yield kind, body


@dataclass(frozen=True, slots=True)
class Start:
    """The first message: which module, under which lock, on which descriptors (-1: none)."""

    module: str
    lock: Mapping[str, object]
    life: int
    control: int
    out: int
    channel: int


def start_message(start: Start) -> bytes:
    """The bytes that `read_start` reads."""
    body = json.dumps(asdict(start)).encode()
    return _LENGTH.pack(len(body)) + body


def read_start(descriptor: int) -> Start:
    """Reads exactly the first message; the request behind it is left in the pipe."""
    (length,) = _LENGTH.unpack(_read_exactly(descriptor, _LENGTH.size))
    return Start(**json.loads(_read_exactly(descriptor, length)))


def read_all(descriptor: int) -> bytes:
    """Everything up to the end."""
    parts = []
    while part := os.read(descriptor, _CHUNK):
        parts.append(part)
    return b"".join(parts)


def send_note(descriptor: int, text: str) -> None:
    """What is being done now; the last note that arrived is in the result, even of a killed child."""
    _send(descriptor, NOTE, text.encode(errors="replace")[:NOTE_LIMIT])


def send_answer(descriptor: int, answer: bytes) -> None:
    """The one answer."""
    _send(descriptor, ANSWER, answer)


def send_error(descriptor: int, error: BaseException) -> None:
    """The class name of what was raised, or that memory ran out."""
    if isinstance(error, MemoryError):
        _send(descriptor, MEMORY, b"")
    else:
        _send(descriptor, ERROR, type(error).__name__.encode()[:NOTE_LIMIT])


def send_report(descriptor: int, confinement: Mapping[str, object], *, allowed: bool) -> None:
    """What holds in the child, and whether it goes on."""
    send_line(descriptor, {"confinement": confinement, "allowed": allowed})


def send_line(descriptor: int, value: Mapping[str, Any]) -> None:
    """One JSON object on the control pipe."""
    _write(descriptor, json.dumps(value).encode() + b"\n")


def _send(descriptor: int, kind: bytes, body: bytes) -> None:
    _write(descriptor, HEADER.pack(kind, len(body)))
    _write(descriptor, body)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _read_exactly(descriptor: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = os.read(descriptor, size - len(data))
        if not part:
            raise EOFError("the parent went away")
        data += part
    return data

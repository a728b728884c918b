"""The signer as a process of its own, so that the HTTP process never holds the log's key.

`start_signer(key_path)` starts `python -m pratique.ledger.signer_child` with one end of a socket pair and returns the other end as a `RemoteSigner`; `serve_signer` is the loop behind it, which a
parent process may run itself. The child gets the key's path and the socket, nothing else, and ends when
the other end closes.

Frames are a four-byte length and JSON in both directions, bounded and strict; the answer to `resume`
and `extend` is a note or a refusal with its exit code and words. What the signer agrees to sign is
the signer's own decision (signer.py), never the caller's.
"""

import json
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from pratique.errors import FormatError, LedgerNotIntact, PratiqueError, StorageError
from pratique.ledger.merkle import HASH_BYTES
from pratique.ledger.note import LogKey
from pratique.ledger.signer import MAX_LEAVES, Signer

_LENGTH: Final = struct.Struct(">I")
_MAX_FRAME: Final = 3 * HASH_BYTES * MAX_LEAVES
_SECONDS: Final = 30.0
_CHILD: Final = "pratique.ledger.signer_child"


class RemoteSigner:
    """A `Signer` at the other end of a socket. Not for use by several threads at once."""

    def __init__(
        self, channel: socket.socket, child: "subprocess.Popen[bytes] | None" = None
    ) -> None:
        channel.settimeout(_SECONDS)
        self._channel = channel
        self._child = child
        self._key = LogKey.parse(_text(self._ask({"op": "key"}), "key"))

    @property
    def key(self) -> LogKey:
        """The public half, and the log's name."""
        return self._key

    def resume(self, note: bytes | None, peaks: Sequence[bytes]) -> None:
        """See `Signer.resume`."""
        words = None if note is None else note.decode("utf-8")
        self._ask({"op": "resume", "note": words, "peaks": b"".join(peaks).hex()})

    def extend(self, leaves: Sequence[bytes]) -> bytes:
        """See `Signer.extend`. The note is verified before it is returned."""
        answer = self._ask({"op": "extend", "leaves": b"".join(leaves).hex()})
        note = _text(answer, "note").encode()
        self._key.open(note)
        return note

    def close(self) -> None:
        """Close the channel; a child that was started here ends and is waited for."""
        self._channel.close()
        if self._child is not None:
            try:
                self._child.wait(timeout=_SECONDS)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()

    def __enter__(self) -> "RemoteSigner":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, question: Mapping[str, object]) -> Mapping[str, object]:
        try:
            _send(self._channel, question)
            answer = _receive(self._channel)
        except OSError as error:
            raise StorageError("the log's signer does not answer") from error
        if answer is None:
            raise StorageError("the log's signer is gone")
        if "refused" in answer:
            words = _text(answer, "refused")
            if answer.get("code") == LedgerNotIntact.exit_code:
                raise LedgerNotIntact(words, hint="run `pratique log verify`")
            raise StorageError(f"the log's signer refused: {words}")
        return answer


def start_signer(key_path: Path) -> RemoteSigner:
    """Start a child that holds the key at `key_path` (made if absent) and signs for us."""
    ours, theirs = socket.socketpair()
    with theirs:
        child = subprocess.Popen(
            [sys.executable, "-I", "-m", _CHILD, str(theirs.fileno()), str(key_path)],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C at the terminal must not take the last checkpoint away
        )
    try:
        return RemoteSigner(ours, child)
    except PratiqueError:
        ours.close()
        child.wait(timeout=_SECONDS)
        raise


def refuse_to_serve(channel: socket.socket, error: PratiqueError) -> None:
    """Answer the first question with why there is no signer, and close."""
    with channel, suppress(OSError, FormatError):
        _receive(channel)
        _send(channel, {"refused": error.message, "code": error.exit_code})


def serve_signer(channel: socket.socket, signer: Signer) -> None:
    """Answer until the other end closes, then close. A malformed frame ends the conversation."""
    with channel, suppress(OSError, FormatError):
        while (question := _receive(channel)) is not None:
            try:
                answer = _answer(question, signer)
            except PratiqueError as error:
                answer = {"refused": error.message, "code": error.exit_code}
            _send(channel, answer)


def _answer(question: Mapping[str, object], signer: Signer) -> dict[str, object]:
    match question.get("op"):
        case "key":
            return {"key": signer.key.vkey()}
        case "resume":
            note = question.get("note")
            words = None if note is None else _text(question, "note").encode()
            signer.resume(words, _hashes(question, "peaks"))
            return {"resumed": True}
        case "extend":
            return {"note": signer.extend(_hashes(question, "leaves")).decode("utf-8")}
        case _:
            raise FormatError("the signer does not know this question")


def _text(frame: Mapping[str, object], name: str) -> str:
    value = frame.get(name)
    if not isinstance(value, str):
        raise FormatError(f"the signer's frame lacks {name}")
    return value


def _hashes(frame: Mapping[str, object], name: str) -> list[bytes]:
    try:
        raw = bytes.fromhex(_text(frame, name))
    except ValueError as error:
        raise FormatError(f"the signer's frame has malformed {name}") from error
    if len(raw) % HASH_BYTES:
        raise FormatError(f"the signer's frame has malformed {name}")
    return [raw[i : i + HASH_BYTES] for i in range(0, len(raw), HASH_BYTES)]


def _send(channel: socket.socket, frame: Mapping[str, object]) -> None:
    data = json.dumps(frame).encode()
    channel.sendall(_LENGTH.pack(len(data)) + data)


def _receive(channel: socket.socket) -> dict[str, object] | None:
    head = _exactly(channel, _LENGTH.size)
    if head is None:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > _MAX_FRAME:
        raise FormatError("the signer's frame is too long")
    body = _exactly(channel, length)
    try:
        frame = json.loads(body or b"")
    except (ValueError, RecursionError) as error:
        raise FormatError("the signer's frame is not JSON") from error
    if not isinstance(frame, dict):
        raise FormatError("the signer's frame is not an object")
    return frame


def _exactly(channel: socket.socket, count: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < count:
        block = channel.recv(min(count - len(parts), 1 << 20))
        if not block:
            return None
        parts += block
    return bytes(parts)

"""sentencepiece's `.model`: a protobuf ModelProto, read by a small strict reader of our own.

Field numbers and meanings are those of sentencepiece_model.proto (Apache-2.0, google/sentencepiece).
Unknown field numbers are refused in the messages that we read: what nobody understood was not
checked. Lengths are checked before anything is sliced, so a malformed file costs no more than its
size.
"""

import math
import struct
from collections.abc import Iterator
from typing import Final

from pratique.core.ids import shown
from pratique.errors import FormatError
from pratique.formats.tokenizer.view import (
    MAX_TOKEN_CHARS,
    MAX_TOKENS,
    ModelKind,
    Piece,
    Pipeline,
    Vocabulary,
)

_ROLES: Final = {1: "normal", 2: "unknown", 3: "control", 4: "user", 5: "unused", 6: "byte"}
_KINDS: Final = {1: ModelKind.UNIGRAM, 2: ModelKind.BPE, 3: ModelKind.WORDLEVEL, 4: ModelKind.TABLE}
_MAX_VARINT_BYTES: Final = 10

Field = tuple[int, int, int, bytes]
"""(field number, wire type, value for varints and fixed widths, bytes for length-delimited)."""


def parse_sentencepiece(data: bytes, form: str = "tokenizer.model") -> Vocabulary:
    """Read a ModelProto: pieces with scores and types, trainer and normalizer settings.

    A piece's id is its position. Guarantees the wire format of every message it reads; does NOT
    check that pieces are unique.

    Raises:
        FormatError: truncated or unknown fields, invalid UTF-8, too many pieces.
    """
    pieces: list[Piece] = []
    trainer: dict[int, int | bytes] = {}
    normalizer: dict[int, int | bytes] = {}
    for number, wire, _, payload in _fields(data, form):
        if number not in {1, 2, 3, 4, 5} or wire != 2:
            raise FormatError(f"{form}: unknown field {number} in the model")
        if number == 1:
            if len(pieces) >= MAX_TOKENS:
                raise FormatError(f"{form}: more than {MAX_TOKENS} pieces")
            pieces.append(_piece(payload, len(pieces), form))
        elif number == 2:
            trainer.update(_settings(payload, form))
        elif number == 3:
            normalizer.update(_settings(payload, form))
    if not pieces:
        raise FormatError(f"{form}: holds no pieces")
    kind = _KINDS.get(_int(trainer.get(3, 1)))
    if kind is None:
        raise FormatError(f"{form}: model type {trainer.get(3)!r} is not known")
    charsmap = normalizer.get(2)
    return Vocabulary(
        form=form,
        kind=kind,
        pieces=tuple(pieces),
        unk=next((p.text for p in pieces if p.role == "unknown"), None),
        byte_fallback=bool(_int(trainer.get(35, 0))),
        pipeline=Pipeline(charsmap=charsmap if isinstance(charsmap, bytes) else None),
        settings={
            "normalizer": _text(normalizer.get(1, b""), form),
            "add_dummy_prefix": bool(_int(normalizer.get(3, 1))),
            "remove_extra_whitespaces": bool(_int(normalizer.get(4, 1))),
            "escape_whitespaces": bool(_int(normalizer.get(5, 1))),
            # Defaults of the proto; -1 (as an unsigned varint) means "none".
            "unk_id": _signed(trainer.get(40, 0)),
            "bos_id": _signed(trainer.get(41, 1)),
            "eos_id": _signed(trainer.get(42, 2)),
            "pad_id": _signed(trainer.get(43, 2**64 - 1)),
        },
    )


def _piece(data: bytes, number: int, form: str) -> Piece:
    text, score, role = "", 0.0, 1
    for field, wire, value, payload in _fields(data, form):
        match field, wire:
            case 1, 2:
                text = _text(payload, f"{form}: piece {number}")
            case 2, 5:
                score = struct.unpack("<f", struct.pack("<I", value))[0]
            case 3, 0:
                role = value
            case _:
                raise FormatError(f"{form}: piece {number} has an unknown field {field}")
    if role not in _ROLES:
        raise FormatError(f"{form}: piece {number} ({shown(text)}) has the unknown type {role}")
    if not math.isfinite(score):
        raise FormatError(f"{form}: piece {number} ({shown(text)}) has no finite score")
    return Piece(text, number, score, _ROLES[role])


def _settings(data: bytes, form: str) -> dict[int, int | bytes]:
    found: dict[int, int | bytes] = {}
    for field, wire, value, payload in _fields(data, form):
        found[field] = payload if wire == 2 else value
    return found


def _fields(data: bytes, form: str) -> Iterator[Field]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at, form)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise FormatError(f"{form}: field number 0 at byte {at}")
        if wire == 0:
            value, at = _varint(data, at, form)
            yield number, wire, value, b""
        elif wire == 2:
            size, at = _varint(data, at, form)
            if size > len(data) - at:
                raise FormatError(f"{form}: a field of {size} bytes runs past the end")
            yield number, wire, 0, data[at : at + size]
            at += size
        elif wire in {1, 5}:
            width = 8 if wire == 1 else 4
            if width > len(data) - at:
                raise FormatError(f"{form}: truncated at byte {at}")
            yield number, wire, int.from_bytes(data[at : at + width], "little"), b""
            at += width
        else:
            raise FormatError(f"{form}: wire type {wire} at byte {at} is not allowed")


def _varint(data: bytes, at: int, form: str) -> tuple[int, int]:
    value = 0
    for count in range(_MAX_VARINT_BYTES):
        if at >= len(data):
            raise FormatError(f"{form}: truncated at byte {at}")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            if value >= 2**64:
                break
            return value, at
    raise FormatError(f"{form}: an overlong number before byte {at}")


def _text(value: int | bytes, where: str) -> str:
    if not isinstance(value, bytes):
        raise FormatError(f"{where}: a number where text belongs")
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"{where}: not UTF-8") from error
    if len(text) > MAX_TOKEN_CHARS:
        raise FormatError(f"{where}: longer than {MAX_TOKEN_CHARS} characters")
    return text


def _int(value: int | bytes) -> int:
    return value if isinstance(value, int) else -1


def _signed(value: int | bytes) -> int:
    number = _int(value)
    return number - 2**64 if number >= 2**63 else number

"""The one view: every form of a tokenizer is read into a `Vocabulary`.

A `Vocabulary` keeps what the form says, contradictions included (two tokens with one id, a token
listed twice), because naming those is the gate's work. It holds no more than `MAX_TOKENS` entries.
"""

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pratique.core.ids import shown
from pratique.errors import FormatError

MAX_TOKENS: Final = 1_000_000
MAX_TOKEN_CHARS: Final = 65_536
MAX_MERGES: Final = 4_000_000
MAX_ID: Final = 2**31 - 1


class ModelKind(enum.StrEnum):
    """How a tokenizer cuts text into tokens."""

    BPE = "BPE"
    WORDPIECE = "WordPiece"
    UNIGRAM = "Unigram"
    WORDLEVEL = "WordLevel"
    RANKS = "ranks"
    """Byte-pair encoding by rank alone: tiktoken, tekken."""
    TABLE = "table"
    """A bare token ↔ id table; the form does not say how text is cut."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One entry of the model's own vocabulary, as the form spells it.

    `text` is in the form's alphabet: byte-level BPE spells bytes with GPT-2's 256 printable
    characters, rank files are spelled the same way. `score` is Unigram's log-probability,
    `role` sentencepiece's piece type ("normal", "unknown", "control", "user", "unused", "byte").
    """

    text: str
    id: int
    score: float | None = None
    role: str = "normal"


@dataclass(frozen=True, slots=True)
class AddedToken:
    """A token matched in the text before the model sees it."""

    content: str
    id: int | None
    special: bool = False
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False
    normalized: bool = False


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What happens to text around the model, as parsed JSON (None where the form has no such step)."""

    normalizer: object = None
    pre_tokenizer: object = None
    post_processor: object = None
    decoder: object = None
    truncation: object = None
    padding: object = None
    charsmap: bytes | None = None
    """sentencepiece's compiled normalization rules."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """One form of a tokenizer.

    `form` is its path in the repository, for messages. `pieces` are in the order of the file.
    `merges` are pairs in rank order. `unk` is the text of the unknown token, if the form names one.
    """

    form: str
    kind: ModelKind
    pieces: Sequence[Piece]
    added: tuple[AddedToken, ...] = ()
    merges: Sequence[tuple[str, str]] = ()
    unk: str | None = None
    byte_level: bool = False
    byte_fallback: bool = False
    ignore_merges: bool = False
    continuing_prefix: str = ""
    end_of_word_suffix: str = ""
    pipeline: Pipeline = field(default_factory=Pipeline)
    settings: Mapping[str, object] = field(default_factory=dict)

    def ids(self) -> dict[str, int]:
        """Map every token, added ones included, to its id. Later entries win, as in the loaders."""
        table = {piece.text: piece.id for piece in self.pieces}
        table.update((a.content, a.id) for a in self.added if a.id is not None)
        return table

    @property
    def top_id(self) -> int:
        """The highest id used, or -1 for an empty vocabulary."""
        top = max((piece.id for piece in self.pieces), default=-1)
        return max([top, *(a.id for a in self.added if a.id is not None)])


def token_id(value: object, where: str) -> int:
    """Return `value` as a token id. Raises FormatError unless it is an integer in [0, 2³¹)."""
    if type(value) is not int or not 0 <= value <= MAX_ID:
        raise FormatError(f"{where}: not a token id: {shown(repr(value))}")
    return value


def token_text(value: object, where: str) -> str:
    """Return `value` as a token's text. Raises FormatError for other types and overlong texts."""
    if type(value) is not str or len(value) > MAX_TOKEN_CHARS:
        raise FormatError(f"{where}: not a token: {shown(repr(value))}")
    return value


def flag(value: Mapping[str, object], key: str, where: str, *, default: bool = False) -> bool:
    """Return `value[key]` as a boolean. Raises FormatError for any other type."""
    found = value.get(key, default)
    if type(found) is not bool:
        raise FormatError(f"{where}: {key} is not true or false")
    return found


def mapping(value: object, where: str) -> Mapping[str, object]:
    """Return `value` as a JSON object. Raises FormatError for any other type."""
    if not isinstance(value, dict):
        raise FormatError(f"{where}: not a JSON object")
    return value


def items(value: object, where: str, limit: int) -> list[object]:
    """Return `value` as a JSON array of at most `limit` items. Raises FormatError otherwise."""
    if not isinstance(value, list):
        raise FormatError(f"{where}: not a JSON array")
    if len(value) > limit:
        raise FormatError(f"{where}: more than {limit} entries")
    return value


def byte_alphabet() -> tuple[str, ...]:
    """GPT-2's table: the printable character that stands for each of the 256 byte values."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    spare = iter(range(256, 512))
    return tuple(chr(b) if b in printable else chr(next(spare)) for b in range(256))


BYTE_ALPHABET: Final = byte_alphabet()
_FROM_ALPHABET: Final = {char: value for value, char in enumerate(BYTE_ALPHABET)}


def spell_bytes(data: bytes) -> str:
    """Spell bytes in GPT-2's alphabet, one character a byte."""
    return "".join(BYTE_ALPHABET[b] for b in data)


def unspell(text: str) -> bytes | None:
    """Return the bytes that `text` spells in GPT-2's alphabet, or None if it is not in it."""
    try:
        return bytes(_FROM_ALPHABET[c] for c in text)
    except KeyError:
        return None


def bounded(pieces: Iterable[Piece], where: str) -> tuple[Piece, ...]:
    """Collect pieces. Raises FormatError when there are more than MAX_TOKENS."""
    found: list[Piece] = []
    for piece in pieces:
        if len(found) >= MAX_TOKENS:
            raise FormatError(f"{where}: more than {MAX_TOKENS} tokens")
        found.append(piece)
    return tuple(found)

"""What bytes each token of the loaded tokenizer stands for, so that a grammar can choose among tokens.

Only a token whose text is certain counts: the bytes follow from the tokenizer's own decoder, and where
they are whole characters the decoder is asked and must agree. Special tokens and those that end an
answer stand for no text at all: no grammar can let them through as text. A tokenizer of another kind
(WordPiece, or one that is a program) cannot be held to a grammar.
"""

import json
from collections.abc import Callable
from typing import Any, Final

import llguidance
import numpy as np

from pratique.jobs.worker_bytes import by_letters, by_number

_ASCII: Final = frozenset(bytes([code]) for code in range(0x20, 0x7F))
_FORCED_CHARS: Final = 128
_ASKED: Final = 4096
"""Tokens that the decoder is asked for at a time."""
_SPACE: Final = "\N{LOWER ONE EIGHTH BLOCK}"


class NotByText(Exception):
    """The tokenizer's tokens have no certain text."""


class Vocabulary:
    """Tokens as bytes, for one model. Raises NotByText where that cannot be.

    Made once and kept as long as the process: the library's tokenizer and this refer to each other.
    """

    def __init__(self, tokenizer: Any, *, rows: int, ends: frozenset[int]) -> None:  # noqa: ANN401 - transformers
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise NotByText
        self.rows = rows
        self.ends = ends
        self.specials = {
            str(token.content): number
            for number, token in backend.get_added_tokens_decoder().items()
            if token.special and number < rows and number not in ends
        }
        # One id beyond them all ends an answer too: without an end token a grammar can still be complete.
        tokens = _texts(backend, rows)
        tokens += [b""] * (max([rows, *(number + 1 for number in ends)]) + 1 - rows)
        for number in (*self.specials.values(), *ends):
            tokens[number] = b""
        _drop_what_decodes_otherwise(backend, tokens)
        if not set(tokens) >= _ASCII:
            raise NotByText
        for number in self.specials.values():
            tokens[number] = b"\xff[%d]" % number  # llguidance's mark: matched by id alone
        for number in ends:
            tokens[number] = b""
        self._backend = backend
        # An object for each token would take three times as much.
        self._texts = b"".join(tokens)
        lengths = np.fromiter(map(len, tokens), dtype=np.int64, count=len(tokens))
        self._starts = np.concatenate(([0], np.cumsum(lengths)))
        self._ready: llguidance.LLTokenizer | None = None
        self.tokenizer = self._ready = self._made(tokens)

    def _made(self, tokens: list[bytes]) -> llguidance.LLTokenizer:
        finals = [*sorted(self.ends), len(tokens) - 1]
        source = _Source(tokens, finals[0], self._forced)
        wrapper = llguidance.TokenizerWrapper(source)
        made = llguidance.LLTokenizer(
            wrapper,
            n_vocab=len(tokens),
            eos_token=finals,
            slices=llguidance.LLTokenizer.json_slices(),
        )
        wrapper.tokens = source.tokens = []  # the library has copied them, and keeps the wrapper
        return made

    def _forced(self, data: bytes) -> list[int]:
        """Cut text that a grammar forces into tokens: as the model was taught, if that is exact.

        The library calls this within a step, with all that is forced: a piece of it will do.
        """
        if self._ready is None:  # it is being made: the library tries what it was given
            return []
        text = data.decode("utf-8", "ignore")[:_FORCED_CHARS]
        ids = list(self._backend.encode(text, add_special_tokens=False).ids)
        if b"".join(map(self._text, ids)) != text.encode():
            ids = self._ready.greedy_tokenize(text)
        return ids

    def _text(self, number: int) -> bytes:
        if not 0 <= number < len(self._starts) - 1:
            return b""
        return self._texts[self._starts[number] : self._starts[number + 1]]


class _Source:
    """What llguidance wants to be given."""

    bos_token_id = None

    def __init__(self, tokens: list[bytes], end: int, cut: Callable[[bytes], list[int]]) -> None:
        self.tokens = tokens
        self.eos_token_id = end
        self.special_token_ids: list[int] = []
        self._cut = cut

    def __call__(self, data: bytes) -> list[int]:
        """Return the tokens of a text."""
        return self._cut(data)


def _texts(backend: Any, rows: int) -> list[bytes]:  # noqa: ANN401 - tokenizers
    """Return the bytes of each of `rows` tokens, as the decoder's kind says; none where it says nothing.

    Token by token: the tokenizer as one text, or its whole map, would be many times as large.
    """
    state = json.loads(backend.decoder.__getstate__()) if backend.decoder is not None else {}
    kinds = {step.get("type") for step in state.get("decoders", [state])}
    bytes_of = _reader(kinds)
    added = {n: str(t.content).encode() for n, t in backend.get_added_tokens_decoder().items()}
    found = []
    for number in range(rows):
        data = added.get(number)
        if not data and (token := backend.id_to_token(number)) is not None:
            data = bytes_of(token)
        found.append(data or b"")
    return found


def _reader(kinds: set[str | None]) -> Callable[[str], bytes | None]:
    """Return what reads a token as it is written, by the kinds of its decoder's steps."""
    if "ByteLevel" in kinds:
        return by_letters
    if not kinds & {"Metaspace", "Replace"}:
        raise NotByText
    by_byte = "ByteFallback" in kinds

    def plain(token: str) -> bytes:
        found = by_number(token) if by_byte else None
        return found or token.replace(_SPACE, " ").encode("utf-8", "replace")

    return plain


def _drop_what_decodes_otherwise(backend: Any, tokens: list[bytes]) -> None:  # noqa: ANN401 - tokenizers
    """Ask the decoder for every token of whole characters, behind an anchor (first tokens differ)."""
    anchor = next((number for number, data in enumerate(tokens) if data == b"a"), None)
    if anchor is None:
        raise NotByText
    for start in range(0, len(tokens), _ASKED):
        asked, wanted = [], []
        for number in range(start, min(start + _ASKED, len(tokens))):
            try:
                text = tokens[number].decode()
            except UnicodeDecodeError:
                continue
            if text:
                asked.append(number)
                wanted.append("a" + text)
        decoded = backend.decode_batch([[anchor, number] for number in asked])
        for number, text, right in zip(asked, decoded, wanted, strict=True):
            if text != right:
                tokens[number] = b""

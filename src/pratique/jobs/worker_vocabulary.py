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

from pratique.jobs.worker_bytes import by_letters, by_number

_ASCII: Final = frozenset(bytes([code]) for code in range(0x20, 0x7F))
_FORCED_CHARS: Final = 128
_SPACE: Final = "\N{LOWER ONE EIGHTH BLOCK}"


class NotByText(Exception):
    """The tokenizer's tokens have no certain text."""


class Vocabulary:
    """Tokens as bytes, for one model. Raises NotByText where that cannot be."""

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
        texts = _texts(backend, rows)
        for number in (*self.specials.values(), *ends):
            texts.pop(number, None)
        _drop_what_decodes_otherwise(backend, texts)
        if not set(texts.values()) >= _ASCII:
            raise NotByText
        # One id beyond them all ends an answer too: without an end token a grammar can still be complete.
        size = max([rows, *(number + 1 for number in ends)]) + 1
        self._tokens = [texts.get(number, b"") for number in range(size)]
        for number in self.specials.values():
            self._tokens[number] = b"\xff[%d]" % number  # llguidance's mark: matched by id alone
        for number in ends:
            self._tokens[number] = b""
        self._backend = backend
        self._finals = [*sorted(ends), size - 1]
        self._greedy = self._made(lambda _: [])
        self.tokenizer = self._made(self._forced)

    def _made(self, cut: Callable[[bytes], list[int]]) -> llguidance.LLTokenizer:
        source = llguidance.TokenizerWrapper(_Source(self._tokens, self._finals[0], cut))
        return llguidance.LLTokenizer(
            source,
            n_vocab=len(self._tokens),
            eos_token=self._finals,
            slices=llguidance.LLTokenizer.json_slices(),
        )

    def _forced(self, data: bytes) -> list[int]:
        """Cut text that a grammar forces into tokens: as the model was taught, if that is exact.

        The library calls this within a step, with all that is forced: a piece of it will do.
        """
        text = data.decode("utf-8", "ignore")[:_FORCED_CHARS]
        ids = list(self._backend.encode(text, add_special_tokens=False).ids)
        if b"".join(self._tokens[i] for i in ids if i < len(self._tokens)) != text.encode():
            ids = self._greedy.greedy_tokenize(text)
        return ids


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


def _texts(backend: Any, rows: int) -> dict[int, bytes]:  # noqa: ANN401 - tokenizers
    """Return the bytes of each token, as the decoder's kind says."""
    decoder = json.loads(backend.to_str()).get("decoder") or {}
    steps = decoder.get("decoders", [decoder])
    kinds = {step.get("type") for step in steps}
    added = {n: str(t.content).encode() for n, t in backend.get_added_tokens_decoder().items()}
    bytes_of: Callable[[str], bytes | None]
    if "ByteLevel" in kinds:
        bytes_of = by_letters
    elif kinds & {"Metaspace", "Replace"}:
        by_byte = "ByteFallback" in kinds

        def bytes_of(token: str) -> bytes | None:
            found = by_number(token) if by_byte else None
            return found or token.replace(_SPACE, " ").encode("utf-8", "replace")

    else:
        raise NotByText
    found = {}
    for token, number in backend.get_vocab(with_added_tokens=True).items():
        data = added.get(number) or bytes_of(token)
        if data and number < rows:
            found[number] = data
    return found


def _drop_what_decodes_otherwise(backend: Any, texts: dict[int, bytes]) -> None:  # noqa: ANN401 - tokenizers
    """Ask the decoder for every token of whole characters, behind an anchor (first tokens differ)."""
    anchor = next((number for number, data in texts.items() if data == b"a"), None)
    if anchor is None:
        raise NotByText
    asked, wanted = [], []
    for number, data in texts.items():
        try:
            wanted.append("a" + data.decode())
        except UnicodeDecodeError:
            continue
        asked.append(number)
    decoded = backend.decode_batch([[anchor, number] for number in asked])
    for number, text, right in zip(asked, decoded, wanted, strict=True):
        if text != right:
            del texts[number]

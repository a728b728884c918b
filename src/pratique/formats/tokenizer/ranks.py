"""Rank files: tiktoken's `base64 rank` lines and Mistral's tekken.json. Tokens are bytes."""

import base64
import binascii
from collections.abc import Iterator
from typing import Final

from pratique.core.ids import shown
from pratique.errors import FormatError
from pratique.formats.tokenizer.view import (
    MAX_TOKENS,
    AddedToken,
    ModelKind,
    Piece,
    Vocabulary,
    bounded,
    flag,
    items,
    mapping,
    spell_bytes,
    token_id,
    token_text,
)

_MAX_TOKEN_BYTES: Final = 4096
# mistral-common's own list for files that do not carry one (tokenizers/tekken.py, versions 1 to 3).
_TEKKEN_DEFAULT_SPECIALS: Final = (
    "<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]",
    "[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]",
    "[TOOL_CONTENT]",
)  # fmt: skip


def parse_tiktoken(data: bytes, form: str = "tokenizer.tiktoken") -> Vocabulary:
    """Read a tiktoken file: `BASE64 RANK` a line. Special tokens are not in this form.

    Raises:
        FormatError: a malformed line, base64 that is not canonical, an overlong token.
    """
    return Vocabulary(
        form=form,
        kind=ModelKind.RANKS,
        pieces=bounded(_tiktoken_lines(data, form), form),
        byte_level=True,
    )


def _tiktoken_lines(data: bytes, form: str) -> Iterator[Piece]:
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line:
            continue
        token, _, rank = line.partition(b" ")
        if not rank.isdigit() or len(rank) > 10:
            raise FormatError(f"{form}: line {number} is not a token and a rank")
        where = f"{form}: line {number}"
        yield Piece(spell_bytes(_unbase64(token, where)), token_id(int(rank), where))


def parse_tekken(value: object, form: str = "tekken.json") -> Vocabulary:
    """Read a parsed tekken.json.

    Ids are `rank + number of special tokens`; only the first `default_vocab_size - specials` ranks
    are in use (mistral-common, tokenizers/tekken.py). `token_str`, where given, must be the text of
    `token_bytes`.

    Raises:
        FormatError: another shape, or a token whose text is not that of its bytes.
    """
    top = mapping(value, form)
    config = mapping(top.get("config"), f"{form}: config")
    size = token_id(config.get("default_vocab_size"), f"{form}: default_vocab_size")
    specials = token_id(config.get("default_num_special_tokens"), f"{form}: special tokens")
    rows = items(top.get("vocab"), f"{form}: vocab", MAX_TOKENS)
    if specials > size or size - specials > len(rows):
        raise FormatError(f"{form}: default_vocab_size {size} is more than the vocabulary holds")
    return Vocabulary(
        form=form,
        kind=ModelKind.RANKS,
        pieces=bounded(_tekken_rows(rows[: size - specials], specials, form), form),
        added=tuple(_tekken_specials(top.get("special_tokens"), specials, form)),
        byte_level=True,
        settings={"pattern": config.get("pattern"), "version": config.get("version")},
    )


def _tekken_rows(rows: list[object], shift: int, form: str) -> Iterator[Piece]:
    for number, row in enumerate(rows):
        where = f"{form}: vocab[{number}]"
        entry = mapping(row, where)
        rank = token_id(entry.get("rank"), where)
        data = _unbase64(token_text(entry.get("token_bytes"), where).encode(), where)
        text = entry.get("token_str")
        if text is not None and text != _decoded(data):
            raise FormatError(
                f"{where}: token_str {shown(repr(text))} is not the text of token_bytes {data!r}"
            )
        yield Piece(spell_bytes(data), rank + shift)


def _tekken_specials(value: object, count: int, form: str) -> Iterator[AddedToken]:
    named: dict[int, str] = {}
    if value is None:
        named = dict(enumerate(_TEKKEN_DEFAULT_SPECIALS[:count]))
    else:
        for row in items(value, f"{form}: special_tokens", MAX_TOKENS):
            entry = mapping(row, f"{form}: special_tokens")
            flag(entry, "is_control", f"{form}: special_tokens")
            rank = token_id(entry.get("rank"), f"{form}: special_tokens")
            if rank in named or rank >= count:
                raise FormatError(f"{form}: special token rank {rank} is used twice or too high")
            named[rank] = token_text(entry.get("token_str"), f"{form}: special_tokens")
    for rank in range(count):
        yield AddedToken(named.get(rank, f"<SPECIAL_{rank}>"), rank, special=True)


def _decoded(data: bytes) -> str | None:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _unbase64(text: bytes, where: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FormatError(f"{where}: not base64") from error
    if base64.b64encode(data) != text or not 0 < len(data) <= _MAX_TOKEN_BYTES:
        raise FormatError(f"{where}: not canonical base64 of 1 to {_MAX_TOKEN_BYTES} bytes")
    return data

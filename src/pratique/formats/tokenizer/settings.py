"""added_tokens.json, special_tokens_map.json, tokenizer_config.json: what is laid over a vocabulary."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pratique.core.ids import shown
from pratique.errors import FormatError
from pratique.formats.tokenizer.view import (
    MAX_TOKENS,
    AddedToken,
    flag,
    items,
    mapping,
    token_id,
    token_text,
)

ROLES: Final = (
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
)  # fmt: skip
_TOKEN_KEYS: Final = frozenset(
    "__type content single_word lstrip rstrip normalized special id".split()
)


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """What one file says of special tokens: the token in each role, and further ones by name.

    `decoder` is tokenizer_config's `added_tokens_decoder`: tokens with their ids.
    """

    form: str
    roles: Mapping[str, AddedToken]
    additional: tuple[AddedToken, ...] = ()
    decoder: tuple[AddedToken, ...] = ()
    values: Mapping[str, object] | None = None


def parse_added_tokens(value: object, form: str = "added_tokens.json") -> tuple[AddedToken, ...]:
    """Read a parsed added_tokens.json: token → id. Raises FormatError for another shape."""
    table = mapping(value, form)
    if len(table) > MAX_TOKENS:
        raise FormatError(f"{form}: more than {MAX_TOKENS} tokens")
    return tuple(
        AddedToken(token_text(text, form), token_id(number, f"{form}[{shown(text)}]"))
        for text, number in table.items()
    )


def parse_special_tokens(value: object, form: str = "special_tokens_map.json") -> SpecialTokens:
    """Read a parsed special_tokens_map.json. Raises FormatError for another shape."""
    table = mapping(value, form)
    return SpecialTokens(form, _roles(table, form), _additional(table, form))


def parse_tokenizer_config(value: object, form: str = "tokenizer_config.json") -> SpecialTokens:
    """Read a parsed tokenizer_config.json: special tokens by role, and added_tokens_decoder.

    `values` keeps the whole object for checks that look at other fields. Raises FormatError.
    """
    table = mapping(value, form)
    decoder: list[AddedToken] = []
    for key, entry in mapping(table.get("added_tokens_decoder") or {}, form).items():
        if not key.isascii() or not key.isdigit() or len(key) > 10 or str(int(key)) != key:
            raise FormatError(f"{form}: added_tokens_decoder has the key {shown(key)}")
        token = _token(entry, f"{form}: added_tokens_decoder[{key}]")
        decoder.append(_with_id(token, token_id(int(key), form)))
    return SpecialTokens(form, _roles(table, form), _additional(table, form), tuple(decoder), table)


def _roles(table: Mapping[str, object], form: str) -> dict[str, AddedToken]:
    return {
        role: _token(table[role], f"{form}: {role}")
        for role in ROLES
        # Older files write null or false for "there is none".
        if table.get(role) not in (None, False)
    }


def _additional(table: Mapping[str, object], form: str) -> tuple[AddedToken, ...]:
    found: list[AddedToken] = []
    for key in ("additional_special_tokens", "extra_special_tokens"):
        value = table.get(key)
        where = f"{form}: {key}"
        if value is None:
            continue
        # transformers 5 also writes extra_special_tokens as name → token (image_token, …).
        rows = list(value.values()) if isinstance(value, dict) else items(value, where, MAX_TOKENS)
        found.extend(_token(row, where) for row in rows)
    return tuple(found)


def _token(value: object, where: str) -> AddedToken:
    if isinstance(value, str):
        return AddedToken(token_text(value, where), None, special=True)
    entry = mapping(value, where)
    if unknown := sorted(set(entry) - _TOKEN_KEYS):
        raise FormatError(f"{where}: unknown entry {shown(unknown[0])}")
    if entry.get("__type", "AddedToken") != "AddedToken":
        raise FormatError(f"{where}: __type {shown(repr(entry['__type']))} is not a token")
    return AddedToken(
        content=token_text(entry.get("content"), where),
        id=None,
        special=flag(entry, "special", where),
        lstrip=flag(entry, "lstrip", where),
        rstrip=flag(entry, "rstrip", where),
        single_word=flag(entry, "single_word", where),
        normalized=flag(entry, "normalized", where, default=True),
    )


def _with_id(token: AddedToken, number: int) -> AddedToken:
    return AddedToken(
        token.content, number, token.special, token.lstrip, token.rstrip, token.single_word,
        token.normalized,
    )  # fmt: skip

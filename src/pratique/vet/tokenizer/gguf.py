"""A GGUF file's own vocabulary: the same rules as for the other forms, and its embedding rows.

Keys: `tokenizer.ggml.tokens`, `.scores`, `.token_type`, `.merges`, `.*_token_id`
(github.com/ggml-org/ggml, docs/gguf.md). Published files pad with `[PAD123]` and name the rows in the
tensor `token_embd.weight`, whose second dimension is the vocabulary.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pratique.core.ids import shown
from pratique.formats.gguf import GgufHeader, Value
from pratique.vet.tokenizer.problem import Problem, looks_special, note, tok

_TOKENS: Final = "tokenizer.ggml.tokens"
_NORMAL: Final = 1
_KINDS: Final = range(1, 7)
_ENDS: Final = ("bos_token_id", "eos_token_id", "eot_token_id", "eom_token_id")
_OTHERS: Final = (
    "unknown_token_id", "padding_token_id", "seperator_token_id", "separator_token_id",
    "cls_token_id", "mask_token_id", "fim_pre_token_id", "fim_suf_token_id", "fim_mid_token_id",
)  # fmt: skip


def problems_of_gguf(path: str, header: GgufHeader) -> Iterator[Problem]:
    """Yield what is wrong with the vocabulary inside one GGUF file. Files without one are silent."""
    tokens = header.metadata.get(_TOKENS)
    if tokens is None:
        return
    if not isinstance(tokens, list) or not all(isinstance(t, str) for t in tokens):
        yield Problem(path, f"{_TOKENS} is no list of texts")
        return
    texts = [t for t in tokens if isinstance(t, str)]
    yield from _unique(path, texts)
    yield from _lengths(path, header.metadata, len(texts))
    yield from _ends(path, header.metadata, texts)
    yield from _rows(path, header, texts)


def _unique(path: str, texts: Sequence[str]) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for number, text in enumerate(texts):
        first = seen.setdefault(text, number)
        if first != number:
            yield Problem(path, f"a token is listed twice: {tok(text)} as {first} and {number}")
            return


def _lengths(path: str, metadata: Mapping[str, Value], count: int) -> Iterator[Problem]:
    """Scores and types are one a token; llama.cpp reads them by the token's number."""
    for key in ("tokenizer.ggml.scores", "tokenizer.ggml.token_type"):
        value = metadata.get(key)
        if value is not None and (not isinstance(value, list) or len(value) != count):
            size = len(value) if isinstance(value, list) else 0
            yield Problem(path, f"{key} has {size} entries for {count} tokens")
    kinds = metadata.get("tokenizer.ggml.token_type")
    if isinstance(kinds, list) and (odd := [k for k in kinds if k not in _KINDS]):
        yield note(path, f"{len(odd)} tokens have the unknown type {shown(str(odd[0]))}")


def _ends(path: str, metadata: Mapping[str, Value], texts: Sequence[str]) -> Iterator[Problem]:
    kinds = metadata.get("tokenizer.ggml.token_type")
    for role in (*_ENDS, *_OTHERS):
        number = metadata.get(f"tokenizer.ggml.{role}")
        # 2³² − 1 is how converters write "none".
        if number is None or number in {-1, 2**32 - 1}:
            continue
        if type(number) is not int or not 0 <= number < len(texts):
            yield Problem(path, f"{role} {shown(str(number))} is not an id of this vocabulary")
            continue
        normal = not isinstance(kinds, list) or len(kinds) <= number or kinds[number] == _NORMAL
        text = texts[number]
        if role in _ENDS and normal and not looks_special(text) and text.strip("▁Ġ ").isalnum():
            yield Problem(path, f"{role} is the ordinary token {tok(text, number)}")


def _rows(path: str, header: GgufHeader, texts: Sequence[str]) -> Iterator[Problem]:
    for tensor in header.tensors:
        if tensor.name in {"token_embd.weight", "output.weight"} and len(tensor.shape) == 2:
            rows = tensor.shape[1]
            if len(texts) > rows:
                yield Problem(
                    path,
                    f"{tok(texts[-1], len(texts) - 1)} has no row in {tensor.name} ({rows} rows)",
                    remedy="the vocabulary belongs to another model, or the embeddings were cut",
                )

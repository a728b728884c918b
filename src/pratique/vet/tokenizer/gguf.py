"""A GGUF file's own vocabulary: each token once, and text ends with no word that people write.

Keys: `tokenizer.ggml.tokens`, `.token_type`, `.*_token_id` (github.com/ggml-org/ggml, docs/gguf.md).
Lengths, ranges and embedding rows are the header's own check.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pratique.formats.gguf import GgufHeader, Value
from pratique.vet.tokenizer.problem import Problem, looks_special, tok

_TOKENS: Final = "tokenizer.ggml.tokens"
_NORMAL: Final = 1
_ENDS: Final = ("bos_token_id", "eos_token_id", "eot_token_id", "eom_token_id")


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
    yield from _ends(path, header.metadata, texts)


def _unique(path: str, texts: Sequence[str]) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for number, text in enumerate(texts):
        first = seen.setdefault(text, number)
        if first != number:
            yield Problem(path, f"a token is listed twice: {tok(text)} as {first} and {number}")
            return


def _ends(path: str, metadata: Mapping[str, Value], texts: Sequence[str]) -> Iterator[Problem]:
    kinds = metadata.get("tokenizer.ggml.token_type")
    for role in _ENDS:
        number = metadata.get(f"tokenizer.ggml.{role}")
        if type(number) is not int or not 0 <= number < len(texts):
            continue  # out of range: the check of GGUF headers says so
        normal = not isinstance(kinds, list) or len(kinds) <= number or kinds[number] == _NORMAL
        text = texts[number]
        if normal and not looks_special(text) and text.strip("▁Ġ ").isalnum():
            yield Problem(path, f"{role} is the ordinary token {tok(text, number)}")

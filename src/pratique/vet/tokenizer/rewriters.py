"""Rules for what happens around the model: text that is replaced, dropped or inserted.

A step that does what its class does everywhere passes. A step that rewrites text beyond that is
shown with an example and needs an allowance by the digest of the step. What contradicts the
vocabulary (a post-processor that inserts another id than the token's) is refused.
"""

import base64
import binascii
import hashlib
import json
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Final

from pratique.core.findings import Disposition, Severity
from pratique.core.ids import Digest, shown
from pratique.errors import FormatError
from pratique.formats.tokenizer import Vocabulary
from pratique.formats.tokenizer.charsmap import parse_charsmap
from pratique.vet.tokenizer.problem import Problem, looks_special, tok

Step = Mapping[str, object]

# What sentencepiece 0.2 compiles for nmt_nfkc, nfkc, nmt_nfkc_cf, nfkc_cf: read once, known since.
_KNOWN_CHARSMAPS: Final = frozenset(
    {
        "1e2c7b43d3ee9755ceaa2ac335e253d8703604e0249ee1e81156c92b46423844",
        "7e46d9e08af4b6a37991b04fb8388644c1595a0abcd0f26d6a5d575e2a3663ea",
        "2c03512e62f9ed965ec90d85314211b63b5b8aa0395311ea2147eec9ff738907",
        "d8dfef3d6db0eef0742f8b55a73aee7fce6c1e21d26a09b8d3d4b52c42a791cb",
    }
)
_PLAIN: Final[dict[str, frozenset[str]]] = {
    "normalizer": frozenset(
        "BertNormalizer NFC NFD NFKC NFKD Nmt Strip StripAccents Lowercase ByteLevel Prepend".split()
    ),
    "pre_tokenizer": frozenset(
        "BertPreTokenizer ByteLevel Whitespace WhitespaceSplit Punctuation Digits Metaspace "
        "UnicodeScripts FixedLength".split()
    ),
    "decoder": frozenset("ByteLevel WordPiece Metaspace ByteFallback Fuse BPEDecoder CTC".split()),
    "post_processor": frozenset({"ByteLevel"}),
}
# Published tokenizers that truncate at all do so at 128 tokens and more.
_SHORTEST: Final = 8
_SPACES: Final = frozenset({" ", "▁", "\xa0", "\n", "\t", "\r", "Ġ", "Ċ"})
# Quotes that ALBERT's and XLNet's converters turn into plain ones.
_QUOTES: Final = frozenset({("``", '"'), ("''", '"')})
# White space classes as regular expressions in published tokenizers (T5, Pegasus, DeBERTa, CLIP).
_SPACE_PATTERNS: Final = frozenset(
    {
        " {2,}",
        r"\s+",
        r"\s{2,}",
        "[ ]+",
        " +",
        r"\n",
        r"\r\n?",
        r"[\r\n\t]",
        "( ){2,}",
        r"[\n\r\t ]+",
    }
)


def problems_of_pipeline(vocabulary: Vocabulary) -> Iterator[Problem]:
    """Yield each step that rewrites text, and each that contradicts the vocabulary."""
    steps = vocabulary.pipeline
    for where, value in (
        ("normalizer", steps.normalizer),
        ("pre_tokenizer", steps.pre_tokenizer),
        ("post_processor", steps.post_processor),
        ("decoder", steps.decoder),
    ):
        if value is not None:
            yield from _walk(vocabulary, where, value, 0)
    if steps.charsmap:
        yield from _charsmap(vocabulary, steps.charsmap)
    limit = steps.truncation.get("max_length") if isinstance(steps.truncation, dict) else None
    if isinstance(limit, int) and limit < _SHORTEST:
        yield Problem(vocabulary.form, f"truncation cuts every text to {limit} tokens")


def _walk(vocabulary: Vocabulary, where: str, value: object, depth: int) -> Iterator[Problem]:
    if not isinstance(value, dict) or not isinstance(value.get("type"), str) or depth > 4:
        yield Problem(vocabulary.form, f"the {where} is not a step with a type")
        return
    kind = value["type"]
    if kind == "Sequence":
        inner = next((v for k, v in value.items() if k != "type"), None)
        if not isinstance(inner, list) or len(inner) > 64:
            yield Problem(vocabulary.form, f"the {where}'s Sequence is not a list of steps")
            return
        for step in inner:
            yield from _walk(vocabulary, where, step, depth + 1)
    elif where == "post_processor" and kind != "ByteLevel":
        yield from _post_processor(vocabulary, kind, value)
    elif kind == "Precompiled":
        yield from _precompiled(vocabulary, value)
    elif kind in {"Replace", "Split", "Strip", "CharDelimiterSplit", "Prepend"}:
        if (example := _rewrites(where, kind, value)) is not None:
            yield _rewriter(vocabulary, where, kind, value, example)
    elif kind not in _PLAIN[where]:
        yield Problem(vocabulary.form, f"the {where} has the unknown step {shown(kind)}")


def step_digest(step: object) -> Digest:
    """SHA-256 of a step's canonical JSON: what an allowance for it names."""
    text = json.dumps(step, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return Digest(hashlib.sha256(text.encode()).hexdigest())


def _rewriter(vocabulary: Vocabulary, where: str, kind: str, step: object, example: str) -> Problem:
    digest = step_digest(step)
    return Problem(
        vocabulary.form,
        f"the {where}'s {kind} rewrites text: {example}",
        Disposition.APPROVE,
        Severity.MEDIUM,
        f"if that is meant, allow it by its digest {digest}",
        digest,
    )


def _rewrites(where: str, kind: str, step: Step) -> str | None:
    """Return an example of what the step changes beyond what its class does, or None."""
    if kind == "Prepend":
        text = step.get("prepend")
        return None if text in _SPACES else f"it puts {shown(repr(text))} before the text"
    if kind == "Strip":
        content = step.get("content", " ")
        if where == "normalizer" or content in _SPACES:
            return None
        return f"it removes {shown(repr(content))}"
    if kind == "CharDelimiterSplit":
        delimiter = step.get("delimiter")
        return None if delimiter in _SPACES else f"it drops {shown(repr(delimiter))}"
    if kind == "Split":
        return _split(step)
    return _replace(step)


def _split(step: Step) -> str | None:
    pattern, kind = _pattern(step)
    if step.get("behavior") != "Removed":
        return None
    if step.get("invert") is True:
        # Keeps what matches and drops the rest: the rest is white space if the pattern takes every
        # other character, as CLIP's and cl100k's do through a class of "not space, letter, number".
        whole = any(part in pattern for part in (r"[^\s\p{L}\p{N}]", r"[^\s\p{N}\p{L}]", r"\S"))
        return None if kind == "Regex" and whole else f"it drops all but {shown(pattern)}"
    if pattern in _SPACES or (kind == "Regex" and pattern in _SPACE_PATTERNS):
        return None
    return f"it drops {shown(pattern)}"


def _replace(step: Step) -> str | None:
    pattern, kind = _pattern(step)
    content = step.get("content")
    if not isinstance(content, str):
        return f"{shown(pattern)} becomes {shown(repr(content))}"
    if (pattern, content) in _QUOTES:
        return None
    spaces_only = set(pattern) <= _SPACES or (kind == "Regex" and pattern in _SPACE_PATTERNS)
    if spaces_only and set(content) <= _SPACES and content != "":
        return None
    if kind == "String" and pattern and _same_text(pattern, content):
        return None
    return f"{shown(pattern)} becomes {shown(content)}"


def _same_text(text: str, other: str) -> bool:
    folded = unicodedata.normalize("NFKC", text)
    return other in {folded, folded.casefold(), folded.lower()}


def _pattern(step: Step) -> tuple[str, str]:
    pattern = step.get("pattern")
    if isinstance(pattern, dict) and len(pattern) == 1:
        kind, text = next(iter(pattern.items()))
        if isinstance(text, str) and kind in {"String", "Regex"}:
            return text, kind
    return repr(pattern), "unknown"


def _precompiled(vocabulary: Vocabulary, step: Step) -> Iterator[Problem]:
    text = step.get("precompiled_charsmap")
    if text in (None, ""):
        return
    try:
        data = base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError):
        yield Problem(vocabulary.form, "the normalizer's precompiled rules are not base64")
        return
    yield from _charsmap(vocabulary, data)


def _charsmap(vocabulary: Vocabulary, data: bytes) -> Iterator[Problem]:
    digest = Digest(hashlib.sha256(data).hexdigest())
    if digest in _KNOWN_CHARSMAPS:
        return
    try:
        odd = [rule for rule in parse_charsmap(data) if not _ordinary(*rule)]
    except FormatError as error:
        yield Problem(vocabulary.form, error.message)
        return
    if odd:
        text, replacement = min(odd, key=lambda rule: (not rule[0].isascii(), len(rule[0])))
        yield Problem(
            vocabulary.form,
            f"{len(odd)} normalization rules rewrite text, such as "
            f"{shown(text)} becomes {shown(replacement)}",
            Disposition.APPROVE,
            Severity.MEDIUM,
            f"if that is meant, allow the rules by their digest {digest}",
            digest,
        )


def _ordinary(text: str, replacement: str) -> bool:
    """Whether a rule is Unicode's own (NFKC, case) or drops what cannot be seen (sentencepiece's nmt)."""
    if _same_text(text, replacement):
        return True
    if replacement in {"", " "} and all(
        unicodedata.category(c)[0] in "CZ" or c in "\ufffd▁" for c in text
    ):
        return True
    # A character younger than this Python's Unicode tables: its normal form cannot be known here.
    return any(unicodedata.category(c) == "Cn" for c in text)


def _post_processor(vocabulary: Vocabulary, kind: str, step: Step) -> Iterator[Problem]:
    table = vocabulary.ids()
    special = {token.content for token in vocabulary.added}
    if kind in {"BertProcessing", "RobertaProcessing"}:
        for role in ("sep", "cls"):
            pair = step.get(role)
            if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str)):
                yield Problem(vocabulary.form, f"the post-processor's {role} is not [token, id]")
            else:
                yield from _inserted(vocabulary, table, special, pair[0], [pair[1]])
    elif kind == "TemplateProcessing":
        yield from _template(vocabulary, table, special, step)
    else:
        yield Problem(vocabulary.form, f"the post_processor has the unknown step {shown(kind)}")


def _template(
    vocabulary: Vocabulary, table: Mapping[str, int], special: set[str], step: Step
) -> Iterator[Problem]:
    tokens = step.get("special_tokens")
    tokens = tokens if isinstance(tokens, dict) else {}
    for name, entry in tokens.items():
        ids = entry.get("ids") if isinstance(entry, dict) else None
        texts = entry.get("tokens") if isinstance(entry, dict) else None
        if not isinstance(ids, list) or not isinstance(texts, list) or len(ids) != len(texts):
            yield Problem(vocabulary.form, f"the post-processor's {tok(name)} has no ids")
            continue
        for text, number in zip(texts, ids, strict=True):
            yield from _inserted(vocabulary, table, special, str(text), [number])
    for name, wanted in (("single", {"A"}), ("pair", {"A", "B"})):
        rows = step.get(name)
        if not isinstance(rows, list):
            yield Problem(vocabulary.form, f"the post-processor has no template for {name}")
            continue
        names = [r["Sequence"].get("id") for r in rows if _is_row(r, "Sequence")]
        if sorted(map(str, names)) != sorted(wanted):
            yield Problem(
                vocabulary.form,
                f"the post-processor's {name} template drops or repeats text: {shown(repr(names))}",
            )
        for row in rows:
            if _is_row(row, "SpecialToken") and row["SpecialToken"].get("id") not in tokens:
                yield Problem(
                    vocabulary.form,
                    f"the post-processor inserts an undeclared token: {shown(repr(row))}",
                )


def _is_row(row: object, kind: str) -> bool:
    return isinstance(row, dict) and isinstance(row.get(kind), dict)


def _inserted(
    vocabulary: Vocabulary,
    table: Mapping[str, int],
    special: set[str],
    text: str,
    ids: list[object],
) -> Iterator[Problem]:
    for number in ids:
        if table.get(text) != number:
            yield Problem(
                vocabulary.form,
                f"the post-processor inserts {tok(text)} as id {number!r}, which is {table.get(text)}",
            )
        elif text not in special and not looks_special(text):
            yield Problem(
                vocabulary.form,
                f"the post-processor inserts the ordinary token {tok(text, table.get(text))}",
            )

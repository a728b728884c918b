"""How large a model's vocabulary is as the tree of bytes that grammars walk (jobs.worker_vocabulary).

Read from tokenizer.json, of which nothing but sizes is taken. Where it cannot be read, or the library
would convert another form, a large tree is assumed: a number too high costs room, one too low the worker.
"""

from pathlib import Path
from typing import Final

from pratique.errors import FormatError
from pratique.formats import json_strict
from pratique.formats.tokenizer import parse_tokenizer_json
from pratique.formats.tokenizer.view import Vocabulary

ASSUMED: Final = 6
"""Nodes for each token of a vocabulary that was not read; those of models have two or three."""
_SPACE: Final = "\N{LOWER ONE EIGHTH BLOCK}"
_HELD: Final = frozenset(("ByteLevel", "Metaspace", "Replace"))


def tree_nodes(model_dir: Path, rows: int) -> int:
    """Return the nodes of the tree; 0 where the decoder says that no grammar can hold the tokens."""
    try:
        data = (model_dir / "tokenizer.json").read_bytes()
        found = parse_tokenizer_json(json_strict.parse(data, json_strict.VOCABULARY))
    except (OSError, FormatError):
        return ASSUMED * rows
    if not _kinds(found) & _HELD:
        return 0
    texts = [piece.text for piece in found.pieces] + [token.content for token in found.added]
    if "ByteLevel" not in _kinds(found):
        texts = [_as_bytes(text.replace(_SPACE, " ")) for text in texts]
    return _nodes(texts)  # in byte-level ones a letter is a byte


def _kinds(found: Vocabulary) -> set[str]:
    decoder = found.pipeline.decoder
    if not isinstance(decoder, dict):
        return set()
    steps = decoder.get("decoders", [decoder])
    return {str(s.get("type")) for s in steps if isinstance(s, dict)} if steps else set()


def _as_bytes(text: str) -> str:
    """Return a text of which each letter is a byte of it in UTF-8."""
    return text.encode("utf-8", "replace").decode("latin-1")


def _nodes(texts: list[str]) -> int:
    """Count distinct beginnings: each text adds what it does not share with the one sorted before it."""
    count, before = 0, ""
    for text in sorted(set(texts)):
        same = 0
        for one, other in zip(before, text, strict=False):
            if one != other:
                break
            same += 1
        count += len(text) - same
        before = text
    return count

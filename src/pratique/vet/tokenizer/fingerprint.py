"""A digest over what a tokenizer means: vocabulary, merges, added tokens, pipeline and template.

Two forms that mean the same give the same vocabulary part. Stored in the bundle, shown to reviewers,
and compared again by the runtime after loading.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence

from pratique.core.ids import Digest
from pratique.formats.tokenizer import Vocabulary


def map_digest(table: Mapping[str, int]) -> Digest:
    """SHA-256 over `[id, token]` pairs by id: what any loaded tokenizer can be compared with."""
    rows = sorted((number, text) for text, number in table.items())
    digest = hashlib.sha256()
    for row in rows:
        digest.update(_line(list(row)))
    return Digest(digest.hexdigest())


def fingerprint(vocabulary: Vocabulary, templates: Sequence[str] = ()) -> Digest:
    """SHA-256 over the canonical vocabulary, merges, added tokens with flags, pipeline, templates."""
    digest = hashlib.sha256(b"pratique tokenizer fingerprint v1\n")
    digest.update(_line(["map", map_digest(vocabulary.ids())]))
    digest.update(_line(["kind", vocabulary.kind.value, vocabulary.unk]))
    for pair in vocabulary.merges:
        digest.update(_line(list(pair)))
    for piece in vocabulary.pieces:
        if piece.score is not None or piece.role != "normal":
            digest.update(_line([piece.id, repr(piece.score), piece.role]))
    for token in sorted(vocabulary.added, key=lambda a: (a.id or 0, a.content)):
        flags = [token.special, token.lstrip, token.rstrip, token.single_word, token.normalized]
        digest.update(_line([token.id, token.content, flags]))
    pipeline = vocabulary.pipeline
    parts = [pipeline.normalizer, pipeline.pre_tokenizer, pipeline.post_processor, pipeline.decoder]
    digest.update(_line(["pipeline", *parts]))
    if pipeline.charsmap is not None:
        digest.update(_line(["charsmap", hashlib.sha256(pipeline.charsmap).hexdigest()]))
    for template in templates:
        digest.update(_line(["template", template]))
    return Digest(digest.hexdigest())


def _line(value: object) -> bytes:
    return (
        json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    )

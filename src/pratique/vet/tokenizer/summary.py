"""`evidence/tokenizer.json`: what a person wants to know of a tokenizer, as plain values."""

from collections.abc import Mapping, Sequence
from typing import Final

from pratique.core.ids import Digest, shown
from pratique.vet.tokenizer.fingerprint import fingerprint, map_digest
from pratique.vet.tokenizer.gather import Forms

SCHEMA: Final = "pratique.tokenizer/v1"
_MAX_SPECIALS: Final = 64


def summarise(
    forms: Sequence[Forms], templates: Mapping[str, Sequence[tuple[str, Digest, str]]]
) -> dict[str, object]:
    """Describe every tokenizer: family, size, special tokens, forms compared, template digests.

    `templates` maps a folder to (name, digest, text) of its chat templates.
    """
    return {
        "schema": SCHEMA,
        "tokenizers": [
            _one(one, templates.get(one.folder, ())) for one in forms if one.base is not None
        ],
    }


def _one(forms: Forms, templates: Sequence[tuple[str, Digest, str]]) -> dict[str, object]:
    base = forms.base
    assert base is not None  # summarise() looked
    table = forms.table()
    added = sorted((a.id, a.content) for a in base.added if a.id is not None and a.special)
    roles = {
        role: {"token": shown(token.content), "id": table.get(token.content)}
        for special in reversed(forms.settings)
        for role, token in special.roles.items()
    }
    return {
        "folder": forms.folder,
        "family": base.kind.value,
        "byte_level": base.byte_level,
        "byte_fallback": base.byte_fallback,
        "tokens": len(table),
        "highest_id": max(table.values(), default=-1),
        "merges": len(base.merges),
        "roles": roles,
        "special_tokens": [{"id": i, "token": shown(t)} for i, t in added[:_MAX_SPECIALS]],
        "special_tokens_total": len(added),
        "forms": [v.form for v in forms.vocabularies],
        "compared": [v.form for v in forms.comparable],
        "chat_templates": [{"name": name, "sha256": digest} for name, digest, _ in templates],
        "map_sha256": map_digest(table),
        "fingerprint": fingerprint(base, [text for _, _, text in templates]),
    }

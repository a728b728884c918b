"""Writes `tokenizer.json` of the evidence: the summary of every tokenizer in the repository."""

import hashlib
import json
from collections.abc import Iterator

from pratique.core.ids import Digest
from pratique.vet.checks.tokenizer_template import templates_of
from pratique.vet.repo import Repo
from pratique.vet.tokenizer.gather import tokenizers_in
from pratique.vet.tokenizer.summary import summarise


def tokenizer_evidence(repo: Repo) -> Iterator[tuple[str, str]]:
    """Yield (file name, text), or nothing for a repository without a tokenizer."""
    forms = [one for one in tokenizers_in(repo) if one.base is not None]
    if not forms:
        return
    templates = {
        one.folder: [
            (name, Digest(hashlib.sha256(text.encode()).hexdigest()), text)
            for name, text in templates_of(repo, one)
        ]
        for one in forms
    }
    yield "tokenizer.json", json.dumps(summarise(forms, templates), indent=1, sort_keys=True) + "\n"

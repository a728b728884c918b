"""Normalizers, pre-tokenizers, decoders and post-processors that rewrite text."""

from collections.abc import Iterator

from pratique.core.findings import Finding
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.vet.check import Check
from pratique.vet.repo import Repo
from pratique.vet.tokenizer.gather import tokenizers_in
from pratique.vet.tokenizer.problem import findings
from pratique.vet.tokenizer.rewriters import problems_of_pipeline

ID = "tokenizer-pipeline"


def run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    """Yield steps that replace, drop or insert text beyond what their class does."""
    del policy
    for forms in tokenizers_in(repo):
        for vocabulary in forms.vocabularies:
            yield from findings(ID, problems_of_pipeline(vocabulary))


CHECK = Check(ID, "The pipeline around the vocabulary does not rewrite text", Stage.TOKENIZER, run)

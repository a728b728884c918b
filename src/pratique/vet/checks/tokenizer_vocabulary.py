"""Within each form: ids unique, merges possible, special tokens single, every byte covered."""

from collections.abc import Iterator

from pratique.core.findings import Finding
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.vet.check import Check
from pratique.vet.repo import Repo
from pratique.vet.roles import Role
from pratique.vet.tokenizer.gather import tokenizers_in
from pratique.vet.tokenizer.gguf import problems_of_gguf
from pratique.vet.tokenizer.problem import findings
from pratique.vet.tokenizer.within import problems_within

ID = "tokenizer-vocabulary"


def run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    """Yield what contradicts itself within one form of a tokenizer."""
    del policy
    for forms in tokenizers_in(repo):
        yield from findings(ID, forms.problems)
        for vocabulary in forms.vocabularies:
            yield from findings(ID, problems_within(vocabulary))
    for entry in repo.with_role(Role.GGUF):
        try:
            header = repo.gguf(entry.path)
        except FormatError:
            continue  # the check of GGUF headers says why
        yield from findings(ID, problems_of_gguf(entry.path, header))


CHECK = Check(ID, "Vocabulary, merges and special tokens fit together", Stage.TOKENIZER, run)

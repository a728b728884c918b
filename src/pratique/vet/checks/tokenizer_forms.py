"""Between forms: every file that spells the tokenizer out must give the same token ↔ id map."""

from collections.abc import Iterator

from pratique.core.findings import Finding
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.vet.check import Check
from pratique.vet.repo import Repo
from pratique.vet.tokenizer.agreement import (
    problems_between,
    problems_in_tables,
    problems_of_roles,
)
from pratique.vet.tokenizer.gather import tokenizers_in
from pratique.vet.tokenizer.problem import findings

ID = "tokenizer-forms"


def run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    """Yield each token on which two files of one tokenizer disagree."""
    del policy
    for forms in tokenizers_in(repo):
        if (base := forms.base) is None:
            continue
        for other in forms.comparable:
            yield from findings(ID, problems_between(base, other))
        table = base.ids()
        for form, tokens in forms.added:
            yield from findings(ID, problems_in_tables(table, tokens, form, base.form))
        for special in forms.settings:
            yield from findings(
                ID, problems_in_tables(table, special.decoder, special.form, base.form)
            )
        yield from findings(ID, problems_of_roles(forms.table(), forms.settings, base))


CHECK = Check(ID, "All forms of the tokenizer agree", Stage.TOKENIZER, run)

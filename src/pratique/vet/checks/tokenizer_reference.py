"""Against a reference (`vet --reference`): which ids moved, were renamed or added."""

from collections.abc import Iterator

from pratique.core.candidate import Candidate
from pratique.core.findings import Finding
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.vet.check import Check
from pratique.vet.checks.tokenizer_template import templates_of
from pratique.vet.repo import Repo
from pratique.vet.tokenizer.gather import tokenizers_in
from pratique.vet.tokenizer.problem import Problem, findings
from pratique.vet.tokenizer.reference import (
    problems_against,
    problems_of_behaviour,
    problems_of_templates,
)

ID = "tokenizer-reference"


def run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    """Compare with the reference's tokenizers, folder by folder. Silent without a reference."""
    del policy
    if repo.candidate.reference is None:
        return
    base = Repo(Candidate("reference", repo.candidate.reference), Stage.CONTENT)
    ours = {forms.folder: forms for forms in tokenizers_in(repo)}
    for theirs in tokenizers_in(base):
        if theirs.base is None:
            continue
        forms = ours.get(theirs.folder)
        if forms is None or forms.base is None:
            problem = Problem(
                theirs.folder, "the reference has a tokenizer here, this one has none"
            )
            yield from findings(ID, [problem])
            continue
        form = forms.base.form
        yield from findings(ID, problems_against(form, forms.table(), theirs.table()))
        if forms.base.kind is theirs.base.kind:
            yield from findings(ID, problems_of_behaviour(forms.base, theirs.base))
        yield from findings(
            ID,
            problems_of_templates(
                form,
                [text for _, text in templates_of(repo, forms)],
                [text for _, text in templates_of(base, theirs)],
            ),
        )


CHECK = Check(ID, "The tokenizer is the reference's, or adds to it", Stage.TOKENIZER, run)

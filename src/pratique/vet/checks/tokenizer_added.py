"""Added tokens that hide or imitate: bidi and tag characters, invisible ones, look-alikes."""

from collections.abc import Iterator

from pratique.core.findings import Finding
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.vet.check import Check
from pratique.vet.repo import Repo
from pratique.vet.tokenizer.gather import tokenizers_in
from pratique.vet.tokenizer.hazards import problems_in_added
from pratique.vet.tokenizer.problem import findings

ID = "tokenizer-added-tokens"


def run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    """Yield added tokens whose text is not what it looks like."""
    del policy
    for forms in tokenizers_in(repo):
        seen: set[str] = set()
        groups = [(v.form, v.added) for v in forms.vocabularies]
        groups += list(forms.added)
        groups += [(s.form, (*s.decoder, *s.additional)) for s in forms.settings]
        for form, tokens in groups:
            # The same token in several files is one finding, not four.
            fresh = [t for t in tokens if t.content not in seen]
            yield from findings(ID, problems_in_added(form, fresh))
            seen.update(t.content for t in fresh)


CHECK = Check(ID, "Added tokens are what they look like", Stage.TOKENIZER, run)

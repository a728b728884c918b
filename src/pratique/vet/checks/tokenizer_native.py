"""The native libraries give the same ids from each form, on a corpus of many scripts."""

from collections.abc import Iterator

from pratique.core.findings import Finding
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.formats.tokenizer import ModelKind, Vocabulary
from pratique.vet.check import Check
from pratique.vet.repo import Repo
from pratique.vet.tokenizer.gather import tokenizers_in
from pratique.vet.tokenizer.native import MAX_GROWTH, growth, problems_of_natives
from pratique.vet.tokenizer.problem import Problem, findings
from pratique.vet.tokenizer.within import problems_within

ID = "tokenizer-native"


def run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    """Load what passed the strict parse with the libraries that will load it, and compare."""
    del policy
    root = str(repo.candidate.root)
    for forms in tokenizers_in(repo):
        fast = next((v for v in forms.vocabularies if v.form.endswith("tokenizer.json")), None)
        if fast is None or any(p.form == fast.form for p in problems_within(fast) if p.refuses):
            continue  # what contradicts itself is refused already, and libraries may choke on it
        steps = fast.pipeline
        times = max(growth(steps.normalizer), growth(steps.pre_tokenizer), growth(steps.decoder))
        if times > MAX_GROWTH:
            message = f"its steps can make a text {times} times longer; at most {MAX_GROWTH} is run"
            yield from findings(ID, [Problem(fast.form, message)])
            continue
        slow = next((v for v in forms.comparable if _is_sentencepiece(v)), None)
        path = None if slow is None else slow.form
        yield from findings(ID, problems_of_natives(fast.form, path, root, fast.form))


def _is_sentencepiece(vocabulary: Vocabulary) -> bool:
    kinds = {ModelKind.BPE, ModelKind.UNIGRAM}
    return "unk_id" in vocabulary.settings and vocabulary.kind in kinds


CHECK = Check(ID, "Native libraries agree on every form", Stage.CONTENT, run)

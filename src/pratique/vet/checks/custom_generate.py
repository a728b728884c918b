"""Generation code: `custom_generate/` of this repository by allowance; of another, never."""

from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding, Severity
from pratique.core.ids import shown
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.vet.check import Check, refuse
from pratique.vet.checks.remote_code import review
from pratique.vet.fields import configs, walk
from pratique.vet.repo import Repo

_KEYS: Final = frozenset(
    {"custom_generate", "custom_generate_repo", "assistant_model", "draft_model"}
)
_REMEDY: Final = "remove the reference; generation strategies of the library need none"


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    reached = {
        entry.path: "generate(), which runs custom_generate/"
        for entry in repo.files
        if "custom_generate" in entry.path.split("/")[:-1] and entry.name.endswith(".py")
    }
    for entry, config in configs(repo):
        for place, key, value, _ in walk(config):
            if key in _KEYS and isinstance(value, str) and value.strip("./") != "custom_generate":
                yield refuse(
                    CHECK.id,
                    entry.path,
                    f"{place} takes generation code or a model from {shown(value)}",
                    _REMEDY,
                    Severity.CRITICAL,
                )
    yield from review(CHECK.id, repo, reached)


CHECK: Final = Check(
    "custom-generate", "Generation code by allowance only", Stage.CODE_AND_CONFIG, _run
)

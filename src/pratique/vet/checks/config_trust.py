"""Consent is the operator's: no configuration may say that its own code is to be trusted."""

from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding, Severity
from pratique.core.ids import shown
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.vet.check import Check, refuse
from pratique.vet.fields import configs, walk
from pratique.vet.repo import Repo

_KEYS: Final = frozenset(
    {"trust_remote_code", "allow_pickle", "allow_dangerous_deserialization", "unsafe_load", "trust_repo"}
)  # fmt: skip


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    for entry, config in configs(repo):
        for place, key, value, _ in walk(config):
            said = key in _KEYS and value not in (False, None, "false", "False")
            unsaid = key == "weights_only" and value is False
            if key == "_target_" and isinstance(value, str):
                yield refuse(
                    CHECK.id,
                    entry.path,
                    f"{place} names something to call: {shown(value)}",
                    "remove it; no loader of this repository needs it",
                    Severity.HIGH,
                )
            elif said or unsaid:
                yield refuse(
                    CHECK.id,
                    entry.path,
                    f"{place} tells the loader to trust what it loads",
                    "remove it; whether code is trusted is the policy's to say",
                    Severity.HIGH,
                )


CHECK: Final = Check("config-trust", "No consent from inside", Stage.CODE_AND_CONFIG, _run)

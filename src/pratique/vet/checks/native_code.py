"""Machine code is refused wherever it is: nothing here can be reviewed, and loaders can run it."""

from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding, Severity
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.formats import magic
from pratique.vet.check import Check, refuse
from pratique.vet.repo import Repo
from pratique.vet.roles import Role

_REMEDY: Final = (
    "remove it; ship source that can be reviewed, or install it as a package of its own"
)


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    for entry in repo.files:
        what = (
            magic.native(repo.head(entry.path, 4096))
            if entry.role is not Role.SAVED_MODEL
            else None
        )
        if what is None and entry.role is Role.NATIVE:
            what = "machine code, by its name"
        if what is not None:
            yield refuse(CHECK.id, entry.path, f"is {what}", _REMEDY, Severity.CRITICAL)


CHECK: Final = Check("native-code", "No machine code", Stage.LISTING, _run)

"""Names that some file system or reader takes for another name are refused (Unicode TR 36)."""

from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding
from pratique.core.ids import fold_path, path_problem, shown
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.vet.check import Check, refuse
from pratique.vet.repo import Repo

_REMEDY: Final = "rename the file upstream; names must mean the same on every system"


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    seen: dict[str, str] = {}
    for entry in repo.entries:
        if (problem := path_problem(entry.path)) is not None:
            yield refuse(CHECK.id, entry.path, f"the name {problem}", _REMEDY)
        key = fold_path(entry.path)
        if key in seen:
            yield refuse(
                CHECK.id,
                entry.path,
                f"the name differs from {shown(seen[key])} only by case or Unicode form",
                "remove one of the two upstream; on some systems one would hide the other",
            )
        seen[key] = entry.path


CHECK: Final = Check("file-names", "Portable, unambiguous names", Stage.LISTING, _run)

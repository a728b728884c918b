"""Only regular files and folders: links, submodules, devices, pipes and sockets are refused."""

from collections.abc import Iterator
from typing import Final

from pratique.core.candidate import EntryKind
from pratique.core.findings import Finding, Severity
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.vet.check import Check, refuse
from pratique.vet.repo import Repo

_WHAT: Final = {
    EntryKind.LINK: ("is a symbolic link", "put a copy of the file in its place"),
    EntryKind.SUBMODULE: ("is a git submodule: content of another repository", "vet that one on its own"),
    EntryKind.SPECIAL: ("is a pipe, socket or device, not a file", "remove it"),
}  # fmt: skip


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    for entry in repo.entries:
        if entry.kind in _WHAT:
            message, remedy = _WHAT[entry.kind]
            yield refuse(CHECK.id, entry.path, message, remedy)
    for path, problem in repo.problems:
        yield refuse(CHECK.id, path, problem, "give a complete, readable copy of the repository")
    if not any(True for _ in repo.files):
        yield refuse(
            CHECK.id, "", "holds no file at all", "give a model directory", Severity.MEDIUM
        )
    if repo.stage >= Stage.CONTENT:
        for entry in repo.files:
            if not repo.here(entry.path):
                yield refuse(
                    CHECK.id, entry.path, "is listed but not here", "fetch the repository again"
                )


CHECK: Final = Check("file-kinds", "Regular files only", Stage.LISTING, _run)

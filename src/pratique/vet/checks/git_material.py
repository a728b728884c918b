"""Git's own machinery does not travel: `.git`, `.gitmodules`, hooks, filters other than LFS."""

import re
from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.vet.check import Check, note, refuse
from pratique.vet.repo import Repo
from pratique.vet.roles import Role

# Forms of ".git" that some file systems fold to it (CVE-2014-9390, CVE-2019-1352).
_GIT_FOLDER: Final = re.compile(
    r"(?i)(?:\.git|git~\d+|\.git(?:[ .:].*)?|\.git::\$index_allocation)\Z"
)
_MACHINERY: Final = re.compile(
    r"(?i)\.(?:gitmodules|gitconfig|git-credentials|lfsconfig|hg|svn|bzr)\Z"
)
_FILTER: Final = re.compile(r"(?:^|\s)(?:filter|diff|merge)=(\S+)")
_KNOWN_DRIVERS: Final = frozenset(
    {"lfs", "union", "binary", "text", "xet", "jupyternotebook", "ipynb"}
)
_IGNORABLE: Final = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    reported: set[str] = set()
    for entry in repo.entries:
        parts = entry.path.split("/")
        for depth, part in enumerate(parts):
            bare = _IGNORABLE.sub("", part)
            if _GIT_FOLDER.match(bare) or _MACHINERY.match(bare):
                top = "/".join(parts[: depth + 1])
                if top not in reported:
                    reported.add(top)
                    yield refuse(
                        CHECK.id,
                        top,
                        "is git's own material, which can carry hooks, filters and other content",
                        "copy the files without it (`hf download`, or `git archive`)",
                    )
                break
    for folder in _bare(repo):
        yield refuse(
            CHECK.id,
            folder,
            "is a bare git repository: git run inside it obeys its config",
            "copy the files without it (`hf download`, or `git archive`)",
        )
    for entry in repo.with_role(Role.GIT):
        if repo.here(entry.path):
            yield from _attributes(repo, entry.path)


def _bare(repo: Repo) -> Iterator[str]:
    """Folders that git takes for a repository although none is called .git (CVE-2022-24765's kin)."""
    paths = {entry.path for entry in repo.entries}
    for path in sorted(paths):
        folder, _, name = path.rpartition("/")
        prefix = f"{folder}/" if folder else ""
        if name == "HEAD" and {f"{prefix}objects", f"{prefix}refs"} <= paths:
            yield folder or "HEAD"


def _attributes(repo: Repo, path: str) -> Iterator[Finding]:
    try:
        text = repo.text(path, 2**20)
    except FormatError as error:
        yield refuse(CHECK.id, path, str(error), "make it plain text")
        return
    drivers = set(_FILTER.findall(text)) - _KNOWN_DRIVERS if path.endswith("attributes") else set()
    if drivers:
        yield refuse(
            CHECK.id,
            path,
            f"names the git driver {min(drivers)!r}, a command that git would run",
            "keep `filter=lfs diff=lfs merge=lfs -text` only",
        )
    else:
        yield note(CHECK.id, path, "is for git; nothing loads it")


CHECK: Final = Check("git-material", "No git machinery", Stage.LISTING, _run)

"""Code that is run needs somebody to answer for every byte, wherever it comes from.

`auto_map` (in any configuration, at any depth) makes transformers import a Python file. Whether code
of another repository may be taken at all, and at which commit, is `foreign-code`'s to say; what of it
is reached is read here like the repository's own.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from pratique.core.findings import Finding, Severity
from pratique.core.foreign import shown_path
from pratique.core.ids import RepoId, path_problem, shown
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.formats.auto_map import KEY, is_foreign
from pratique.formats.auto_map import references as leaves
from pratique.formats.json_strict import Json
from pratique.vet.check import Check, approve, refuse
from pratique.vet.checks import foreign_code
from pratique.vet.code import read_code
from pratique.vet.fields import beside, configs, is_class_name, walk
from pratique.vet.repo import Entry, Repo

_REMEDY: Final = (
    "use a model whose architecture is in the library, or vendor the code into the repository"
)
_ALLOW: Final = (
    "review the file and allow it by digest, or use a model that needs no code of its own"
)


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    reached: dict[str, str] = {}
    for entry, config in configs(repo):
        for place, key, value, _ in walk(config):
            if key == KEY:
                yield from _references(repo, entry, place, value, reached)
    elsewhere: dict[str, dict[str, str]] = {}
    for found in foreign_code.named(repo):
        yield from _elsewhere(repo, found, reached, elsewhere)
    yield from review(CHECK.id, repo, reached)
    for name, files in elsewhere.items():
        for finding in review(CHECK.id, repo.foreign[name], files):
            yield replace(finding, path=shown_path(RepoId(name), finding.path))


def _references(
    repo: Repo, entry: Entry, place: str, value: Json, reached: dict[str, str]
) -> Iterator[Finding]:
    """Check class references; add each local code file to `reached` with what reaches it."""
    for reference in leaves({KEY: value}):
        if not isinstance(reference, str):
            yield refuse(CHECK.id, entry.path, f"{place} holds something that is no class", _REMEDY)
        elif not is_foreign(reference):
            yield from local_reference(
                CHECK.id, repo, entry, f"{entry.path}: {place}", reference, reached=reached
            )


def _elsewhere(
    repo: Repo,
    found: foreign_code.Named,
    reached: dict[str, str],
    elsewhere: dict[str, dict[str, str]],
) -> Iterator[Finding]:
    """Note the file that a reference to another repository reaches. `foreign-code` refuses the rest."""
    target, place = found.target, f"{found.entry.path}: {found.place}"
    if target is None:
        return
    if foreign_code.is_own(repo, target):
        if repo.has(target.file):
            reached.setdefault(target.file, place)
        else:
            yield refuse(
                CHECK.id,
                found.entry.path,
                f"{found.place} names {shown(found.text)}, whose file is not here",
                _REMEDY,
            )
    elif target.repo in repo.foreign and repo.foreign[target.repo].has(target.file):
        elsewhere.setdefault(target.repo, {}).setdefault(target.file, place)


def local_reference(
    check: str, repo: Repo, entry: Entry, place: str, reference: str, *, reached: dict[str, str]
) -> Iterator[Finding]:
    """Check one `module.Class` of this repository."""
    module, _, name = reference.rpartition(".")
    path = beside(entry, module.replace(".", "/") + ".py")
    direct = beside(entry, module + ".py")
    if not module or not is_class_name(name) or path_problem(direct) is not None:
        yield refuse(
            check, entry.path, f"{place} holds {shown(reference)}, which is no class", _REMEDY
        )
        return
    file = direct if repo.has(direct) else path
    if repo.has(file):
        reached.setdefault(file, place)
    else:
        yield refuse(
            check, entry.path, f"{place} names {shown(reference)}, whose file is not here", _REMEDY
        )


def review(check: str, repo: Repo, reached: dict[str, str]) -> Iterator[Finding]:
    """One finding per code file that is reached, with what a reviewer needs to know of it."""
    pending = list(reached)
    while pending:
        path = pending.pop(0)
        if not repo.here(path):
            yield approve(
                check,
                path,
                f"is code, reached by {reached[path]}",
                _ALLOW,
                digest=repo.digest_for(path),
            )
            continue
        try:
            facts = read_code(repo, path)
        except FormatError as error:
            yield refuse(check, path, f"is code (reached by {reached[path]}) and {error}", _REMEDY)
            continue
        for other in facts.local:
            if repo.has(other) and other not in reached:
                reached[other] = path
                pending.append(other)
        yield approve(
            check,
            path,
            f"is code, reached by {reached[path]}; imports {_some(facts.imports)}; "
            f"calls {_some(facts.calls)}",
            _ALLOW,
            digest=repo.digest_for(path),
            severity=Severity.HIGH,
        )


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "") if names else "nothing"


CHECK: Final = Check(
    "remote-code", "Repository code by allowance only", Stage.CODE_AND_CONFIG, _run
)

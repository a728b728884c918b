"""Code that a repository brings needs somebody to answer for every byte; code from elsewhere never passes.

`auto_map` (in any configuration, at any depth) makes transformers import a Python file. A reference
with `--` makes it take that file from another repository, at whatever is there on the day.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from pratique.core.findings import Finding, Severity
from pratique.core.ids import path_problem, shown
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.formats.json_strict import Json
from pratique.vet.check import Check, approve, refuse
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
            if key == "auto_map":
                yield from references(repo, entry, place, value, reached)
    yield from review(CHECK.id, repo, reached)


def references(
    repo: Repo, entry: Entry, place: str, value: Json, reached: dict[str, str]
) -> Iterator[Finding]:
    """Check class references; add each local code file to `reached` with what reaches it."""
    for reference in _leaves(value):
        if reference is None:
            continue
        if not isinstance(reference, str):
            yield refuse(CHECK.id, entry.path, f"{place} holds something that is no class", _REMEDY)
        elif "--" in reference:
            yield refuse(
                CHECK.id,
                entry.path,
                f"{place} takes code from another repository: {shown(reference)}",
                _REMEDY,
                Severity.CRITICAL,
            )
        else:
            yield from local_reference(
                CHECK.id, repo, entry, f"{entry.path}: {place}", reference, reached=reached
            )


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
        for other in _beside(path, facts.local):
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


def _beside(path: str, local: Iterable[tuple[int, str]]) -> Iterator[str]:
    """Files that relative imports of the file at `path` may load."""
    for up, module in local:
        folder = path
        for _ in range(up + 1):
            folder = folder.rpartition("/")[0]
        stem = "/".join(filter(None, (folder, module.replace(".", "/"))))
        yield from (f"{stem}.py", f"{stem}/__init__.py" if stem else "__init__.py")


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "") if names else "nothing"


def _leaves(value: Json) -> Iterator[Json]:
    if isinstance(value, dict):
        for child in value.values():
            yield from _leaves(child)
    elif isinstance(value, list):
        for child in value:
            yield from _leaves(child)
    else:
        yield value


CHECK: Final = Check(
    "remote-code", "Repository code by allowance only", Stage.CODE_AND_CONFIG, _run
)

"""Code of another repository: at a commit that a person named and fetch brought along, or not at all.

transformers takes such code from the other repository's main branch, whatever revision of this one was
pinned. A reference to this very repository by its own name is no reference to another: it means the
files that are here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pratique.core.findings import Finding, Severity
from pratique.core.foreign import FOREIGN_CODE, MAX_FOREIGN, Pin, shown_path
from pratique.core.ids import shown
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.formats.auto_map import KEY, ForeignClass, is_foreign, parse_foreign, references
from pratique.vet.check import Check, approve, refuse
from pratique.vet.fields import configs, walk
from pratique.vet.repo import Entry, Repo

_REMEDY: Final = (
    "use a model whose architecture is in the library, or vendor the code into the repository"
)
_PIN: Final = (
    f"read that repository at one commit, add an [[allow]] of check {FOREIGN_CODE} with foreign = "
    '"ORG/NAME@COMMIT", and fetch again; or vendor the code into this repository'
)
_ALLOW: Final = (
    "read the code at that commit and allow the pin; each of its files needs an allowance as well"
)


@dataclass(frozen=True, slots=True)
class Named:
    """A reference to code elsewhere, where it stands; `target` is what it names, or `problem` why not."""

    entry: Entry
    place: str
    text: str
    target: ForeignClass | None = None
    problem: str = ""


def named(repo: Repo) -> Iterator[Named]:
    """Every reference with `--` in any configuration, well-formed or not."""
    for entry, config in configs(repo):
        for place, key, value, _ in walk(config):
            if key != KEY:
                continue
            for text in references({KEY: value}):
                if isinstance(text, str) and is_foreign(text):
                    yield _named(entry, place, text)


def _named(entry: Entry, place: str, text: str) -> Named:
    try:
        return Named(entry, place, text, parse_foreign(text))
    except FormatError as error:
        return Named(entry, place, text, problem=error.message)


def is_own(repo: Repo, target: ForeignClass) -> bool:
    """Whether the reference names the repository that it stands in."""
    return target.repo == repo.candidate.repo


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    wanted: dict[str, Named] = {}
    for found in named(repo):
        if found.target is None:
            yield _refused(found, f"takes code from elsewhere: {found.problem}")
        elif is_own(repo, found.target):
            continue
        elif found.target.repo not in repo.foreign:
            yield _refused(
                found,
                f"takes code from another repository that nothing pins: {shown(found.text)}",
                _PIN,
            )
        elif not repo.foreign[found.target.repo].has(found.target.file):
            yield _refused(found, f"names {shown(found.text)}, whose file is not carried")
        else:
            wanted.setdefault(found.target.repo, found)
    yield from _pins(repo, wanted)


def _refused(found: Named, message: str, remedy: str = _REMEDY) -> Finding:
    return refuse(
        FOREIGN_CODE,
        found.entry.path,
        f"{found.place} {message}",
        remedy,
        Severity.CRITICAL,
    )


def _pins(repo: Repo, wanted: dict[str, Named]) -> Iterator[Finding]:
    roots = repo.candidate.foreign
    if len(roots) > MAX_FOREIGN:
        yield refuse(
            FOREIGN_CODE, "", f"takes code from more than {MAX_FOREIGN} repositories", _REMEDY
        )
    if len(repo.foreign) != len(roots):
        yield refuse(FOREIGN_CODE, "", "brings one repository at two commits", _REMEDY)
        return
    for root in roots:
        yield from _one(repo.foreign[root.pin.repo], root.pin, wanted.get(root.pin.repo))


def _one(code: Repo, pin: Pin, found: Named | None) -> Iterator[Finding]:
    for entry in code.files:
        if not entry.path.endswith(".py"):
            yield refuse(
                FOREIGN_CODE,
                shown_path(pin.repo, entry.path),
                "is carried from another repository and is no Python code",
                "fetch again: only code that is reached is carried",
            )
    if found is None:
        yield refuse(
            FOREIGN_CODE,
            pin.text,
            "is carried along, and no configuration takes code from it",
            "fetch again: only code that is reached is carried",
        )
        return
    yield approve(
        FOREIGN_CODE,
        pin.text,
        f"is another repository, whose code {found.entry.path}: {found.place} takes at this commit",
        _ALLOW,
        digest=pin.digest,
        severity=Severity.HIGH,
    )


CHECK: Final = Check(
    FOREIGN_CODE, "Code of other repositories by pin only", Stage.CODE_AND_CONFIG, _run
)

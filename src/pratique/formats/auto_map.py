"""What `auto_map` says: references to classes, of this repository or (`other/repo--…`) of another.

transformers splits at `--` and at one dot, and takes whatever comes of it. Here only the one spelling
that it documents is understood: `ORG/NAME--module.Class`, the module a file at that repository's top.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pratique.core.ids import RepoId, parse_repo_id, path_problem, shown
from pratique.errors import FormatError
from pratique.formats.json_strict import Json

KEY: Final = "auto_map"
_MARK: Final = "--"
_CLASS: Final = re.compile(r"([A-Za-z_]\w*(?:-\w+)*)\.([A-Za-z_]\w*)\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class ForeignClass:
    """`file` at the top of `repo`, and the class in it."""

    repo: RepoId
    file: str
    name: str


def is_foreign(reference: str) -> bool:
    """Whether a loader would look for this class in the repository that it names."""
    return _MARK in reference


def parse_foreign(reference: str) -> ForeignClass:
    """Return what `ORG/NAME--module.Class` names. Raises FormatError for every other spelling."""
    repo, mark, rest = reference.partition(_MARK)
    match = _CLASS.match(rest)
    if not mark or match is None or path_problem(f"{match[1]}.py") is not None:
        raise FormatError(f"{shown(reference)} is not ORG/NAME--module.Class")
    return ForeignClass(parse_repo_id(repo), f"{match[1]}.py", match[2])


def references(value: Json) -> Iterator[Json]:
    """Yield what stands below every `auto_map` of a document, at any depth, but nulls."""
    pending: list[tuple[Json, bool]] = [(value, False)]
    while pending:
        item, inside = pending.pop()
        if isinstance(item, dict):
            pending += [(child, inside or key == KEY) for key, child in item.items()]
        elif isinstance(item, list):
            pending += [(child, inside) for child in item]
        elif inside and item is not None:
            yield item

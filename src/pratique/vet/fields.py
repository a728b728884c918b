"""Walks configuration: every key at every depth, with the dotted place for messages."""

import re
from collections.abc import Iterator
from typing import Final

from pratique.core.ids import shown
from pratique.formats.json_strict import Json, JsonObject
from pratique.vet.repo import Entry, Repo
from pratique.vet.roles import LOADED_JSON, Role

CONFIG_ROLES: Final = tuple(LOADED_JSON - {Role.INDEX})
# Settings of a JavaScript runtime that travel in config.json; no Python loader reads them.
_NOT_PYTHON: Final = frozenset({"transformers.js_config", "transformers_js_config"})
_CLASS: Final = re.compile(r"[A-Za-z_]\w*\Z")


def walk(value: Json, place: str = "") -> Iterator[tuple[str, str, Json, JsonObject]]:
    """Yield (place, key, value, the object that holds it) for every key at every depth."""
    pending: list[tuple[str, Json]] = [(place, value)]
    while pending:
        here, item = pending.pop()
        if isinstance(item, dict):
            for key, child in item.items():
                inner = f"{here}.{key}" if here else key
                yield inner, key, child, item
                if isinstance(child, dict | list) and key not in _NOT_PYTHON:
                    pending.append((inner, child))
        elif isinstance(item, list):
            pending.extend(
                (f"{here}[{i}]", c) for i, c in enumerate(item) if isinstance(c, dict | list)
            )


def configs(repo: Repo, *roles: Role) -> Iterator[tuple[Entry, JsonObject]]:
    """Every well-formed configuration object of these roles (all loaded ones by default)."""
    for entry in repo.with_role(*(roles or CONFIG_ROLES)):
        document = repo.object(entry.path)
        if document is not None:
            yield entry, document


def is_class_name(text: str) -> bool:
    """Whether `text` is one bare identifier: a class of the library itself."""
    return bool(_CLASS.match(text))


def at(place: str, value: Json) -> str:
    """`place = value`, for messages."""
    return f"{shown(place)} is {shown(str(value))}"


def beside(entry: Entry, name: str) -> str:
    """The path of `name` in the folder of `entry`."""
    return f"{entry.folder}/{name}" if entry.folder else name

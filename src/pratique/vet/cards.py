"""The repository's model card, read once."""

from dataclasses import dataclass

from pratique.errors import FormatError
from pratique.formats.card import Yaml, parse_front_matter, split_card
from pratique.vet.repo import Repo
from pratique.vet.roles import Role

_MAX_CARD = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Card:
    """Front matter (text values), keys that were given twice, and the Markdown behind it."""

    path: str
    fields: dict[str, Yaml]
    repeated: tuple[str, ...]
    body: str


def read(repo: Repo, path: str) -> Card:
    """Return the card at `path`. Raises FormatError."""
    return repo.cached("card", path, lambda p: _parse(repo, p))


def main(repo: Repo) -> Card | None:
    """Return the card at the top, if it is here and well formed (the `card` check reports others)."""
    for entry in repo.with_role(Role.CARD):
        if entry.path.lower() == "readme.md" and repo.here(entry.path):
            try:
                return read(repo, entry.path)
            except FormatError:
                return None
    return None


def _parse(repo: Repo, path: str) -> Card:
    front, body = split_card(repo.text(path, _MAX_CARD))
    fields, repeated = parse_front_matter(front) if front is not None else ({}, ())
    return Card(path, fields, repeated, body)

"""A model card is Markdown with plain YAML before it; what cannot be read so is refused."""

from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.vet import cards
from pratique.vet.check import Check, note, refuse
from pratique.vet.repo import Repo
from pratique.vet.roles import Role


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    for entry in repo.with_role(Role.CARD):
        if not repo.here(entry.path):
            continue
        try:
            card = cards.read(repo, entry.path)
        except FormatError as error:
            yield refuse(CHECK.id, entry.path, str(error), "write the front matter as plain YAML")
            continue
        if card.repeated:
            yield note(
                CHECK.id, entry.path, f"has the key {card.repeated[0]!r} twice; the first counts"
            )


CHECK: Final = Check("card", "A readable model card", Stage.CODE_AND_CONFIG, _run)

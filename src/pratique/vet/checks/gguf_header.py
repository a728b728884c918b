"""GGUF files are read strictly: counts, lengths, offsets, types, alignment, nothing behind."""

from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.vet.check import Check, refuse
from pratique.vet.repo import NotHere, Repo
from pratique.vet.roles import Role


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    for entry in repo.with_role(Role.GGUF):
        try:
            repo.gguf(entry.path)
        except NotHere:
            continue
        except FormatError as error:
            yield refuse(
                CHECK.id,
                entry.path,
                f"is no well-formed GGUF file: {error}",
                "convert the model again with a current llama.cpp",
            )


CHECK: Final = Check("gguf-header", "Strict GGUF", Stage.HEADERS, _run)

"""safetensors files are read strictly: header, tiling, sizes, nothing before or behind."""

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
    for entry in repo.with_role(Role.WEIGHTS):
        try:
            repo.safetensors(entry.path)
        except NotHere:
            continue
        except FormatError as error:
            yield refuse(
                CHECK.id,
                entry.path,
                f"is no well-formed safetensors file: {error}",
                "write it again with safetensors' save_file, from weights that you trust",
            )


CHECK: Final = Check("safetensors-header", "Strict safetensors", Stage.HEADERS, _run)

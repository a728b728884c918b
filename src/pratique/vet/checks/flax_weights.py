"""Flax weights: MessagePack that holds arrays and nothing else, to the last byte."""

from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.formats import msgpack
from pratique.vet.check import Check, note, refuse
from pratique.vet.repo import Repo
from pratique.vet.roles import Role


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    for entry in repo.with_role(Role.FLAX):
        if not repo.here(entry.path):
            continue
        try:
            with repo.mapped(entry.path) as data:
                msgpack.check(data)
        except FormatError as error:
            yield refuse(
                CHECK.id,
                entry.path,
                f"is no Flax file: {error}",
                "publish the weights as safetensors",
            )
        else:
            yield note(CHECK.id, entry.path, "holds Flax weights, which no loader here reads")


CHECK: Final = Check("flax", "Flax weights that are only arrays", Stage.CONTENT, _run)

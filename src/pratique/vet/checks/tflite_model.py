"""TensorFlow Lite: built-in operators only; a custom operator is code from elsewhere."""

from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding
from pratique.core.ids import shown
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.formats import tflite
from pratique.vet.check import Check, note, refuse
from pratique.vet.repo import Repo
from pratique.vet.roles import Role

_REMEDY: Final = "convert the model with built-in operators only"


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    for entry in repo.with_role(Role.TFLITE):
        if not repo.here(entry.path):
            continue
        try:
            with repo.mapped(entry.path) as data:
                operators = tflite.operators(data)
        except FormatError as error:
            yield refuse(CHECK.id, entry.path, f"is no TensorFlow Lite model: {error}", _REMEDY)
            continue
        custom = [o.custom for o in operators if o.custom is not None]
        if custom:
            yield refuse(
                CHECK.id,
                entry.path,
                f"needs the custom operator {shown(custom[0])}, whose code comes from elsewhere",
                _REMEDY,
            )
        else:
            yield note(
                CHECK.id,
                entry.path,
                f"is a TensorFlow Lite model with {len(operators)} built-in operators",
            )


CHECK: Final = Check("tflite", "TensorFlow Lite without custom operators", Stage.CONTENT, _run)

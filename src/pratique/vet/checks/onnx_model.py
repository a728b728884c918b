"""ONNX: operators of known sets, and external data in files of this repository beside the model."""

from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding, Severity
from pratique.core.ids import path_problem, shown
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.formats import onnx
from pratique.vet import onnx_data
from pratique.vet.check import Check, note, refuse
from pratique.vet.fields import beside
from pratique.vet.repo import Entry, Repo
from pratique.vet.roles import Role

_DOMAINS: Final = frozenset(
    {"", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training", "com.microsoft",
     "com.microsoft.nchwc", "com.microsoft.experimental", "com.ms.internal.nhwc"}
)  # fmt: skip
# Operators that run Python or load a compiled context from a file.
_CODE: Final = frozenset(
    {
        "PythonOp",
        "PythonOpGrad",
        "PyOp",
        "PyCustomOp",
        "ATen",
        "ATenOp",
        "EPContext",
        "ExternalFunction",
    }
)
_REMEDY: Final = "export the model again with standard operators and its data beside it"


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    used: set[str] = set()
    for entry in repo.with_role(Role.ONNX):
        if not repo.here(entry.path):
            continue
        try:
            facts = onnx_data.facts(repo, entry.path)
        except FormatError as error:
            yield refuse(CHECK.id, entry.path, f"is no well-formed ONNX model: {error}", _REMEDY)
            continue
        yield from _operators(entry, facts)
        for external in sorted(facts.externals, key=lambda e: (e.location, e.offset)):
            problem = _external(repo, entry, external)
            if problem is not None:
                yield refuse(CHECK.id, entry.path, problem, _REMEDY, Severity.HIGH)
                break
            used.add(beside(entry, external.location))
    for entry in repo.with_role(Role.ONNX_DATA):
        if repo.stage >= Stage.CONTENT and entry.path not in used:
            yield refuse(CHECK.id, entry.path, "is data that no ONNX model here names", "remove it")


def _operators(entry: Entry, facts: onnx.OnnxFacts) -> Iterator[Finding]:
    for domain, operator in sorted(facts.operators):
        if operator in _CODE or (domain not in _DOMAINS and domain not in facts.functions):
            yield refuse(
                CHECK.id,
                entry.path,
                f"needs the operator {shown(f'{domain}::{operator}')}, whose code comes from elsewhere",
                _REMEDY,
                Severity.HIGH,
            )
            return
    yield note(
        CHECK.id, entry.path, f"is an ONNX model with {facts.nodes} nodes of known operators"
    )


def _external(repo: Repo, entry: Entry, external: onnx.External) -> str | None:
    location = external.location
    if path_problem(location) is not None:
        return f"reads its data from {shown(location)}"
    path = beside(entry, location)
    if not repo.has(path):
        return f"reads its data from {shown(location)}, which is not here"
    if repo.role(path) not in {Role.ONNX_DATA, Role.TORCH, Role.UNKNOWN, Role.WEIGHTS}:
        return f"reads its data from {shown(location)}, which is something else"
    if external.offset + (external.length or 0) > repo.size(path):
        return f"reads behind the end of {shown(location)}"
    return None


CHECK: Final = Check("onnx", "ONNX without foreign code or files", Stage.CONTENT, _run)

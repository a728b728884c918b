"""Weights of other runtimes: OpenVINO is read, Core ML needs somebody to answer for it."""

from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.formats import openvino
from pratique.vet.check import Check, approve, note, refuse
from pratique.vet.repo import MIB, Entry, Repo
from pratique.vet.roles import Role

_REMEDY: Final = "export the model again, or leave this runtime's files out"


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    for entry in repo.with_role(Role.FOREIGN):
        if not repo.here(entry.path):
            continue
        if entry.name.endswith(".bin") and "openvino" in entry.name.lower():
            yield _openvino(repo, entry)
        else:
            yield approve(
                CHECK.id,
                entry.path,
                "belongs to a Core ML model, which the gate does not read",
                f"allow it by digest, or {_REMEDY}",
                digest=repo.digest_for(entry.path),
            )


def _openvino(repo: Repo, entry: Entry) -> Finding:
    graph = entry.path[:-4] + ".xml"
    if not repo.here(graph):
        return refuse(CHECK.id, entry.path, "holds OpenVINO constants without their graph", _REMEDY)
    try:
        end = openvino.constants_end(repo.read(graph, 256 * MIB))
    except FormatError as error:
        return refuse(CHECK.id, graph, f"is no OpenVINO graph: {error}", _REMEDY)
    if end > entry.size:
        return refuse(CHECK.id, entry.path, "is shorter than its graph says", _REMEDY)
    if end < entry.size:
        return refuse(
            CHECK.id,
            entry.path,
            f"has {entry.size - end} bytes that its graph does not name",
            _REMEDY,
        )
    return note(
        CHECK.id, entry.path, "holds the constants of an OpenVINO graph of standard operators"
    )


CHECK: Final = Check("foreign-runtimes", "Weights of other runtimes", Stage.CONTENT, _run)

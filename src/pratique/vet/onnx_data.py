"""Which files the ONNX models of a repository read their tensors from, whatever those are called."""

from pratique.core.ids import path_problem
from pratique.errors import FormatError
from pratique.formats import onnx
from pratique.vet.repo import Repo
from pratique.vet.roles import Role


def facts(repo: Repo, path: str) -> onnx.OnnxFacts:
    """Walk a model once. Raises FormatError."""

    def examine(name: str) -> onnx.OnnxFacts:
        with repo.mapped(name) as data:
            return onnx.examine(data)

    return repo.cached("onnx", path, examine)


def may_be_named(repo: Repo, path: str) -> bool:
    """Whether `path` is external data that a well-formed model here names, beside itself.

    While a fetch has not brought every model yet, any file may be.
    """
    if any(not repo.here(entry.path) for entry in repo.with_role(Role.ONNX)):
        return True
    return path in repo.cached("onnx-data", "", lambda _: _named(repo))


def _named(repo: Repo) -> frozenset[str]:
    found: set[str] = set()
    for entry in repo.with_role(Role.ONNX):
        if not repo.here(entry.path):
            continue
        try:
            externals = facts(repo, entry.path).externals
        except FormatError:
            continue
        prefix = f"{entry.folder}/" if entry.folder else ""
        found.update(prefix + e.location for e in externals if path_problem(e.location) is None)
    return frozenset(found)

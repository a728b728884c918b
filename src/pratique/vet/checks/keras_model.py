"""Keras: layers with code are refused; a clean model still needs somebody to answer for it."""

from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding, Severity
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.formats import hdf5, json_strict, keras, zips
from pratique.vet.check import Check, approve, refuse
from pratique.vet.repo import MIB, Entry, Repo
from pratique.vet.roles import Role

_MAX_SEARCHED: Final = 4096 * MIB
_WINDOW: Final = 64 * MIB
_OVERLAP: Final = 4 * MIB
_REMEDY: Final = "publish the weights as safetensors"
_MEMBERS: Final = frozenset({"metadata.json", "config.json", "model.weights.h5"})


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    for entry in repo.with_role(Role.KERAS):
        if not repo.here(entry.path):
            continue
        try:
            if repo.head(entry.path, 4) == zips.LOCAL_MAGIC:
                _archive(repo, entry)
            else:
                hdf5.check_frame(repo.head(entry.path, 256), entry.size)
                with repo.mapped(entry.path) as data:
                    _models(data)
        except FormatError as error:
            yield refuse(
                CHECK.id, entry.path, f"is no clean Keras file: {error}", _REMEDY, Severity.HIGH
            )
            continue
        yield approve(
            CHECK.id,
            entry.path,
            "is a Keras file without layers that carry code; the gate does not read all of it",
            f"allow it by digest, or {_REMEDY}",
            digest=repo.digest_for(entry.path),
        )


def _models(data: memoryview) -> None:
    if len(data) > _MAX_SEARCHED:
        raise FormatError("is too large to be searched")
    for start in range(0, max(len(data), 1), _WINDOW):
        for model in hdf5.models_in(bytes(data[start : start + _WINDOW + _OVERLAP])):
            keras.check(model)


def _archive(repo: Repo, entry: Entry) -> None:
    with repo.open(entry.path) as file:
        members = {m.name: m for m in zips.read_index(file, entry.size)}
        if "config.json" not in members:
            raise FormatError("has no config.json")
        for name, member in members.items():
            if name not in _MEMBERS and not name.startswith("assets/"):
                raise FormatError(f"holds {name!r}, which Keras does not write")
            zips.check_crc(file, member)
        keras.check(json_strict.parse(zips.read_member(file, members["config.json"], 32 * MIB)))
        weights = members.get("model.weights.h5")
        if weights is not None:
            hdf5.check_frame(zips.read_beginning(file, weights, 256), weights.size)


CHECK: Final = Check("keras", "Keras without code", Stage.CONTENT, _run)

"""Configuration has one meaning: strict JSON, no duplicate keys, bounded depth and size."""

from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.formats import json_strict
from pratique.vet.check import Check, note, refuse
from pratique.vet.repo import Entry, Repo
from pratique.vet.roles import LOADED_JSON, Role

_REMEDY: Final = "write the file again with one plain JSON writer"
_ARRAYS: Final = frozenset({"modules.json"})
_TOKENIZER_JSON: Final = (".json",)


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    for entry in repo.files:
        if not repo.here(entry.path) or not _is_json(entry):
            continue
        try:
            value = repo.json(entry.path)
        except FormatError as error:
            if entry.role is Role.JSON and _is_lines(repo, entry):
                yield note(CHECK.id, entry.path, "is a list of JSON lines that no loader reads")
            else:
                yield refuse(CHECK.id, entry.path, str(error), _REMEDY)
            continue
        expected = list if entry.name in _ARRAYS else dict
        if entry.role in LOADED_JSON and not isinstance(value, expected):
            got = json_strict.type_name(value)
            yield refuse(CHECK.id, entry.path, f"holds {got} at its top", _REMEDY)
        if entry.role is Role.JSON:
            yield note(CHECK.id, entry.path, "is data that no loader reads")


def _is_lines(repo: Repo, entry: Entry) -> bool:
    """Whether the file is JSON Lines under the name of JSON, as data sets often are."""
    try:
        lines = [line for line in repo.read(entry.path).split(b"\n") if line.strip()]
        for line in lines:
            json_strict.parse_object(line, json_strict.UNLOADED)
    except FormatError:
        return False
    return len(lines) > 1


def _is_json(entry: Entry) -> bool:
    return entry.name.lower().endswith((".json", ".ipynb")) and entry.role is not Role.CACHE


CHECK: Final = Check("json", "JSON with one meaning", Stage.CODE_AND_CONFIG, _run)

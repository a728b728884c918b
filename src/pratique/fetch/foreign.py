"""What a repository takes from other repositories: each is a pin of its own, or it does not come.

The gate decides (`adapter-base` needs an allowance, code from elsewhere is refused). What it let pass
is fetched here as a snapshot of its own, through the same gate, and written down with its commit.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pratique.core.ids import Digest, RelPath, RepoId, parse_repo_id
from pratique.core.snapshot import Snapshot
from pratique.errors import FormatError
from pratique.formats import json_strict
from pratique.formats.json_strict import Json

FOREIGN_FILE: Final = "provenance/foreign.json"
MAX_DEPTH: Final = 3
_MAX_CONFIG: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class ForeignReference:
    """`where` in this repository names `repo` at `revision` (None: at whatever is there)."""

    kind: Literal["adapter-base", "code"]
    where: str
    repo: RepoId
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class ForeignPin:
    """A reference and the snapshot that answers it."""

    reference: ForeignReference
    commit: str
    manifest: Digest
    snapshot: str

    @classmethod
    def of(cls, reference: ForeignReference, snapshot: Snapshot) -> "ForeignPin":
        """Pin `reference` to a snapshot that was fetched for it."""
        return cls(
            reference,
            snapshot.source.commit or "",
            snapshot.manifest.digest,
            snapshot.model_dir.parent.name,
        )


def foreign_references(model: Path) -> tuple[ForeignReference, ...]:
    """List what the configurations below `model` name. Malformed ones name nothing: the gate's task."""
    found: dict[tuple[str, RepoId], ForeignReference] = {}
    for path in sorted(model.rglob("*.json")):
        where = RelPath(path.relative_to(model).as_posix())
        for reference in _references(path, where):
            found.setdefault((reference.kind, reference.repo), reference)
    return tuple(found.values())


def _references(path: Path, where: RelPath) -> Iterator[ForeignReference]:
    if path.stat().st_size > _MAX_CONFIG:
        return
    try:
        value = json_strict.parse(path.read_bytes())
    except FormatError:
        return
    if not isinstance(value, dict):
        return
    if path.name == "adapter_config.json":
        repo, revision = value.get("base_model_name_or_path"), value.get("revision")
        if isinstance(repo, str) and (parsed := _repo(repo)) is not None:
            pinned = revision if isinstance(revision, str) and revision else None
            yield ForeignReference("adapter-base", where, parsed, pinned)
    for text in _texts(value.get("auto_map")):
        repo, dashes, _ = text.partition("--")
        if dashes and (parsed := _repo(repo)) is not None:
            yield ForeignReference("code", where, parsed)


def _repo(text: str) -> RepoId | None:
    try:
        return parse_repo_id(text)
    except FormatError:
        return None


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for child in value.values() if isinstance(value, dict) else value:
            yield from _texts(child)


def foreign_bytes(pins: tuple[ForeignPin, ...]) -> bytes:
    """`foreign.json`: what was taken from elsewhere, pinned."""
    rows = [
        {
            "kind": pin.reference.kind,
            "named_in": pin.reference.where,
            "repo": pin.reference.repo,
            "revision": pin.reference.revision,
            "commit": pin.commit,
            "manifest": pin.manifest,
            "snapshot": pin.snapshot,
        }
        for pin in pins
    ]
    return (json.dumps({"schema": "pratique.foreign/v1", "pins": rows}, indent=1) + "\n").encode()


def foreign_snapshots(snapshot: Snapshot) -> tuple[str, ...]:
    """Directory names in quarantine of the snapshots that `snapshot` needs beside it."""
    path = snapshot.model_dir.parent / FOREIGN_FILE
    if not path.is_file():
        return ()
    value = json_strict.parse_object(path.read_bytes())
    pins = value.get("pins")
    rows = pins if isinstance(pins, list) else []
    names = [row.get("snapshot") for row in rows if isinstance(row, dict)]
    return tuple(name for name in names if isinstance(name, str) and "/" not in name)

"""What a repository takes from other repositories: each is a pin of its own, or it does not come.

The gate decides (`adapter-base` and `foreign-code` need an allowance). A base model that it let pass is
fetched here as a snapshot of its own, through the same gate; code is taken along by `foreign_code`. Both
are written down with their commits.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pratique.core.foreign import FOREIGN
from pratique.core.ids import Digest, RelPath, RepoId, parse_repo_id
from pratique.core.snapshot import Snapshot
from pratique.errors import FormatError
from pratique.formats import json_strict
from pratique.formats.json_strict import JsonObject

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
        """Pin `reference` to a snapshot that was fetched for it: beside, or (code) inside provenance/."""
        folder = snapshot.model_dir.parent
        inside = f"provenance/{FOREIGN}/" if reference.kind == "code" else ""
        commit = snapshot.source.commit or ""
        return cls(reference, commit, snapshot.manifest.digest, f"{inside}{folder.name}")


def foreign_references(model: Path) -> tuple[ForeignReference, ...]:
    """List the base models that adapters below `model` name. Malformed ones name nothing: the gate's task."""
    found: dict[RepoId, ForeignReference] = {}
    for path, value in configurations(model):
        if path.rsplit("/", 1)[-1] != "adapter_config.json":
            continue
        repo, revision = value.get("base_model_name_or_path"), value.get("revision")
        if isinstance(repo, str) and (parsed := _repo(repo)) is not None:
            pinned = revision if isinstance(revision, str) and revision else None
            found.setdefault(parsed, ForeignReference("adapter-base", path, parsed, pinned))
    return tuple(found.values())


def configurations(model: Path) -> Iterator[tuple[RelPath, JsonObject]]:
    """Every well-formed JSON object below `model` that is not too large to be a configuration."""
    for path in sorted(model.rglob("*.json")):
        if path.stat().st_size > _MAX_CONFIG:
            continue
        try:
            value = json_strict.parse(path.read_bytes(), json_strict.CONFIGURATION)
        except FormatError:
            continue
        if isinstance(value, dict):
            yield RelPath(path.relative_to(model).as_posix()), value


def _repo(text: str) -> RepoId | None:
    try:
        return parse_repo_id(text)
    except FormatError:
        return None


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
    """Directory names in quarantine of the snapshots that `snapshot` needs beside it: base models.

    Code of other repositories is inside it, and has no name there.
    """
    path = snapshot.model_dir.parent / FOREIGN_FILE
    if not path.is_file():
        return ()
    value = json_strict.parse_object(path.read_bytes())
    pins = value.get("pins")
    rows = pins if isinstance(pins, list) else []
    names = [row.get("snapshot") for row in rows if isinstance(row, dict)]
    return tuple(name for name in names if isinstance(name, str) and "/" not in name)

"""CycloneDX 1.6 ML-BOM of a model: one machine-learning-model component, and each of its files.

Written as plain values and held to the standard's own schema by the tests: the Python library has no
model card, and drops one that is put in when it writes again. Digests are those of the manifest;
nothing is hashed or parsed here.
"""

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote

from pratique import __version__
from pratique.core.foreign import FOREIGN, Pin
from pratique.core.manifest import FileEntry
from pratique.core.snapshot import Snapshot

_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "https://github.com/pratique/pratique/mlbom")


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of the model beyond its files. Everything may be unknown.

    `licences` are SPDX ids or expressions; `architecture` and `task` as the model's own words.
    """

    licences: tuple[str, ...] = ()
    architecture: str | None = None
    task: str | None = None


def mlbom(snapshot: Snapshot, clock: datetime, facts: ModelFacts | None = None) -> bytes:
    """Return the ML-BOM of `snapshot` as JSON. The same input gives the same bytes."""
    facts = facts or ModelFacts()
    value = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, snapshot.manifest.digest)}",
        "metadata": {
            "timestamp": clock.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "tools": {
                "components": [{"type": "application", "name": "pratique", "version": __version__}]
            },
            "component": _model(snapshot, facts),
        },
        "components": [
            *_files(snapshot.manifest),
            *(part for code in snapshot.foreign for part in _files(code.manifest, code.pin)),
        ],
    }
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True) + "\n").encode()


def _model(snapshot: Snapshot, facts: ModelFacts) -> dict[str, Any]:
    source = snapshot.source
    component: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": f"model:{snapshot.manifest.digest}",
        "name": source.repo or snapshot.name,
        "version": source.commit or snapshot.manifest.digest,
        "hashes": [{"alg": "SHA-256", "content": snapshot.manifest.digest}],
        "modelCard": _card(facts),
        "properties": [
            {"name": "pratique:commit-proof", "value": snapshot.proof.value},
            {"name": "pratique:digest-of", "value": "SHA-256 over the sha256sum list of all files"},
        ],
    }
    if source.kind == "hub" and source.repo and source.commit:
        component["purl"] = f"pkg:huggingface/{quote(source.repo)}@{source.commit}"
    if facts.licences:
        component["licenses"] = [{"license": {"name": name}} for name in facts.licences]
    return component


def _card(facts: ModelFacts) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    if facts.task:
        parameters["task"] = facts.task
    if facts.architecture:
        parameters["modelArchitecture"] = facts.architecture
    return {"modelParameters": parameters} if parameters else {}


def _files(files: Iterable[FileEntry], pin: Pin | None = None) -> Iterable[dict[str, Any]]:
    """The files of the model, or of the other repository that `pin` names."""
    folder = "" if pin is None else f"{FOREIGN}/{pin.label}/"
    for file in files:
        component: dict[str, Any] = {
            "type": "file",
            "bom-ref": f"file:{folder}{file.path}",
            "name": f"{folder}{file.path}",
            "hashes": [{"alg": "SHA-256", "content": file.sha256}],
            "properties": [{"name": "pratique:size", "value": str(file.size)}],
        }
        if pin is not None:
            component["purl"] = f"pkg:huggingface/{quote(pin.repo)}@{pin.commit}#{quote(file.path)}"
        yield component

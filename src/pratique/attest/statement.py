"""The Model Signing v1.0 statement: which files, with which digests, make up a signed directory.

A statement read here has a correct root digest, sorted and portable names of which no two could be
confused, SHA-256 throughout, no followed links, and no listed file under an ignored path. Source:
Model Signing v1.0, sections 5 and 6.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from pratique.attest import canonical
from pratique.attest.canonical import Json, items, only_keys, text
from pratique.core.ids import Digest, RelPath, fold_path, parse_digest, parse_relpath, shown
from pratique.core.manifest import MAX_FILES
from pratique.errors import FormatError

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
MODEL_SIGNING: Final = "https://model_signing/signature/v1.0"
MAX_IGNORED: Final = 100


@dataclass(frozen=True, slots=True)
class ModelStatement:
    """Signed files by path relative to the signed directory, and what the signer ignored."""

    name: str
    root: Digest
    files: MappingProxyType[RelPath, Digest]
    ignored: tuple[str, ...]


def root_digest(digests: Iterable[Digest]) -> Digest:
    """SHA-256 over the raw digests in name order. Does not cover the names: never use it as an id."""
    hasher = hashlib.sha256()
    for digest in digests:
        hasher.update(bytes.fromhex(digest))
    return Digest(hasher.hexdigest())


def write_model(files: Iterable[tuple[RelPath, Digest]], name: str) -> bytes:
    """Return the canonical statement over `files`. Raises FormatError on colliding names."""
    listed = sorted(files, key=lambda entry: entry[0].encode())
    _no_collisions([path for path, _ in listed])
    resources = [{"algorithm": "sha256", "digest": d, "name": p} for p, d in listed]
    return canonical.dump(
        {
            "_type": STATEMENT_TYPE,
            "predicate": {
                "resources": resources,
                "serialization": {
                    "allow_symlinks": False,
                    "hash_type": "sha256",
                    "ignore_paths": [],
                    "method": "files",
                },
            },
            "predicateType": MODEL_SIGNING,
            "subject": [{"digest": {"sha256": root_digest(d for _, d in listed)}, "name": name}],
        }
    )


def read_header(payload: bytes) -> dict[str, Json]:
    """Parse a verified payload as an in-toto Statement v1. Says nothing of the predicate."""
    value = only_keys(
        canonical.parse(payload, "statement", canonical.PAYLOAD_LAYOUTS),
        "statement",
        ("_type", "subject", "predicateType", "predicate"),
    )
    if value["_type"] != STATEMENT_TYPE:
        raise FormatError("payload is not an in-toto Statement v1")
    return value


def read_subject(statement: dict[str, Json]) -> tuple[str, Digest]:
    """Return name and SHA-256 of the statement's one subject."""
    subjects = list(items(statement["subject"], "subject", 1))
    if not subjects:
        raise FormatError("statement has no subject")
    subject = only_keys(subjects[0], "subject", ("name", "digest"))
    digest = only_keys(subject["digest"], "subject digest", ("sha256",))
    name = text(subject["name"], "subject name")
    if not name:
        raise FormatError("subject has no name")
    return name, parse_digest(text(digest["sha256"], "subject digest"))


def read_model(statement: dict[str, Json]) -> ModelStatement:
    """Read a Model Signing v1.0 predicate out of a verified statement. Raises FormatError."""
    name, root = read_subject(statement)
    predicate = only_keys(statement["predicate"], "predicate", ("resources", "serialization"))
    ignored = _serialization(predicate["serialization"])
    files: dict[RelPath, Digest] = {}
    for resource in items(predicate["resources"], "resources", MAX_FILES):
        entry = only_keys(resource, "resource", ("name", "algorithm", "digest"))
        if entry["algorithm"] != "sha256":
            raise FormatError("a resource is not hashed with SHA-256")
        path = parse_relpath(text(entry["name"], "resource name"))
        if path in files:
            raise FormatError(f"statement names {shown(path)} twice")
        files[path] = parse_digest(text(entry["digest"], "resource digest"))
    if list(files) != sorted(files, key=str.encode):
        raise FormatError("statement's resources are not sorted by name")
    _no_collisions(list(files))
    if root_digest(files.values()) != root:
        raise FormatError("statement's root digest is not that of its resources")
    for path in files:
        for skipped in ignored:
            if path == skipped or path.startswith(skipped.rstrip("/") + "/"):
                raise FormatError(f"statement lists {shown(path)} and ignores it too")
    return ModelStatement(name, root, MappingProxyType(files), ignored)


def _serialization(value: Json) -> tuple[str, ...]:
    found = only_keys(
        value, "serialization", ("method", "hash_type", "allow_symlinks"), ("ignore_paths",)
    )
    if found["method"] != "files":
        raise FormatError('serialization method is not "files"')
    if found["hash_type"] != "sha256":
        raise FormatError("serialization hash_type is not sha256")
    if found["allow_symlinks"] is not False:
        raise FormatError("serialization allows symbolic links")
    if "ignore_paths" not in found:
        return ()
    paths = [
        text(p, "ignored path") for p in items(found["ignore_paths"], "ignore_paths", MAX_IGNORED)
    ]
    if not all(paths):
        raise FormatError("an ignored path is empty")
    return tuple(paths)


def _no_collisions(paths: list[RelPath]) -> None:
    seen: dict[str, RelPath] = {}
    for path in paths:
        key = fold_path(path)
        if key in seen:
            raise FormatError(f"two files could be confused: {shown(seen[key])} and {shown(path)}")
        seen[key] = path

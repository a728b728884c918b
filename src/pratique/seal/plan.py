"""What goes into a payload: every file with the place it comes from and the digest it must have.

A plan is made from a snapshot that the gate let pass. Files of the model keep their vetted digest;
what differs from it when it is read is refused.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pratique.core.bundle import (
    EVIDENCE,
    FOREIGN_PROVENANCE,
    MODEL,
    PROVENANCE,
    AsideFile,
    is_git_file,
)
from pratique.core.foreign import FOREIGN
from pratique.core.ids import Digest, RelPath, parse_relpath, shown
from pratique.core.manifest import FileEntry
from pratique.core.snapshot import ForeignCode, VettedSnapshot
from pratique.errors import SealError
from pratique.seal.variants import MadeVariant
from pratique.store import tree
from pratique.store.measure import Measured

_KEPT_GIT: Final = "provenance/aside"
_GIT_REASON: Final = "signers of models leave .git files out by default; kept beside the model"


@dataclass(frozen=True, slots=True)
class Carried:
    """One file: `path` in the payload, `origin` below `root`; `digest` as vetted, if so.

    `found` is what was measured when it was taken in: then it is moved. Else it is copied and hashed.
    """

    path: RelPath
    root: Path
    origin: RelPath
    digest: Digest | None
    found: Measured | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """All files of a payload but `bundle.json` and `SHA256SUMS`."""

    carried: tuple[Carried, ...]
    written: Mapping[RelPath, bytes]
    aside: tuple[AsideFile, ...]


def plan_payload(
    vetted: VettedSnapshot,
    evidence: Mapping[str, bytes],
    left_behind: Mapping[RelPath, str],
    variants: Sequence[MadeVariant] = (),
    taken: Mapping[Path, Sequence[Measured]] = MappingProxyType({}),
) -> Plan:
    """Decide what the payload of `vetted` holds.

    Args:
        vetted: the snapshot and the verdict that lets it pass.
        evidence: documents by name below `evidence/`.
        left_behind: paths that nothing loads, with the reason; they are listed, not carried.
        variants: quantised copies that the gate passed.
        taken: what was measured when the snapshot was taken in, by folder.

    Raises SealError for a name that cannot be carried.
    """
    snapshot = vetted.snapshot
    model = {found.path: found for found in taken.get(snapshot.model_dir, ())}
    carried: list[Carried] = []
    aside: list[AsideFile] = []
    for file in snapshot.manifest:
        if is_git_file(file.path):
            kept = RelPath(f"{_KEPT_GIT}/{file.sha256}")
            aside.append(_aside(file, _GIT_REASON, kept))
            carried.append(_carried(kept, snapshot.model_dir, file, model))
        elif (reason := left_behind.get(file.path)) is not None:
            aside.append(_aside(file, reason, None))
        else:
            path = parse_relpath(f"{MODEL}/{file.path}")
            carried.append(_carried(path, snapshot.model_dir, file, model))
    if snapshot.provenance_dir is not None:
        carried += _provenance(snapshot.provenance_dir, taken)
    for code in snapshot.foreign:
        carried += _foreign(code)
    written = {parse_relpath(f"{EVIDENCE}/{name}"): data for name, data in evidence.items()}
    for made in variants:
        carried += (
            Carried(parse_relpath(f"{made.folder}/{f.path}"), made.root, f.path, f.sha256, f)
            for f in made.files
        )
        written[made.statement_path] = made.statement
    unique = {item.path: item for item in carried}  # two .git files may have the same bytes
    return Plan(tuple(unique.values()), written, tuple(aside))


def _carried(
    path: RelPath, root: Path, file: FileEntry, model: Mapping[RelPath, Measured]
) -> Carried:
    return Carried(path, root, file.path, file.sha256, model.get(file.path))


def _aside(file: FileEntry, reason: str, kept: RelPath | None) -> AsideFile:
    return AsideFile(path=file.path, size=file.size, sha256=file.sha256, kept=kept, reason=reason)


def _foreign(code: ForeignCode) -> Iterator[Carried]:
    """Code of another repository, by its vetted digests, and what proves where it is from."""
    for file in code.manifest:
        path = parse_relpath(f"{FOREIGN}/{code.pin.label}/{file.path}")
        yield Carried(path, code.model_dir, file.path, file.sha256)
    for item in _provenance(code.provenance_dir, {}):
        inside = item.path.removeprefix(f"{PROVENANCE}/")
        path = parse_relpath(f"{FOREIGN_PROVENANCE}/{code.pin.label}/{inside}")
        yield Carried(path, item.root, item.origin, None)


def _provenance(folder: Path, taken: Mapping[Path, Sequence[Measured]]) -> Iterator[Carried]:
    known = {found.path: found for found in taken.get(folder, ())}
    for path in known or tree.walk(folder).files:
        if path.startswith(f"{FOREIGN}/"):
            continue  # a snapshot of its own
        if is_git_file(path):
            raise SealError(
                f"provenance has {shown(path)}, a name that signers of models leave out",
                hint="fetch the snapshot again",
            )
        yield Carried(parse_relpath(f"{PROVENANCE}/{path}"), folder, path, None, known.get(path))

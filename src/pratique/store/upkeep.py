"""Looking after the store: what is damaged (fsck), and what nobody needs (gc).

`check_store` changes nothing. `collect` removes only what no admission reaches, while nobody reads or
adds. A damaged object heals by admitting a bundle that has it again: admission replaces bytes that
are not what their name says.
"""

import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pratique.core.bundle import SUMS
from pratique.core.ids import Digest, RelPath, parse_bundle_id, parse_digest, shown
from pratique.core.manifest import parse_sha256sums
from pratique.core.progress import Progress
from pratique.core.recorded import Around, unrecorded
from pratique.errors import FormatError, PratiqueError, UnreadableInput
from pratique.store import disk, records, tree
from pratique.store.cas import Store, owner_problem
from pratique.store.measure import Measured, Wanted, measure, measure_all

_OBJECT_NAME: Final = re.compile(r"[0-9a-f]{64}\Z")
_RECORD_NAME: Final = re.compile(r"[0-9a-f]{64}\.json\Z")


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the store that is not as it should be: where, and what."""

    where: str
    what: str


@dataclass(frozen=True, slots=True)
class Collected:
    """What `collect` removed."""

    trees: int
    objects: int
    size: int


def check_store(store: Store, *, progress: Progress | None = None) -> list[Problem]:
    """Hash every object and compare every tree, record and name with it. Returns all problems.

    A tree's file is sound if it *is* the object of its digest, or, where it is a file of its own,
    if its bytes are what `SHA256SUMS` says; and `SHA256SUMS` is what the bundle id says.
    """
    with store.shared(), disk.storing("the store"):
        found = {path: _object_problem(path) for path in _objects(store)}
        problems = [Problem(p.name, what) for p, what in found.items() if what]
        problems += [Problem(p.name, "does not belong here") for p in _strays(store)]
        whole = [path for path, what in found.items() if what is None]
        digests = _hash_objects(store, whole, progress)
        problems += [
            Problem(d, "its bytes are not what its name says") for d, ok in digests if not ok
        ]
        good = {store.object(d).lstat().st_ino: d for d, ok in digests if ok}
        for record in _readable(store, problems):
            problems += _record_problems(store, record, good)
        problems += _name_problems(store)
    return problems


def collect(store: Store) -> Collected:
    """Remove trees, objects and unfinished work that no admission reaches."""
    with store.exclusive(), disk.storing("the store"):
        admitted = list(records.admissions(store))
        kept_trees = {record.tree for record in admitted}
        kept_objects = {digest for record in admitted for digest in record.signatures.values()}
        trees = [t for t in (store.root / "trees").iterdir() if t.name not in kept_trees]
        for path in trees:
            disk.remove_tree(path)
        # An object that a tree still links to has more than one name.
        unused = [
            path
            for path in _objects(store)
            if path.lstat().st_nlink == 1 and path.name not in kept_objects
        ]
        size = sum(path.lstat().st_size for path in unused)
        for path in unused:
            path.unlink()
        store.sweep()
    return Collected(len(trees), len(unused), size)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What is about to go: an admission, and the names that point at it."""

    store: Store
    record: records.AdmissionRecord
    names: tuple[str, ...]


def forget(
    store: Store,
    record: records.AdmissionRecord,
    *,
    around: Around[Forgotten] = unrecorded,
) -> None:
    """Undo an admission: the record and the names that point at it go; `collect` does the rest."""
    with store.exclusive(), store.deciding(), disk.storing("the store"):
        names = tuple(a.name for a in records.aliases(store) if a.bundle_id == record.bundle_id)
        with around(Forgotten(store, record, names)):
            for name in names:
                store.alias(name).unlink(missing_ok=True)
            disk.flush_folder(store.root / "names")
            store.admission(record.bundle_id).unlink(missing_ok=True)
            disk.flush_folder(store.root / "admissions")


def _objects(store: Store) -> Iterator[Path]:
    for folder in sorted((store.root / "objects").iterdir()):
        if not folder.is_symlink() and folder.is_dir():
            yield from sorted(folder.iterdir())


def _strays(store: Store) -> Iterator[Path]:
    """What lies where only folders of objects, or only records of admissions, do."""
    for path in sorted((store.root / "objects").iterdir()):
        if path.is_symlink() or not path.is_dir():
            yield path
    for path in sorted((store.root / "admissions").iterdir()):
        if not path.name.startswith(".") and not _RECORD_NAME.match(path.name):
            yield path


def _object_problem(path: Path) -> str | None:
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        return "is not a regular file"
    if not _OBJECT_NAME.match(path.name) or path.parent.name != path.name[:2]:
        return "does not belong here"
    if problem := owner_problem(found):
        return problem
    return "is writable" if found.st_mode & 0o222 else None


def _hash_objects(
    store: Store, paths: list[Path], progress: Progress | None
) -> list[tuple[Digest, bool]]:
    with tree.opened_folder(store.root / "objects") as folder:

        def work(path: RelPath, *, ahead: bool) -> Measured:
            with tree.opened(folder, path) as descriptor:
                return measure(descriptor, path, Wanted.SHA256, ahead=ahead, progress=progress)

        sizes = [(RelPath(f"{p.parent.name}/{p.name}"), p.lstat().st_size) for p in paths]
        measured = measure_all(sizes, work, progress=progress, what="checking the store")
    named = [(parse_digest(m.path.split("/")[1]), m.sha256) for m in measured]
    return [(name, name == found) for name, found in named]


def _readable(store: Store, problems: list[Problem]) -> Iterator[records.AdmissionRecord]:
    for path in sorted((store.root / "admissions").glob("[0-9a-f]*.json")):
        if not _RECORD_NAME.match(path.name):
            continue  # named among the strays
        try:
            yield records.read_admission(store, parse_bundle_id(path.stem))
        except PratiqueError as error:
            problems.append(Problem(path.name, error.message))


def _record_problems(
    store: Store, record: records.AdmissionRecord, good: Mapping[int, Digest]
) -> Iterator[Problem]:
    for name, digest in record.signatures.items():
        if not store.object(digest).is_file():
            yield Problem(record.label, f"signature {name} is missing")
    root = store.tree(record.tree)
    try:
        listed = {**parse_sha256sums((root / SUMS).read_bytes()), SUMS: Digest(record.bundle_id)}
        there = tree.walk(root)
    except (OSError, FormatError, UnreadableInput) as error:
        yield Problem(record.label, f"its files cannot be listed: {error}")
        return
    for path in sorted({*listed} ^ {*there.files}):
        yield Problem(record.label, f"{shown(path)} is {'missing' if path in listed else 'extra'}")
    for path in sorted({*listed} & {*there.files}):
        if problem := _file_problem(root, path, listed[path], good):
            yield Problem(record.label, f"{shown(path)} {problem}")
    yield from _folder_problems(record, root, there.folders, listed)


def _file_problem(
    root: Path, path: RelPath, digest: Digest, good: Mapping[int, Digest]
) -> str | None:
    found = (root / path).lstat()
    if good.get(found.st_ino, digest) != digest:
        return "is damaged"  # the bytes of another file
    if found.st_ino not in good and not _holds_bytes(root, path, digest):
        return "is damaged"
    return "is writable" if owner_problem(found) or found.st_mode & 0o222 else None


def _holds_bytes(root: Path, path: RelPath, digest: Digest) -> bool:
    """Whether a file that is no object (a copy, where links had run out) has the bytes it should."""
    with tree.opened_folder(root) as folder, tree.opened(folder, path) as descriptor:
        return measure(descriptor, path, Wanted.SHA256).sha256 == digest


def _folder_problems(
    record: records.AdmissionRecord,
    root: Path,
    folders: Sequence[RelPath],
    listed: Iterable[RelPath],
) -> Iterator[Problem]:
    needed = {"/".join(p.split("/")[:n]) for p in listed for n in range(1, p.count("/") + 1)}
    for folder in folders:
        if folder not in needed:
            yield Problem(record.label, f"the folder {shown(folder)} is extra")
    for name in (".", *folders):
        if owner_problem((root / name).lstat()):
            yield Problem(record.label, f"the folder {shown(name)} is writable by others")


def _name_problems(store: Store) -> Iterator[Problem]:
    for path in sorted((store.root / "names").glob("[!.]*.json")):
        try:
            alias = records.read_alias(store, path.stem)
            if alias is not None:
                records.read_admission(store, alias.bundle_id)
        except PratiqueError as error:
            yield Problem(f"name {path.stem}", error.message)

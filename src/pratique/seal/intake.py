"""A snapshot taken in: hashed once, while it is copied into a folder of ours.

What is judged, proved and carried afterwards is that copy, with these digests: nothing that happens
to the original meanwhile can come between. The folder is private and read by confined children only.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from pratique.core.ids import RelPath, shown
from pratique.core.manifest import FileEntry, Manifest
from pratique.core.policy import FetchRules
from pratique.core.progress import Progress
from pratique.core.snapshot import Snapshot
from pratique.errors import SealError
from pratique.store import disk, tree
from pratique.store.measure import Measured, Wanted, measure, measure_all
from pratique.store.quarantine import (
    DOCUMENT,
    MODEL,
    PROVENANCE,
    is_snapshot,
    open_snapshot,
    read_recorded,
)


@dataclass(frozen=True, slots=True)
class Taken:
    """A snapshot whose every byte was hashed here. `files` are by the folder in which they lie.

    `snapshot` points into the private copy, or, where none was made, at the original.
    """

    snapshot: Snapshot
    files: Mapping[Path, tuple[Measured, ...]]


def take_in(
    directory: Path,
    copy: Path | None,
    wanted: Wanted,
    *,
    now: datetime | None = None,
    limits: FetchRules | None = None,
    progress: Progress | None = None,
) -> Taken:
    """Hash a snapshot or a bare model directory once, into the empty folder `copy` if there is one.

    Guarantees what `open_snapshot` does, of the copy. Without one the bytes may change afterwards:
    good for comparing, not for signing. What is larger than the `limits` of the policy, or than what
    is free there, is refused before a byte of it is copied.

    Raises:
        SealError: larger than the policy permits.
        FormatError, UnreadableInput: a link, a special file, a bad name; something cannot be read.
        VerificationRefused: it is not what `fetch` recorded.
        StorageError: the disk is full, or reading or writing failed.
    """
    files: dict[Path, tuple[Measured, ...]] = {}

    def take(folder: Path, target: Path | None) -> Manifest:
        found = measure_folder(folder, target, wanted, limits=limits, progress=progress)
        files[target or folder] = found
        return manifest_of(found)

    origin = directory.resolve()  # as `open_snapshot` does
    if copy is None:
        snapshot = open_snapshot(directory, now=now, hashed=lambda folder: take(folder, None))
        if snapshot.provenance_dir is not None:
            take(snapshot.provenance_dir, None)
    elif is_snapshot(origin):
        # A whole snapshot again, which is then read like any other.
        with disk.storing(str(copy)):
            disk.write_new(copy / DOCUMENT, read_recorded(origin))
        for part in (MODEL, PROVENANCE):
            take(origin / part, copy / part)
        snapshot = open_snapshot(copy, hashed=lambda folder: manifest_of(files[folder]))
    else:
        snapshot = open_snapshot(
            directory, now=now, hashed=lambda folder: take(folder, copy / MODEL)
        )
        snapshot = replace(snapshot, model_dir=copy / MODEL)
    return Taken(snapshot, files)


def manifest_of(files: Iterable[Measured]) -> Manifest:
    """The manifest of what was measured."""
    return Manifest.of(FileEntry(file.path, file.size, file.sha256) for file in files)


def measure_folder(
    folder: Path,
    copy: Path | None,
    wanted: Wanted,
    *,
    limits: FetchRules | None = None,
    progress: Progress | None = None,
) -> tuple[Measured, ...]:
    """Read each file below `folder` once: hash it, and copy it if there is a `copy`, a new folder."""
    listing = tree.walk(folder)
    if copy is not None:
        with disk.storing(str(copy)):
            for path in ("", *_parents(listing.files)):
                disk.make_folder(copy / path, 0o700)
    with tree.opened_folder(folder) as root:
        sizes = [(path, tree.size_of(root, path)) for path in listing.files]
        if limits is not None:
            _keep_within(limits, sizes)
        if copy is not None:
            disk.need_room(copy, sum(size for _, size in sizes), "the copy beside the target")

        def work(path: RelPath, *, ahead: bool) -> Measured:
            return _take(root, path, copy, wanted, progress, ahead=ahead)

        return tuple(measure_all(sizes, work, progress=progress, what="taking in"))


def _keep_within(limits: FetchRules, sizes: Iterable[tuple[RelPath, int]]) -> None:
    """`fetch` refuses these too; what came another way meets the same limits here."""
    total = 0
    for path, size in sizes:
        if size > limits.max_file_bytes:
            raise SealError(
                f"{shown(path)} has {size:,} bytes, more than the policy permits",
                hint="raise fetch.max_file_bytes in the policy, or leave the file out",
            )
        total += size
    if total > limits.max_total_bytes:
        raise SealError(
            f"the model has {total:,} bytes, more than the policy permits",
            hint="raise fetch.max_total_bytes in the policy, or leave files out",
        )


def _parents(files: Iterable[RelPath]) -> list[str]:
    """The folders that hold files, parents first; an empty one is not taken along."""
    return sorted({"/".join(p.split("/")[:n]) for p in files for n in range(1, p.count("/") + 1)})


def _take(
    root: int,
    path: RelPath,
    copy: Path | None,
    wanted: Wanted,
    progress: Progress | None,
    *,
    ahead: bool,
) -> Measured:
    with tree.opened(root, path) as source, _target(path, copy) as sink:

        def write(block: memoryview) -> None:
            if sink is not None:
                with disk.storing(shown(path)):
                    disk.write_all(sink, block)

        return measure(source, path, wanted, ahead=ahead, sink=write, progress=progress)


@contextlib.contextmanager
def _target(path: RelPath, copy: Path | None) -> Iterator[int | None]:
    if copy is None:
        yield None
        return
    with disk.storing(shown(path)):
        descriptor = disk.create(copy / path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)

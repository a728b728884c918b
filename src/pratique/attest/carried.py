"""What a medium carries: reading it (regular files, up to a limit, and nothing else), and writing it.

Nothing here follows a link, waits on a pipe or reads past a limit.
"""

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from pratique.attest.home import all_or_nothing
from pratique.attest.tufset import MAX_METADATA_BYTES, MAX_ROOTS, Read
from pratique.errors import UnreadableInput, VerificationRefused


def read_regular(path: Path, limit: int) -> bytes | None:
    """Return a regular file's bytes, or None if it is absent. Never follows a link or waits on a pipe.

    Raises VerificationRefused if it is larger than `limit`.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return None
        data = file.read(limit + 1)
    if len(data) > limit:
        raise VerificationRefused(f"{path.name} in the trust set is larger than {limit} bytes")
    return data


def reader(directory: Path) -> Read:
    """Read files below `directory`."""
    return lambda name, limit: read_regular(directory / name, limit)


def history(metadata: Path) -> Read:
    """Read metadata as python-tuf persists it: roots by version in a folder of their own."""

    def read(name: str, limit: int) -> bytes | None:
        folder = metadata / "root_history" if name.endswith(".root.json") else metadata
        return read_regular(folder / name, limit)

    return read


def trust_set(directory: Path) -> Read:
    """Read metadata of the set in `directory`. Raises UnreadableInput if there is none to be judged."""
    if not directory.is_dir():
        raise UnreadableInput(
            f"there is no directory {directory}", hint="is the medium there? check the path"
        )
    if not (directory / "metadata").is_dir():
        raise UnreadableInput(
            f"there is no trust set in {directory}",
            hint="give the directory that `pratique trust export` wrote",
        )
    return reader(directory / "metadata")


def newest_root(metadata: Read) -> str:
    """Return the hex SHA-256 of the newest root on a medium, for people to compare."""
    newest = None
    for version in range(1, MAX_ROOTS):
        data = metadata(f"{version}.root.json", MAX_METADATA_BYTES)
        newest = data if data is not None else newest
    if newest is None:
        raise VerificationRefused(
            "there is no trust set here: no metadata/N.root.json",
            hint="give the directory that `pratique trust export` wrote",
        )
    return hashlib.sha256(newest).hexdigest()


def carry_out(parts: Iterable[Path], to: Path) -> None:
    """Copy folders of files into `to`, flushed, for everybody to read; or leave nothing there.

    Another user reads them in the enclave. What a stick or a share makes of modes is its own affair.
    Raises StorageError.
    """
    folders = {part: to / part.name for part in parts}
    made = [] if to.exists() else [to]
    with all_or_nothing(to, *folders.values()):
        for part, target in folders.items():
            made += [target, *_copied(part, target)]
        for path in made:
            with contextlib.suppress(OSError):
                path.chmod(0o755 if path.is_dir() else 0o644)


def _copied(part: Path, target: Path) -> Iterable[Path]:
    for source in sorted(part.rglob("*")):
        copy = target / source.relative_to(part)
        if source.is_dir():
            copy.mkdir()
        else:
            with copy.open("xb") as file:
                file.write(source.read_bytes())
                file.flush()
                os.fsync(file.fileno())
        yield copy

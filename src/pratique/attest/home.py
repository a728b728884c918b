"""Where an enclave keeps its trust: `trust/state.json` and the set that it names.

`state.json` is the one commit point. It is replaced by a rename, so that after a crash at any point
either the old trust holds or the new one. The directory is read only if nobody but its owner may
write to it. Emergency revocations stand in the same file, so that they cannot be lost by themselves.
"""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pratique.attest import canonical
from pratique.attest.trustfile import DigestText, Line, Name, Revocation, Time, first_problem
from pratique.errors import FormatError, StorageError, VerificationRefused

MAX_STATE_BYTES: Final = 16 * 1024 * 1024


class State(BaseModel):
    """What this enclave has pinned and seen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    schema_: Literal["pratique.trust-state/v1"] = Field(alias="schema")
    enclave: Name
    fingerprint: DigestText
    first_root: int = Field(ge=1)
    current: str = Field(pattern=r"^set-[0-9]{1,9}$")
    installed_at: Time
    time_floor: Time
    source: Line
    emergency: tuple[Revocation, ...] = ()


def trust_dir(home: Path) -> Path:
    """Where trust lies inside a home."""
    return home / "trust"


def load_state(directory: Path) -> State | None:
    """Return the state in a trust directory, or None if nothing was ever installed there.

    Raises VerificationRefused if others may write to it, or if it is damaged.
    """
    path = directory / "state.json"
    try:
        with path.open("rb") as file:
            _check_owner(path, os.fstat(file.fileno()))
            _check_owner(directory, directory.stat())
            data = file.read(MAX_STATE_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        if len(data) > MAX_STATE_BYTES:
            raise FormatError("it is too large")
        canonical.parse(data, "trust state")
        return State.model_validate_json(data)
    except (FormatError, ValidationError) as error:
        problem = error.message if isinstance(error, FormatError) else first_problem(error)
        raise VerificationRefused(
            f"{path} is damaged: {problem}",
            hint="restore it from a backup, or remove the trust directory and install again",
        ) from error


def installed_in(directory: Path) -> tuple[Path, State] | None:
    """Return the trust directory that `directory` is, or holds as a home does, and its state."""
    for candidate in (directory, trust_dir(directory)):
        if (state := load_state(candidate)) is not None:
            return candidate, state
    return None


def save_state(directory: Path, state: State) -> None:
    """Replace the state in one step. Raises StorageError if it cannot be written."""
    data = canonical.dump(state.model_dump(mode="json", by_alias=True))
    write_atomically(directory / "state.json", data)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the trust directory for one change at a time, creating it (mode 0700) if need be."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"cannot write to {directory}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def all_or_nothing(directory: Path, *parts: Path) -> Iterator[None]:
    """Make the folders of a new set; take them away again if it does not come about.

    What is left of a set that failed would be in the way of the next, and look like one.
    """
    before, made = directory.exists(), list[Path]()
    try:
        for part in parts:
            part.mkdir(parents=True)
            made.append(part)
        yield
    except BaseException as failed:
        for part in made:
            shutil.rmtree(part, ignore_errors=True)
        if not before:
            with contextlib.suppress(OSError):
                directory.rmdir()
        if isinstance(failed, OSError):
            raise StorageError(f"cannot create {directory}: {failed.strerror}") from failed
        raise


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a file so that at any moment it is whole: the old bytes or the new ones."""
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
            raise
        sync_directory(path.parent)
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror}", hint="the old file still stands"
        ) from error


def sync_directory(directory: Path) -> None:
    """Make renames in `directory` survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def raise_floor(state: State, seen: datetime) -> State:
    """Return `state` with the latest time seen; it never goes back."""
    if seen <= state.time_floor:
        return state
    return state.model_copy(update={"time_floor": seen.replace(microsecond=0)})


def _check_owner(path: Path, status: os.stat_result) -> None:
    if status.st_uid not in {0, os.geteuid()} or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise VerificationRefused(
            f"others may write to {path}, so what it says proves nothing",
            hint=f"chmod go-w {path}, and see that you or root own it",
        )

"""What a confined child may do: everything that is not granted here is refused.

A `Lock` is a value. It says which paths a child may read and write, which limits hold, which
environment it sees and which of the two profiles its system calls follow. It holds no switch that
turns a layer off: the layers are closed wherever the host has them, and `Requirement` decides what
happens where the host lacks one.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path

MIB = 1024 * 1024
PathLike = str | os.PathLike[str]

# Read once by the libraries at import; all of them, because each has its own idea of a truth value.
OFFLINE_ENVIRONMENT: Mapping[str, str] = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_XET": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
# What would let the environment choose code to run, or undo the lines above.
FORBIDDEN_VARIABLES = frozenset(OFFLINE_ENVIRONMENT) | {"LD_PRELOAD", "LD_AUDIT", "LD_LIBRARY_PATH"}


class Profile(StrEnum):
    """Which system calls are left.

    PARSER reads hostile bytes: no process, no socket, no program, no memory that is writable and
    executable at once. MODEL runs a model: threads, devices and the one inherited socket as well.
    """

    PARSER = "parser"
    MODEL = "model"


class Requirement(StrEnum):
    """How much of the lock must hold before the child may start.

    STRICT: namespaces, Landlock and seccomp; or the second full lock, which is seccomp and Landlock
    under another uid or inside a service unit whose network is private.
    REDUCED: seccomp, no new privileges, no capabilities and limits, always; the rest where the host
    has it. The caller records and warns.
    """

    STRICT = "strict"
    REDUCED = "reduced"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """The whole grant to one child.

    Paths must be absolute. `readable` and `writable` may name files or directories; a writable file
    must exist before the start (make it empty), and is readable too. `forbidden` names what must
    stay out of reach (keys, the log): a grant that covers one of them refuses to start. Python's own
    libraries and the system's are always readable. Sizes are in bytes, times in seconds.

    Attributes:
        profile: which system calls are left.
        requirement: what must hold before the child may start.
        readable: data the child may read; never executed, never a library.
        writable: existing files or directories the child may write.
        forbidden: paths that no grant may cover.
        memory: private memory of the child, or None for no limit of ours.
        cpu_seconds: CPU time, or None.
        wall_seconds: time from start to end, or None.
        open_files: highest number of descriptors.
        file_size: the longest file it may write.
        scratch: size of a private, empty home and temp directory; 0 gives none.
        threads: how many threads; 1 means that none can be started.
        environment: variables added to the cleared environment.
        descriptors: further file descriptors it inherits, under their own numbers.
        gpu: let it reach the /dev/nvidia* devices.
        preload: modules to import before system calls are closed, after everything else is.
    """

    profile: Profile
    requirement: Requirement = Requirement.STRICT
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()
    memory: int | None = None
    cpu_seconds: int | None = None
    wall_seconds: float | None = None
    open_files: int = 256
    file_size: int = 0
    scratch: int = 0
    threads: int = 1
    environment: tuple[tuple[str, str], ...] = ()
    descriptors: tuple[int, ...] = ()
    gpu: bool = False
    preload: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for path in (*self.readable, *self.writable, *self.forbidden):
            if not path.startswith("/") or "\0" in path:
                raise ValueError(f"a lock needs absolute paths, not {path!r}")
        for name, _ in self.environment:
            if name in FORBIDDEN_VARIABLES or name.startswith("PYTHON"):
                raise ValueError(f"the lock sets {name} itself; it cannot be changed")
        if self.profile is Profile.PARSER and self.gpu:
            raise ValueError("a parser has no business with a GPU")
        if min(self.open_files, self.threads) < 1 or min(self.file_size, self.scratch) < 0:
            raise ValueError("limits are positive numbers")

    def to_json(self) -> dict[str, object]:
        """Plain values, for the pipe to the child."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> "Lock":
        """The inverse of `to_json`. The pipe is ours, so that a bad value is a bug: ValueError."""
        known = {field.name for field in fields(cls)}
        if set(value) != known:
            raise ValueError(f"not a lock: {sorted(set(value) ^ known)}")
        plain: dict[str, object] = {name: _frozen(item) for name, item in value.items()}
        plain["profile"] = Profile(str(value["profile"]))
        plain["requirement"] = Requirement(str(value["requirement"]))
        return cls(**plain)  # type: ignore[arg-type]  # checked by name above, by value in __post_init__


def _frozen(item: object) -> object:
    """Lists as tuples, at every depth."""
    return tuple(_frozen(part) for part in item) if isinstance(item, list) else item


def parser_lock(
    *,
    readable: Iterable[PathLike] = (),
    writable: Iterable[PathLike] = (),
    forbidden: Iterable[PathLike] = (),
    requirement: Requirement = Requirement.STRICT,
    memory: int = 2048 * MIB,
    cpu_seconds: int | None = None,
    wall_seconds: float = 600.0,
    open_files: int = 256,
    file_size: int = 0,
    threads: int = 1,
    preload: Iterable[str] = (),
) -> Lock:
    """The lock for a job that reads hostile bytes.

    Guarantees no scratch space and, unless `writable` says otherwise, nothing it can write at all.
    """
    return Lock(
        profile=Profile.PARSER,
        requirement=requirement,
        readable=_absolute(readable),
        writable=_absolute(writable),
        forbidden=_absolute(forbidden),
        memory=memory,
        cpu_seconds=cpu_seconds,
        wall_seconds=wall_seconds,
        open_files=open_files,
        file_size=file_size,
        threads=threads,
        preload=tuple(preload),
    )


def model_lock(
    *,
    readable: Iterable[PathLike] = (),
    writable: Iterable[PathLike] = (),
    forbidden: Iterable[PathLike] = (),
    requirement: Requirement = Requirement.STRICT,
    memory: int | None = None,
    cpu_seconds: int | None = None,
    wall_seconds: float | None = None,
    open_files: int = 1024,
    file_size: int | None = None,
    scratch: int = 256 * MIB,
    threads: int | None = None,
    environment: Mapping[str, str] | None = None,
    gpu: bool = False,
    preload: Iterable[str] = (),
) -> Lock:
    """The lock for a child that loads torch and runs a model (or converts, quantises, calibrates).

    Gives a private home and temp directory of `scratch` bytes, threads, and no time limit.
    `file_size` defaults to `scratch`; `threads` to room for several pools of one thread per CPU.
    """
    return Lock(
        profile=Profile.MODEL,
        requirement=requirement,
        readable=_absolute(readable),
        writable=_absolute(writable),
        forbidden=_absolute(forbidden),
        memory=memory,
        cpu_seconds=cpu_seconds,
        wall_seconds=wall_seconds,
        open_files=open_files,
        file_size=scratch if file_size is None else file_size,
        scratch=scratch,
        threads=max(256, 8 * (os.cpu_count() or 1)) if threads is None else threads,
        environment=tuple(sorted((environment or {}).items())),
        gpu=gpu,
        preload=tuple(preload),
    )


def _absolute(paths: Iterable[PathLike]) -> tuple[str, ...]:
    """Absolute spellings, symbolic links kept: the child must find a path under the name it was given."""
    return tuple(str(Path(path).absolute()) for path in paths)

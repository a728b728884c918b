"""From an admitted bundle to a running child: what it may read, how much it may use.

The only way to a worker is `ConfinedLauncher`; there is none that runs a model outside the lock.
"""

import asyncio
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from pratique.admit.admitted import AdmittedBundle
from pratique.confine import (
    Confinement,
    Died,
    Outcome,
    OutOfMemory,
    Requirement,
    describe,
    model_lock,
    start_service,
)
from pratique.core.bundle import MODEL
from pratique.core.foreign import FOREIGN
from pratique.core.ids import RepoId
from pratique.core.load import Limits, LoadSpec, NamedCode, Task, WeightFile
from pratique.fit.memory import KERNELS
from pratique.fit.plan import RungReport
from pratique.serve.own_code import CodeFile

WORKER: Final = "pratique.jobs.worker"
_SIGKILL: Final = 9
_EXIT_WAIT: Final = 30.0
_SPIN: Final = "20000"
"""How long an idle compute thread spins (GNU OpenMP). Spinning on a machine that has other work to do,
the gateway's above all, made this several times slower; not spinning at all costs a wake-up per layer."""
_KERNELS: Final = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")
"""Two caches of the same kernels, the library's and its caller's: one alone keeps them all."""


def worker_environment(*, threads: int, kernels: int = KERNELS) -> dict[str, str]:
    """What a worker's libraries read when they start: threads, and what they may keep in memory."""
    return {
        "OMP_NUM_THREADS": str(threads),
        "GOMP_SPINCOUNT": _SPIN,
        **dict.fromkeys(_KERNELS, str(kernels)),
    }


@dataclass(frozen=True, slots=True)
class Ending:
    """How a child ended. `memory`: it or the kernel says there was not enough."""

    words: str
    memory: bool


class Child(Protocol):
    """A started worker process."""

    pid: int
    confinement: Confinement | None

    async def ended(self) -> Ending:
        """Wait for its end."""
        ...

    async def end(self, grace: float) -> None:
        """End it, by force after `grace` seconds."""
        ...


class Launcher(Protocol):
    """Starts workers."""

    async def launch(self, channel: socket.socket, report: RungReport) -> Child:
        """Start a worker on `channel`, which is taken over."""
        ...


@dataclass(frozen=True, slots=True)
class Model:
    """What the supervisor knows of the model it serves."""

    name: str
    label: str
    bundle_id: str
    directory: Path
    files: tuple[WeightFile, ...]
    remote_code: bool = False
    named_code: tuple[NamedCode, ...] = ()
    variants: tuple[tuple[str, Path, tuple[WeightFile, ...]], ...] = ()
    sealed_copy: bool = False

    @property
    def largest_file(self) -> int:
        """Bytes of the largest file that a rung may load."""
        listed = (self.files, *(files for _, _, files in self.variants))
        return max((file.size for files in listed for file in files), default=0)

    @classmethod
    def of(cls, admitted: AdmittedBundle) -> "Model":
        """Take an admitted bundle's files, by their place under the model's folder."""
        variants = tuple(
            (name, admitted.model_dir.parent / "variants" / name, files)
            for name in admitted.permitted_variants
            if (files := _below(admitted, f"variants/{name}/"))
        )
        return cls(
            name=admitted.name,
            label=admitted.label,
            bundle_id=admitted.bundle_id,
            directory=admitted.model_dir,
            files=_below(admitted, "model/"),
            variants=variants,
        )

    def spec(self, report: RungReport, *, limits: Limits, task: Task) -> LoadSpec:
        """Describe one attempt."""
        directory, files = self.directory, self.files
        for name, folder, listed in self.variants:
            if name == report.rung.variant:
                directory, files = folder, listed
        demand = report.demand
        if demand is not None:
            limits = limits.model_copy(update={"kv_tokens": demand.kv_tokens})
        memory = {} if report.resident is None else {"cpu": max(report.resident, 1)}
        return LoadSpec(
            model_dir=str(directory),
            files=files,
            rung=report.rung,
            limits=limits,
            task=task,
            device=report.device if report.device.startswith("cuda:") else "cpu",
            device_memory=memory,
            remote_code=self.remote_code,
            named_code=self.named_code,
            packed=report.packed,
            sealed_copy=self.sealed_copy,
        )


def named_code(admitted: AdmittedBundle, code: Iterable[CodeFile]) -> tuple[NamedCode, ...]:
    """Of `code`, what the configuration names by a repository, and where the worker finds it."""
    by_repo: dict[RepoId, set[str]] = {}
    for one in code:
        if one.repo is not None and one.file:
            by_repo.setdefault(one.repo, set()).add(one.file)
    folders = {entry.repo: f"{FOREIGN}/{entry.pin.label}" for entry in admitted.document.foreign}
    payload = admitted.model_dir.parent
    return tuple(
        NamedCode(
            repo=repo,
            directory=str(payload / folder),
            files=tuple(f for f in _below(admitted, f"{folder}/") if f.path in paths),
        )
        for repo, paths in sorted(by_repo.items())
        for folder in (folders.get(repo, MODEL),)
    )


def _below(admitted: AdmittedBundle, folder: str) -> tuple[WeightFile, ...]:
    return tuple(
        WeightFile(
            path=file.path.removeprefix(folder),
            size=file.size,
            sha256=file.sha256,
            chunks=tuple(file.chunks),
        )
        for file in admitted.files
        if file.path.startswith(folder)
    )


class ConfinedLauncher:
    """Starts workers inside the lock, able to read the model's files and nothing of the home."""

    def __init__(
        self,
        *,
        readable: tuple[Path, ...],
        forbidden: tuple[Path, ...],
        requirement: Requirement,
        memory: int | None,
        threads: int,
        kernels: int = KERNELS,
        file_size: int | None = None,
    ) -> None:
        """`file_size`: the longest file it may write, for what it copies into sealed memory."""
        self._lock = model_lock(
            readable=readable,
            forbidden=forbidden,
            requirement=requirement,
            memory=memory,
            file_size=file_size,
            environment=worker_environment(threads=threads, kernels=kernels),
        )

    async def launch(self, channel: socket.socket, report: RungReport) -> Child:
        """Start a worker on `channel`. Raises ConfinementError where the lock cannot be closed."""
        lock = self._lock
        if report.device.startswith("cuda"):
            lock = replace(lock, gpu=True)
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[Ending] = loop.create_future()

        def settle(outcome: Outcome) -> None:
            if not ended.done():
                ended.set_result(ending_of(outcome))

        def on_exit(outcome: Outcome) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, outcome)

        service = await asyncio.to_thread(start_service, WORKER, lock, channel, on_exit=on_exit)
        return _ConfinedChild(service.pid, service.confinement, ended, service.terminate)


class _ConfinedChild:
    """A confined worker."""

    def __init__(
        self,
        pid: int,
        confinement: Confinement,
        ended: "asyncio.Future[Ending]",
        terminate: Callable[[float], Outcome],
    ) -> None:
        self.pid = pid
        self.confinement: Confinement | None = confinement
        self._ended = ended
        self._terminate = terminate

    async def ended(self) -> Ending:
        """Wait for its end."""
        return await asyncio.shield(self._ended)

    async def end(self, grace: float) -> None:
        """End it, by force after `grace` seconds."""
        await asyncio.wait_for(asyncio.to_thread(self._terminate, grace), grace + _EXIT_WAIT)


def ending_of(outcome: Outcome) -> Ending:
    """Read a child's end: a SIGKILL that nobody here sent is the kernel short of memory."""
    memory = isinstance(outcome, OutOfMemory) or (
        isinstance(outcome, Died) and outcome.signal == _SIGKILL
    )
    return Ending(describe(outcome), memory)

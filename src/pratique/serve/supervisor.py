"""Keeps one worker alive on the best rung that works. It never loops and never hides a change.

- A worker that cannot load a rung, or is killed by memory while loading, costs that rung: the next
  one is tried, and said.
- A worker that dies after it was ready is started again after a pause that doubles. Dying of memory
  twice costs the rung; dying twice of whatever it is costs packed matrices before that.
- Whoever waits when a worker dies gets an error at once.
- When no rung is left, or workers keep dying without having answered anything, serving ends.
"""

import asyncio
import contextlib
import enum
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from pydantic import BaseModel

from pratique.core.load import Limits, LoadFault, Task
from pratique.core.rungs import Rung
from pratique.core.wire import Loaded, LoadFailed, Stop
from pratique.errors import FormatError, ServeError
from pratique.fit.plan import LoadPlan, RungReport
from pratique.serve.launch import Child, Ending, Launcher, Model
from pratique.serve.worker_link import Ticket, WorkerGone, WorkerLink

_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0
_MOST_CRASHES: Final = 8
_MOST_DEATHS: Final = 2
_CALM_SECONDS: Final = 600.0
_LAST_WORDS: Final = 5.0
_LOOK_SECONDS: Final = 5.0
_LONGEST_SILENCE: Final = 600.0
"""A worker speaks at least every few dozen steps; this long without a word it hangs in a template."""

_FATAL: Final = {
    LoadFault.FILE_MISSING: "a file of the model is missing from the store",
    LoadFault.FILE_CHANGED: "a file of the model is not what was admitted",
    LoadFault.NEEDS_REMOTE_CODE: "the model needs code of its own, which nobody has allowed",
    LoadFault.UNKNOWN_ARCHITECTURE: "the model's architecture is not known to this runtime",
    LoadFault.NO_TOKENIZER: "the model's tokenizer cannot be loaded",
    LoadFault.NO_TASK: "the model does none of the tasks that can be served",
    LoadFault.WEIGHTS_DISAGREE: "weights and configuration do not describe the same model",
    LoadFault.TOKENIZER_DIFFERS: "the loaded tokenizer is not the one that was sealed",
    LoadFault.NO_SEALED_COPY: "this host lets no sealed copy of the files be made in memory",
    LoadFault.BAD_REQUEST: "the worker did not understand what to load",
}
_HINTS: Final = {
    LoadFault.NO_SEALED_COPY: "it needs memfd_create and a /proc of its own: see `pratique doctor`; or "
    'serve from the store (weights = "store", without --in-memory)',
    LoadFault.FILE_MISSING: "run `pratique fsck`, then admit the bundle again",
    LoadFault.FILE_CHANGED: "run `pratique fsck`; somebody wrote to the store",
    LoadFault.NEEDS_REMOTE_CODE: "an allowance must name the repository, the commit and each code file",
}


class State(enum.StrEnum):
    """What the supervisor is doing."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    DRAINING = "draining"
    STOPPED = "stopped"


class Watcher(Protocol):
    """Told what happens, in the order in which it happens."""

    def loaded(self, report: RungReport, loaded: Loaded, child: Child) -> None:
        """A worker is ready."""
        ...

    def ended(self, report: RungReport, loaded: Loaded, peak: int) -> None:
        """A worker that was ready is gone; `peak` is the highest size in bytes that it reported."""
        ...

    def rung_lost(self, report: RungReport, reason: str) -> None:
        """A rung will not be tried again."""
        ...

    def restarting(self, reason: str, seconds: float) -> None:
        """A worker died and is started again after a pause."""
        ...


@dataclass(slots=True)
class _Running:
    report: RungReport
    child: Child
    link: WorkerLink
    loaded: Loaded
    reading: "asyncio.Task[None]"


class Supervisor:
    """Serves one model. `start`, then `run` until `stop`; `ask` in between."""

    def __init__(
        self,
        model: Model,
        plan: LoadPlan,
        launcher: Launcher,
        watcher: Watcher,
        *,
        limits: Limits,
        task: Task = Task.AUTO,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model = model
        self.plan = plan
        self.state = State.STARTING
        self._launcher = launcher
        self._watcher = watcher
        self._limits = limits
        self._task = task
        self._clock = clock
        self._lost: dict[Rung, str] = {}
        self._deaths: dict[Rung, int] = {}
        self._crashes = 0
        self._ready_since = 0.0
        self._answered = False
        self._now: _Running | None = None
        self._stopping = asyncio.Event()
        self._settled = asyncio.Event()
        self.restarts = 0

    # --- for the gateway ------------------------------------------------------------------

    @property
    def loaded(self) -> Loaded:
        """What the worker said of the model. Raises WorkerGone while there is none."""
        if self._now is None:
            raise WorkerGone
        return self._now.loaded

    @property
    def report(self) -> RungReport | None:
        """The rung in use."""
        return self._now.report if self._now else None

    @property
    def link(self) -> WorkerLink | None:
        """The worker's line, while there is one."""
        return self._now.link if self._now else None

    @property
    def pid(self) -> int | None:
        """The worker's process, while there is one."""
        return self._now.child.pid if self._now else None

    async def ask(self, message: BaseModel) -> Ticket:
        """Pass a request to the worker. Raises WorkerGone while there is none."""
        if self._now is None or self.state is not State.READY:
            raise WorkerGone
        return await self._now.link.ask(message)

    async def settled(self) -> None:
        """Wait while a worker is being started; then there is one, or serving has ended."""
        await self._settled.wait()

    def answered(self) -> None:
        """Note that the present worker has answered something: a crash from here on starts afresh."""
        self._answered = True

    # --- life -----------------------------------------------------------------------------

    async def start(self) -> None:
        """Load on the first rung that works. Raises ServeError when none does."""
        while True:
            report = self._next_rung()
            try:
                self._now = await self._attempt(report)
            except _RungFailed as failed:
                self._lose(report, failed.reason)
                continue
            self._settle()
            return

    async def run(self) -> None:
        """Watch the worker and replace it when it dies, until `stop`. Raises ServeError at the end."""
        try:
            await self._run()
        finally:
            self._settled.set()

    async def _run(self) -> None:
        while not self._stopping.is_set():
            now = self._now
            assert now is not None
            await self._until_dead_or_stopped(now)
            if self._stopping.is_set():
                break
            self.state = State.RESTARTING
            self._settled.clear()
            ending = await self._bury(now)
            self._now = None
            if now.link.spoiled:
                raise ServeError(
                    "a file of the model was written to while it was served; serving has ended",
                    hint="run `pratique fsck`; only the store's owner should be able to write there",
                )
            await self._recover(now, ending)

    async def stop(self, *, grace: float = 10.0) -> None:
        """Let what runs finish within `grace` seconds, then end the worker."""
        self.state = State.DRAINING
        self._stopping.set()
        self._settled.set()
        now = self._now
        if now is not None:
            with contextlib.suppress(WorkerGone, asyncio.TimeoutError):
                await now.link.tell(Stop())
                await asyncio.wait_for(now.child.ended(), grace)
            await self._bury(now)
            self._now = None
        self.state = State.STOPPED

    async def _until_dead_or_stopped(self, now: _Running) -> None:
        """Wait; a worker that is silent for too long while somebody waits is hung up on."""
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            while not now.reading.done() and not stopping.done():
                await asyncio.wait(
                    {now.reading, stopping},
                    return_when=asyncio.FIRST_COMPLETED,
                    timeout=_LOOK_SECONDS,
                )
                if now.link.silent_seconds > _LONGEST_SILENCE:
                    now.link.close()
                    break
        finally:
            stopping.cancel()

    async def _bury(self, now: _Running) -> Ending:
        """End the child for certain and return how it ended."""
        now.link.close()
        try:
            ending = await asyncio.wait_for(now.child.ended(), _LAST_WORDS)
        except TimeoutError:
            await now.child.end(0)
            ending = Ending("spoke out of turn and was ended", memory=False)
        await now.reading
        self._watcher.ended(now.report, now.loaded, now.link.beat.bytes_peak)
        return ending

    async def _recover(self, now: _Running, ending: Ending) -> None:
        rung = now.report.rung
        if self._answered or self._clock() - self._ready_since > _CALM_SECONDS:
            self._crashes = 0
        self._crashes += 1
        if ending.memory or now.report.packed:
            deaths = self._deaths[rung] = self._deaths.get(rung, 0) + 1
            helps = now.report.packed or self.plan.after({*self._lost, rung}) is not None
            if deaths >= _MOST_DEATHS and helps:
                self._lose(now.report, f"the worker {ending.words} {deaths} times")
                self._crashes = 0
        if self._crashes > _MOST_CRASHES:
            raise ServeError(
                f"the worker keeps dying ({ending.words}); serving has ended",
                hint="run `pratique doctor` and `pratique fit NAME`",
            )
        seconds = min(_FIRST_PAUSE * 2 ** (self._crashes - 1), _LONGEST_PAUSE)
        self._watcher.restarting(f"the worker {ending.words}", seconds)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        if not self._stopping.is_set():
            await self.start()
            self.restarts += 1

    def _settle(self) -> None:
        assert self._now is not None
        self.state = State.READY
        self._ready_since = self._clock()
        self._answered = False
        self._settled.set()
        self._watcher.loaded(self._now.report, self._now.loaded, self._now.child)

    def _next_rung(self) -> RungReport:
        report = self.plan.after(self._lost)
        if report is None:
            reasons = "; ".join(
                f"{r.rung.value}: {self._lost.get(r.rung, r.reason)}" for r in self.plan.rungs
            )
            raise ServeError(
                f"{self.model.label} cannot be loaded here ({reasons})",
                hint="see `pratique fit` for the numbers; free memory, shorten --context, or seal a variant",
            )
        return report

    def _lose(self, report: RungReport, reason: str) -> None:
        if report.packed:
            self.plan = self.plan.without_packing()
            self._deaths.pop(report.rung, None)
            reason += "; next without packed matrices"
        else:
            self._lost[report.rung] = reason
        self._watcher.rung_lost(report, reason)

    async def _attempt(self, report: RungReport) -> _Running:
        """Start a child and load. Raises _RungFailed, or ServeError where no rung would help."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            child = await self._launcher.launch(theirs, report)
        except BaseException:
            ours.close()
            raise
        link = await WorkerLink.open(ours)
        try:
            answer = await link.load(self.model.spec(report, limits=self._limits, task=self._task))
        except (WorkerGone, FormatError) as error:
            raise await self._died(child, link) from error
        except BaseException:
            link.close()
            await child.end(0)
            raise
        if isinstance(answer, LoadFailed):
            link.close()
            await self._last_words(child)
            raise _refusal(self.model, answer.fault)
        reading = asyncio.create_task(link.run(), name="worker-link")
        return _Running(report, child, link, answer, reading)

    async def _died(self, child: Child, link: WorkerLink) -> "_RungFailed":
        link.close()
        ending = await self._last_words(child)
        return _RungFailed(f"the worker {ending.words}")

    async def _last_words(self, child: Child) -> Ending:
        try:
            return await asyncio.wait_for(child.ended(), _LAST_WORDS)
        except TimeoutError:
            await child.end(0)
            return await child.ended()


class _RungFailed(Exception):
    """This rung does not work here; another may."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _refusal(model: Model, fault: LoadFault) -> Exception:
    if fault is LoadFault.OUT_OF_MEMORY:
        return _RungFailed("the worker ran out of memory")
    if fault is LoadFault.RUNG_UNSUPPORTED:
        return _RungFailed("the model or a library does not support it")
    if fault is LoadFault.INTERNAL:
        return _RungFailed("loading failed")
    return ServeError(
        f"{model.label}: {_FATAL[fault]}",
        hint=_HINTS.get(fault, "see `pratique show` for what was admitted"),
    )

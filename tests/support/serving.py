"""A worker without the lock, and a whole server in a thread: for tests of what is not the lock.

Production code has no way to start a worker outside the lock; this is it, and it stays here.
"""

import asyncio
import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pratique.core.load import Limits, WeightFile
from pratique.core.rungs import Rung
from pratique.core.wire import Loaded
from pratique.fit import Demand, Machine, plan, read_machine, read_shape
from pratique.fit.plan import LoadPlan, RungReport
from pratique.serve.gateway.access import Key
from pratique.serve.gateway.app import Settings
from pratique.serve.launch import Child, Ending, Model, worker_environment
from pratique.serve.server import Listen, bind, run
from pratique.serve.session import Session
from pratique.serve.supervisor import Supervisor

GIB = 2**30
ROOM = replace(read_machine(), total=8 * GIB, free=8 * GIB, limited_by="MemAvailable", cpus=1)


def files_of(directory: Path) -> tuple[WeightFile, ...]:
    """Describe every file of a model directory."""
    return tuple(
        WeightFile(
            path=path.relative_to(directory).as_posix(),
            size=path.stat().st_size,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    )


def model_of(directory: Path) -> Model:
    """Describe a model directory as the supervisor takes it."""
    return Model(
        name=directory.name,
        label=f"{directory.name}@00000000",
        bundle_id="0" * 64,
        directory=directory,
        files=files_of(directory),
    )


class OpenChild:
    """A worker process without a lock."""

    confinement = None

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.pid = process.pid
        self._process = process

    async def ended(self) -> Ending:
        """Wait for its end."""
        code = await self._process.wait()
        return Ending(f"ended with {code}", memory=code in {77, -signal.SIGKILL})

    async def end(self, grace: float) -> None:
        """End it."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), grace)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


class OpenLauncher:
    """Starts the real worker module as an ordinary process; `code` replaces it by a script."""

    def __init__(self, code: str | None = None, *, threads: int = 1) -> None:
        self._threads = threads
        self.code = code or "from pratique.jobs.worker import main"
        self.launched: list[Rung] = []

    async def launch(self, channel: socket.socket, report: RungReport) -> Child:
        """Start a worker on `channel`."""
        self.launched.append(report.rung)
        with channel:
            number = channel.fileno()
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                f"import socket\n{self.code}\nmain(socket.socket(fileno={number}))",
                pass_fds=(number,),
                stdin=subprocess.DEVNULL,
                env={
                    **os.environ,
                    "HF_HUB_OFFLINE": "1",
                    "TRANSFORMERS_OFFLINE": "1",
                    **worker_environment(threads=self._threads),
                },
            )
        return OpenChild(process)


# A worker in miniature: speaks the language, holds no model. A request with `ignore_eos` goes on until
# it is cancelled, another one is answered with "ok" at once.
FAKE_WORKER = """
import os
from pratique.core.load import LoadFault, Task
from pratique.core.wire import *
def hello(channel):
    channel.sendall(encode(Loaded(task=Task.GENERATE, context=1000, vocabulary=9, dtype="float32",
        template=True, seconds_verify=0, seconds_load=0)))
def answer(channel, m):
    if m.op == "tokenize":
        return channel.sendall(encode(TokenIds(id=m.id, ids=(1, 2))))
    channel.sendall(encode(Started(id=m.id, prompt_tokens=3)))
    if m.ignore_eos:
        return channel.sendall(encode(Delta(id=m.id, index=0, text="on")) if m.stream else b"")
    for at in range(m.n):
        channel.sendall(encode(Done(id=m.id, index=at, text="ok", finish=Finish.STOP,
            completion_tokens=3)))
def nothing(*_): pass
def serve(channel, on_load=nothing, on_message=answer):
    frames = Frames()
    while data := channel.recv(65536):
        for body in frames.feed(data):
            m = parse_to_worker(body)
            if m.op == "load":
                on_load(m.spec)
                hello(channel)
            elif m.op == "stop":
                os._exit(0)
            elif m.op != "cancel":
                on_message(channel, m)
def main(channel):
    serve(channel)
"""


@dataclass
class Notes:
    """A watcher and recorder that remembers."""

    events: list[tuple[str, Any]] = field(default_factory=list)
    served_: list[Any] = field(default_factory=list)
    keeps_text: bool = False
    keeps_mark: bool = False
    loads: asyncio.Queue[Rung] = field(default_factory=asyncio.Queue)

    def loaded(self, report: RungReport, loaded: Loaded, child: Child) -> None:
        """Remember a load."""
        self.events.append(("loaded", report.rung))
        self.loads.put_nowait(report.rung)

    def ended(self, report: RungReport, loaded: Loaded, peak: int) -> None:
        """Forget it: what is measured is no concern of these tests."""

    def rung_lost(self, report: RungReport, reason: str) -> None:
        """Remember a lost rung."""
        self.events.append(("lost", (report.rung, reason)))

    def restarting(self, reason: str, seconds: float) -> None:
        """Remember a restart."""
        self.events.append(("restarting", reason))

    def served(self, exchange: Any, *, rung: str) -> None:
        """Remember a request."""
        self.served_.append((exchange, rung))


_TOOLS_PLACE = (
    '{%- if tools %}{{ "<|system|>" }}{% for t in tools %}{{ t.function.name }}{% endfor %}'
    '<tool_call>{"name": …, "arguments": …}</tool_call>{{ "<|end|>" }}{% endif -%}'
)


def with_tools(directory: Path) -> Path:
    """Give a model's template a place for tools."""
    template = directory / "chat_template.jinja"
    template.write_text(_TOOLS_PLACE + template.read_text(encoding="utf-8"), encoding="utf-8")
    return directory


def limits_for(**changes: int) -> Limits:
    """Return small limits."""
    return Limits(
        **{"context": 256, "rows": 8, "kv_tokens": 2048, "threads": 1, **changes}  # type: ignore[arg-type]
    )


def plan_for(directory: Path, limits: Limits, machine: Machine = ROOM) -> LoadPlan:
    """Plan with plenty of memory."""
    demand = Demand(context=limits.context, rows=limits.rows, kv_tokens=limits.kv_tokens)
    return plan(read_shape(directory), machine, demand)


@dataclass
class Served:
    """A running server."""

    url: str
    supervisor: Supervisor
    notes: Notes
    loop: asyncio.AbstractEventLoop
    thread: threading.Thread
    error: BaseException | None = None


@contextlib.contextmanager
def serving(
    directory: Path,
    *,
    limits: Limits | None = None,
    settings: Settings | None = None,
    keys: tuple[Key, ...] = (),
    listen: Listen | None = None,
    launcher: OpenLauncher | None = None,
    notes: Notes | None = None,
    still_admitted: Any = None,
    check_seconds: float = 0.05,
) -> Iterator[Served]:
    """Serve a model directory from a thread; the real gateway, supervisor and worker, without a lock."""
    limits = limits or limits_for()
    listen = listen or Listen(port=0)
    notes = notes or Notes()
    settings = settings or Settings(drain_seconds=5)
    sock = bind(listen, keys)
    ready: threading.Event = threading.Event()
    found: dict[str, Any] = {}

    async def body() -> None:
        supervisor = Supervisor(
            model_of(directory),
            plan_for(directory, limits),
            launcher or OpenLauncher(threads=limits.threads),
            notes,
            limits=limits,
        )
        found["loop"], found["supervisor"] = asyncio.get_running_loop(), supervisor
        found["task"] = asyncio.current_task()

        def on_ready(url: str) -> None:
            found["url"] = url
            ready.set()

        await run(
            supervisor,
            sock,
            listen=listen,
            limits=limits,
            settings=settings,
            keys=keys,
            recorder=notes,
            on_ready=on_ready,
            still_admitted=still_admitted,
            check_seconds=check_seconds,
        )

    def thread() -> None:
        try:
            asyncio.run(body())
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            found["error"] = error
        finally:
            ready.set()

    worker = threading.Thread(target=thread, daemon=True)
    worker.start()
    ready.wait(120)
    if "error" in found:
        worker.join(30)
        raise found["error"]
    served = Served(found["url"], found["supervisor"], notes, found["loop"], worker)
    try:
        yield served
    finally:
        if worker.is_alive():
            found["loop"].call_soon_threadsafe(found["task"].cancel)
        worker.join(30)
        served.error = found.get("error")
        assert not worker.is_alive()


@contextlib.contextmanager
def serving_session(session: Session) -> Iterator[str]:
    """Serve a session, behind its real lock, from a thread; yield the URL."""
    listen = Listen(port=0)
    sock = bind(listen, ())
    found: dict[str, Any] = {}
    ready = threading.Event()

    async def body() -> None:
        found["loop"], found["task"] = asyncio.get_running_loop(), asyncio.current_task()

        def on_ready(url: str) -> None:
            found["url"] = url
            ready.set()

        await run(
            session.supervisor(lambda _: None),
            sock,
            listen=listen,
            limits=session.limits,
            settings=Settings(drain_seconds=5),
            keys=(),
            recorder=session.records,
            on_ready=on_ready,
        )

    def thread() -> None:
        try:
            asyncio.run(body())
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            found["error"] = error
        finally:
            ready.set()

    worker = threading.Thread(target=thread, daemon=True)
    worker.start()
    ready.wait(120)
    if "url" not in found:
        worker.join(30)
        raise found["error"]
    try:
        yield found["url"]
    finally:
        found["loop"].call_soon_threadsafe(found["task"].cancel)
        worker.join(30)
        assert not worker.is_alive()

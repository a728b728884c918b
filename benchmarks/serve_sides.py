"""The sides that benchmarks/serve.py compares, each in a process of its own, with its CPU time.

`Side.cpu()` counts the process and everything below it, so that a busy machine, which stretches wall
time, does not decide a comparison.
"""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pratique.core.wire import Generate  # noqa: E402
from pratique.serve.supervisor import Supervisor  # noqa: E402
from pratique.serve.worker_link import WorkerLink  # noqa: E402
from tests.support import serving  # noqa: E402

_TICKS = os.sysconf("SC_CLK_TCK")
CPUS = len(os.sched_getaffinity(0))
ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1"}


def _stat(pid: int) -> tuple[int, float]:
    """A process's parent, and its CPU seconds with those of its children that have ended."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(words[1]), sum(map(int, words[11:15])) / _TICKS


def cpu_by_process(root: int) -> dict[int, float]:
    """CPU seconds of a process and of each one below it."""
    stats = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                stats[int(entry.name)] = _stat(int(entry.name))
    found = {root}
    while more := {pid for pid, (parent, _) in stats.items() if parent in found} - found:
        found |= more
    return {pid: stats[pid][1] for pid in found if pid in stats}


@dataclass
class Side:
    """A server: `body` are the fields that its requests need besides the common ones."""

    name: str
    url: str
    model: str
    pid: int
    body: dict[str, Any] = field(default_factory=dict)
    rates: list[float] = field(default_factory=list)
    cpu_rates: list[float] = field(default_factory=list)

    def cpu(self) -> float:
        """CPU seconds so far."""
        return sum(cpu_by_process(self.pid).values())

    def gateway_cpu(self) -> float:
        """CPU seconds of the process that holds the socket."""
        return cpu_by_process(self.pid)[self.pid]

    def connect(self) -> http.client.HTTPConnection:
        """Open a connection that can be kept."""
        return http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=600)


def ask(side: Side, connection: http.client.HTTPConnection, request: dict[str, Any]) -> int:
    """Send one chat request and return how many tokens were generated for it."""
    body = json.dumps({"model": side.model, **request, **side.body})
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    data = response.read()
    if response.status != 200:
        raise SystemExit(f"{side.name} answered {response.status}: {data[:300]!r}")
    if not request.get("stream"):
        return int(json.loads(data)["usage"]["completion_tokens"])
    lines = [line for line in data.decode().splitlines() if line.startswith("data: {")]
    for line in reversed(lines):
        if usage := json.loads(line[6:]).get("usage"):
            return int(usage["completion_tokens"])
    raise SystemExit(f"{side.name} said no usage")


@contextlib.contextmanager
def ours(directory: Path, *, rows: int = 32, context: int = 1024) -> Iterator[Side]:
    """Our gateway and worker, as shipped, from a bare directory and without the lock."""
    code = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from tests.support.serving import limits_for, serving
limits = limits_for(context={context}, rows={rows}, kv_tokens={rows * context}, threads={CPUS})
with serving(Path({str(directory)!r}), limits=limits) as served:
    print(served.url, flush=True)
    sys.stdin.read()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip()
        if not url:
            raise SystemExit("our own server did not start")
        body = {"ignore_eos": True}
        yield Side("pratique", url, directory.name, process.pid, body)
    finally:
        process.communicate(timeout=60)


@contextlib.contextmanager
def peer(name: str, directory: Path, path: str, *flags: str, spin: str = "") -> Iterator[Side]:
    """`transformers serve`; `path` holds what it needs and we do not. `spin`: as GOMP_SPINCOUNT."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        str(Path(sys.executable).parent / "transformers"), "serve", str(directory),
        "--host", "127.0.0.1", "--port", str(port), "--device", "cpu", *flags,
    ]  # fmt: skip
    environment = {**ENVIRONMENT, "PYTHONPATH": path}
    if spin:
        environment["GOMP_SPINCOUNT"] = spin
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=said)
        side = Side(name, f"http://127.0.0.1:{port}", str(directory), process.pid)
        try:
            while not _healthy(side):
                if process.poll() is not None:
                    said.seek(0)
                    raise SystemExit(f"{name} did not start:\n{said.read().decode()[-800:]}")
                time.sleep(0.2)
            yield side
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _healthy(side: Side) -> bool:
    try:
        connection = side.connect()
        connection.request("GET", "/health")
        return connection.getresponse().status < 500
    except OSError:
        return False


class Plain:
    """transformers' own `generate` in a process that waits for a line and answers with seconds."""

    def __init__(self, directory: Path, tokens: int, content: str) -> None:
        code = f"""
import sys, time, torch, transformers
torch.set_num_threads({CPUS})
t = transformers.AutoTokenizer.from_pretrained({str(directory)!r})
m = transformers.AutoModelForCausalLM.from_pretrained({str(directory)!r}, dtype="auto").eval()
for line in sys.stdin:
    wall, cpu = time.perf_counter(), time.process_time()
    ids = t.apply_chat_template([{{"role": "user", "content": {content!r}}}],
        add_generation_prompt=True, return_tensors="pt", return_dict=True)
    out = m.generate(**ids, max_new_tokens={tokens}, min_new_tokens={tokens}, do_sample=False)
    t.decode(out[0, ids["input_ids"].shape[1]:], skip_special_tokens=True)
    print(time.perf_counter() - wall, time.process_time() - cpu, flush=True)
"""
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], env=ENVIRONMENT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def once(self) -> tuple[float, float]:
        """Wall and CPU seconds of one answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        wall, cpu = self._process.stdout.readline().split()
        return float(wall), float(cpu)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


class Direct:
    """A worker without a gateway: requests go straight over its socket."""

    def __init__(self, directory: Path, *, rows: int = 32, context: int = 1024) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        limits = serving.limits_for(
            context=context, rows=rows, kv_tokens=rows * context, threads=CPUS
        )
        self._supervisor = Supervisor(
            serving.model_of(directory),
            serving.plan_for(directory, limits),
            serving.OpenLauncher(threads=CPUS),
            serving.Notes(),
            limits=limits,
        )
        self.do(self._supervisor.start())

    @property
    def link(self) -> WorkerLink:
        """The worker's line."""
        assert self._supervisor.link is not None
        return self._supervisor.link

    @property
    def pid(self) -> int:
        """The worker's process."""
        assert self._supervisor.pid is not None
        return self._supervisor.pid

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine where the line lives."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def together(self, requests: list[Generate]) -> float:
        """Ask all at once; return wall seconds."""
        link = self.link

        async def all_of_them() -> None:
            await asyncio.gather(*(_drain(link, request) for request in requests))

        began = time.perf_counter()
        self.do(all_of_them())
        return time.perf_counter() - began

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.do(self._supervisor.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


async def _drain(link: WorkerLink, request: Generate) -> None:
    ticket = await link.ask(request)
    async for _ in ticket:
        pass
    ticket.close()

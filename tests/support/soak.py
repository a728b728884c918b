"""Requests of all kinds while the worker is killed at random: what becomes of each is counted.

The server is a real `pratique serve` in a process of its own; what is killed is found by what it has
mapped. Clients are patient: they ask again after a 503 and after a stream that ends in an error, as
the server tells them to.
"""

import collections
import contextlib
import http.client
import json
import os
import random
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_KINDS = ("chat", "stream", "several", "prompts", "hang_up", "nonsense", "too_long", "tokenize")
_SYSTEM = "You answer for a harbour. " * 12


@dataclass
class Tally:
    """What became of the requests."""

    ended: collections.Counter[str] = field(default_factory=collections.Counter)
    asked_again: int = 0
    kills: int = 0
    outbound: int = 0
    lost: list[str] = field(default_factory=list)


def outbound(pid: int) -> int:
    """Packets that left by any interface but the loopback, in a process's network namespace."""
    total = 0
    for line in Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]:
        name, _, rest = line.partition(":")
        if name.strip() != "lo":
            total += int(rest.split()[9])
    return total


def body_of(kind: str, at: int, model: str) -> tuple[str, dict[str, Any]]:
    """A request's path and body."""
    words = "word " * (at % 40)
    chat = {
        "model": model,
        "messages": [
            {"role": "system", "content": _SYSTEM},
            {"role": "user", "content": f"{at} What is a bundle? {words}"},
        ],
        "max_tokens": 8 + at % 40,
        "seed": at,
        "temperature": (at % 4) / 3,
    }
    match kind:
        case "stream" | "hang_up":
            return "/v1/chat/completions", {**chat, "stream": True, "ignore_eos": True}
        case "several":
            return "/v1/chat/completions", {**chat, "n": 3, "logprobs": True, "top_logprobs": 2}
        case "prompts":
            return "/v1/completions", {
                "model": model, "prompt": ["port", "ship " * 9], "max_tokens": 9
            }  # fmt: skip
        case "nonsense":
            return "/v1/chat/completions", {**chat, "no_such_field": at}
        case "too_long":
            return "/v1/completions", {"model": model, "prompt": "ship " * 30_000}
        case "tokenize":
            return "/tokenize", {"prompt": words}
        case _:
            return "/v1/chat/completions", chat


class Client:
    """Sends one request and insists until it has an answer or an error that is final."""

    def __init__(self, host: str, model: str, tally: Tally, seconds: float = 60.0) -> None:
        self._host = host
        self._model = model
        self._tally = tally
        self._seconds = seconds

    def ask(self, at: int) -> None:
        """Send request number `at`, again after each 503 or broken stream."""
        kind = _KINDS[at % len(_KINDS)]
        until = time.monotonic() + self._seconds
        while time.monotonic() < until:
            try:
                said = self._once(kind, at)
            except (OSError, http.client.HTTPException) as error:
                self._tally.lost.append(f"{kind}: {type(error).__name__}")
                return
            if said not in {"503", "stream error"}:
                self._tally.ended[f"{kind} {said}"] += 1
                return
            self._tally.asked_again += 1
            time.sleep(0.3)  # a patient client: the server says when it will be back
        self._tally.ended[f"{kind} gave up"] += 1

    def _once(self, kind: str, at: int) -> str:
        path, body = body_of(kind, at, self._model)
        connection = http.client.HTTPConnection(self._host, timeout=60)
        with contextlib.closing(connection):
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            if kind == "hang_up" and response.status == 200:
                response.read(50)
                return "hung up"
            data = response.read()
        if response.status != 200 or not body.get("stream"):
            json.loads(data)  # an answer or an error, but whole
            return str(response.status)
        if data.endswith(b"data: [DONE]\n\n"):
            return "200"
        last = json.loads(data.rsplit(b"data: ", 1)[1])
        return "stream error" if "error" in last else "cut off"


def soak(host: str, server: int, *, model: str, count: int, kills: int, seed: int) -> Tally:
    """Send `count` requests and kill the worker at `kills` of them; return what became of them."""
    tally, dice = Tally(), random.Random(seed)
    fatal = {
        at: dice.choice((signal.SIGKILL, signal.SIGSEGV)) for at in dice.sample(range(count), kills)
    }
    one_at_a_time = threading.Lock()
    client = Client(host, model, tally)

    def ask(at: int) -> None:
        if at in fatal:
            with one_at_a_time:
                kill(host, server, fatal[at], tally)
        client.ask(at)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(count)))
    tally.outbound = max(tally.outbound, outbound(server), *map(outbound, workers(server)))
    return tally


def kill(host: str, server: int, number: int, tally: Tally) -> None:
    """Kill the worker once it is ready: one that is killed while loading rightly costs its rung."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if b"\npratique_ready 1\n" in _get(host, "/metrics"):
            for pid in workers(server):
                tally.outbound = max(tally.outbound, outbound(pid))
                os.kill(pid, number)
                tally.kills += 1
            return
        time.sleep(0.1)


def _get(host: str, path: str) -> bytes:
    with contextlib.closing(http.client.HTTPConnection(host, timeout=60)) as connection:
        connection.request("GET", path)
        return connection.getresponse().read()


def workers(parent: int) -> list[int]:
    """Processes that hold a model: those below the server that have torch mapped."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == parent:
            continue
        with contextlib.suppress(OSError):
            if "libtorch" in (entry / "maps").read_text() and _below(int(entry.name), parent):
                found.append(int(entry.name))
    return found


def _below(pid: int, parent: int) -> bool:
    while pid > 1:
        if pid == parent:
            return True
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return False


def held(pid: int) -> tuple[int, int]:
    """Descriptors and resident KiB of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return len(list(Path(f"/proc/{pid}/fd").iterdir())), int(resident.split()[1])

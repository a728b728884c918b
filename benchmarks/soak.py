"""A thousand requests of all kinds while the worker is killed at random: none is lost without an error.

    python benchmarks/soak.py [--requests 1000] [--seed 1]

Runs itself again in a network namespace of its own (where only the loopback exists), so that "nothing
went out" can be counted and not only hoped for: the kernel's counters of every interface but the
loopback must not exist or not move, in the gateway's namespace and in each worker's. The bundle, its
admission, the lock and the ledger are the real ones. Clients hang up, send nonsense, and ask again
after a 503. At the end: what became of each request, the ledger's verification, descriptors and memory
of the gateway before and after.
"""

import argparse
import collections
import contextlib
import ctypes
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

_IN_NAMESPACE = "PRATIQUE_SOAK_APART"
_KINDS = ("chat", "stream", "several", "prompts", "hang_up", "nonsense", "too_long", "tokenize")
_SYSTEM = "You answer for a harbour. " * 12


@dataclass
class Tally:
    """What became of the requests."""

    ended: collections.Counter[str] = field(default_factory=collections.Counter)
    asked_again: int = 0
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
            connection.request(
                "POST", path, json.dumps(body), {"Content-Type": "application/json"}
            )
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


def killer(parent: int, dice: random.Random, over: threading.Event) -> int:
    """Kill the newest worker at random moments; return how often."""
    kills = 0
    while not over.wait(dice.uniform(0.5, 6.0)):
        for pid in workers(parent):
            with contextlib.suppress(OSError):
                os.kill(pid, dice.choice((signal.SIGKILL, signal.SIGSEGV)))
                kills += 1
    return kills


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


def loopback_up() -> None:
    """Bring the loopback up in this namespace (SIOCSIFFLAGS, netdevice(7))."""
    import fcntl
    import socket
    import struct

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, 0x8914, struct.pack("16sh", b"lo", 1))


def prepare(home: Path) -> str:
    """Seal and admit the built-in sample into `home`; return its name."""
    run = [sys.executable, "-m", "pratique", "--home", str(home)]
    del run
    raise NotImplementedError


def main() -> None:
    """Run."""

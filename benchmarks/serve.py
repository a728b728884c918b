"""Tokens per second against `transformers serve` and its continuous batching, in one run on CPU.

    python benchmarks/serve.py [--clients 16] [--rounds 3] [--skip-peers]

The model is a random Llama of about 46 million parameters. Clients send mixed prompt lengths, answer
lengths and sampling settings at once. Our server runs as it is shipped, gateway and worker, but from a
bare directory and without the lock (which costs start-up time only). Peers get the same requests with
what they understand of them. Printed: tokens per second, ratios, one client's latency against
in-process `generate`, and the gateway's share of it.
"""

import argparse
import concurrent.futures
import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import httpx  # noqa: E402

from tests.support import models  # noqa: E402
from tests.support.serving import limits_for, serving  # noqa: E402

SETTINGS = (
    {"temperature": 0},
    {"temperature": 0.8},
    {"temperature": 1.0, "top_p": 0.9},
    {"temperature": 0.7, "top_p": 0.95},
)


def write(folder: Path) -> Path:
    sizes = models.Sizes(
        hidden=512, layers=10, heads=8, kv_heads=4, head_dim=64, intermediate=1536, context=2048
    )
    directory = models.write_model(folder / "m46", "llama", sizes=sizes, padded_rows=32_000 - 384)
    path = directory / "generation_config.json"
    models.write_json(path, {"eos_token_id": None, "pad_token_id": 0})
    return directory


def request(at: int) -> dict[str, Any]:
    words = (4, 24, 64, 120)[at % 4]
    return {
        "messages": [{"role": "user", "content": "ship " * words}],
        "max_tokens": (32, 48, 64, 96)[(at // 4) % 4],
        "seed": at,
        **SETTINGS[at % 4],
    }


def load(ask: Callable[[int], int], clients: int, rounds: int) -> float:
    """Return tokens per second with `clients` requests at once; the best round counts."""
    ask(0)
    rates = []
    for _ in range(rounds):
        began = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(clients) as pool:
            tokens = sum(pool.map(ask, range(clients)))
        rates.append(tokens / (time.perf_counter() - began))
    return max(rates)


def asker(url: str, model: str, *, ours: bool) -> Callable[[int], int]:
    client = httpx.Client(timeout=600)

    def ask(at: int) -> int:
        body = {"model": model, **request(at)}
        if ours:
            body["ignore_eos"] = True
        else:
            # The peer streams only, and calls the seed and the rest by other names.
            body = {k: v for k, v in body.items() if k != "seed"}
            body["stream"] = True
            with client.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
                response.raise_for_status()
                lines = [line for line in response.iter_lines() if line.startswith("data: {")]
            return _tokens(lines, body["max_tokens"])
        response = client.post(f"{url}/v1/chat/completions", json=body)
        response.raise_for_status()
        return int(response.json()["usage"]["completion_tokens"])

    return ask


def _tokens(lines: list[str], most: int) -> int:
    """Count what a peer streamed: its usage if it says so, else its pieces."""
    for line in reversed(lines):
        usage = json.loads(line[6:]).get("usage")
        if usage:
            return int(usage["completion_tokens"])
    return min(len(lines), most)


@contextlib.contextmanager
def peer(directory: Path, extra: str, *flags: str) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        str(Path(sys.executable).parent / "transformers"), "serve", str(directory),
        "--port", str(port), "--device", "cpu", *flags,
    ]  # fmt: skip
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "GOMP_SPINCOUNT": "20000",
        "PYTHONPATH": extra,
    }
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{url}/health", timeout=1).status_code < 500:
                    break
            if process.poll() is not None:
                raise SystemExit(f"the peer ended with {process.returncode}: {command}")
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def in_process(directory: Path, tokens: int, repeats: int) -> float:
    """Seconds of plain generate for one greedy request, in a process of its own."""
    code = f"""
import time, torch, transformers
torch.set_num_threads({len(os.sched_getaffinity(0))})
t = transformers.AutoTokenizer.from_pretrained({str(directory)!r})
m = transformers.AutoModelForCausalLM.from_pretrained({str(directory)!r}, dtype="auto").eval()
text = t.apply_chat_template([{{"role": "user", "content": "ship " * 24}}], tokenize=False, add_generation_prompt=True)
ids = t(text, return_tensors="pt", add_special_tokens=False)
best = 1e9
for _ in range({repeats}):
    began = time.perf_counter()
    m.generate(**ids, max_new_tokens={tokens}, min_new_tokens={tokens}, do_sample=False)
    best = min(best, time.perf_counter() - began)
print(best)
"""
    environment = {**os.environ, "GOMP_SPINCOUNT": "20000"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--skip-peers", action="store_true")
    parser.add_argument(
        "--peer-path",
        default="",
        help="a directory with fastapi, which the peer needs and we do not",
    )
    parser.add_argument("--soak", type=int, metavar="N", help="N requests while workers are killed")
    options = parser.parse_args()
    if options.soak:
        soak(options.soak)
        return
    folder = Path(tempfile.mkdtemp(prefix="pratique-serve-"))
    cpus = len(os.sched_getaffinity(0))
    os.environ["GOMP_SPINCOUNT"] = "20000"
    try:
        directory = write(folder)
        limits = limits_for(context=1024, rows=32, kv_tokens=32 * 1024, threads=cpus)
        with serving(directory, limits=limits) as served:
            ours = load(asker(served.url, "m46", ours=True), options.clients, options.rounds)
            print(f"pratique                          {ours:7.0f} tokens/s", flush=True)
            single, share = latency(served.url)
        plain = in_process(directory, 64, 5)
        print(
            f"one client, 64 tokens: {single:.3f} s; generate: {plain:.3f} s; ratio {single / plain:.2f}"
        )
        print(f"gateway's share of one request: {100 * share:.1f} %", flush=True)
        if options.skip_peers:
            return
        for name, flags in (("plain", ()), ("continuous batching", ("--continuous-batching",))):
            with peer(directory, options.peer_path, *flags) as url:
                theirs = load(
                    asker(url, str(directory), ours=False), options.clients, options.rounds
                )
            print(
                f"transformers serve, {name:<20} {theirs:7.0f} tokens/s, ratio {ours / theirs:.2f}",
                flush=True,
            )
    finally:
        shutil.rmtree(folder)


def soak(count: int) -> None:
    """Kill the worker again and again under load: every request ends, with an answer or an error."""
    import collections
    import signal
    import threading

    folder = Path(tempfile.mkdtemp(prefix="pratique-soak-"))
    directory = models.write_llama(folder / "m46")
    ended: collections.Counter[str] = collections.Counter()
    answers: collections.Counter[str] = collections.Counter()
    kills = 0
    try:
        with serving(directory, limits=limits_for(rows=16, kv_tokens=4096)) as served:
            over = threading.Event()

            def kill() -> None:
                nonlocal kills
                while not over.wait(5.0):
                    if served.supervisor.state == "ready" and (pid := served.supervisor.pid):
                        os.kill(pid, signal.SIGKILL if kills % 2 else signal.SIGSEGV)
                        kills += 1

            killer = threading.Thread(target=kill)
            killer.start()
            client = httpx.Client(timeout=60)

            def ask(at: int) -> None:
                body = {"model": "m46", "prompt": "ship", "max_tokens": 64, "seed": at}
                while True:
                    response = client.post(f"{served.url}/v1/completions", json=body)
                    answers[str(response.status_code)] += 1
                    if response.status_code != 503:
                        break
                    time.sleep(0.5)  # a patient client: the server says when it will be back
                ended[str(response.status_code)] += 1

            with concurrent.futures.ThreadPoolExecutor(16) as pool:
                list(pool.map(ask, range(count)))
            over.set()
            killer.join()
        print(f"{count} requests, {kills} kills: ended {dict(ended)}, ")
        print(f"answers {dict(answers)}, without an answer or an error: {count - ended.total()}")
    finally:
        shutil.rmtree(folder)


def latency(url: str) -> tuple[float, float]:
    """Seconds of one greedy request of 64 tokens, and the part of it that is not the worker's.

    The gateway's part is the time of a request that needs next to nothing of the worker (one token
    of the shortest prompt is all but free), less that token's time.
    """
    body = {
        "model": "m46", "messages": [{"role": "user", "content": "ship " * 24}], "temperature": 0,
        "max_tokens": 64, "ignore_eos": True,
    }  # fmt: skip
    with httpx.Client(timeout=600) as client:

        def once(**more: Any) -> float:
            began = time.perf_counter()
            client.post(f"{url}/v1/chat/completions", json={**body, **more}).raise_for_status()
            return time.perf_counter() - began

        once()
        whole = min(once() for _ in range(5))
        began = time.perf_counter()
        for _ in range(20):
            client.post(f"{url}/tokenize", json={"prompt": "a"}).raise_for_status()
        gateway = (time.perf_counter() - began) / 20
    return whole, gateway / statistics.mean([whole])


if __name__ == "__main__":
    main()

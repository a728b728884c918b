"""Tokens per second against `transformers serve` and its continuous batching, in one run on CPU.

    python benchmarks/serve.py [--clients 16] [--rounds 3] [--peer-path DIR | --skip-peers]

The model is a random Llama of about 48 million parameters in float32. Clients send mixed prompt
lengths, answer lengths and sampling settings at once, each three requests one after the other, all as
streams, and no two prompts of a run begin alike. Our server runs as it is shipped, gateway and worker, but from a bare directory and without
the lock (which costs start-up time only). All sides stay up and take turns, so that a machine that is
busy with other work slows all of them; the medians of the rounds are printed, by the clock and by CPU
time. Then: one client's latency against in-process `generate`, and a request through the gateway
against the same request straight over the worker's socket, again in pairs.

The peer needs fastapi, which we do not: `pip install --no-deps --target DIR fastapi opentelemetry-api
typing-inspection annotated-doc importlib-metadata zipp wrapt`, then `--peer-path DIR`.
"""

import argparse
import concurrent.futures
import contextlib
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from serve_sides import Direct, Plain, Side, ask, ours, peer

from pratique.core.wire import Generate, Sampling
from tests.support import models

SETTINGS = (
    {"temperature": 0},
    {"temperature": 0.8},
    {"temperature": 1.0, "top_p": 0.9},
    {"temperature": 0.7, "top_p": 0.95},
)
ONE = "ship " * 24
ONE_TOKENS = 64


def write(folder: Path) -> Path:
    """Write the model."""
    sizes = models.Sizes(
        hidden=512, layers=10, heads=8, kv_heads=4, head_dim=64, intermediate=1536, context=2048
    )
    directory = models.write_model(
        folder / "m48", "llama", sizes=sizes, padded_rows=32_000 - 384, tied=True
    )
    path = directory / "generation_config.json"
    models.write_json(path, {"eos_token_id": None, "pad_token_id": 0})
    return directory


def request(at: int, turn: int) -> dict[str, Any]:
    """Client number `at`'s request in round `turn`."""
    words = (4, 24, 64, 120)[at % 4]
    return {
        "messages": [{"role": "user", "content": f"{turn}.{at} " + "ship " * words}],
        "max_tokens": (32, 48, 64, 96)[(at // 4) % 4],
        "stream": True,
        "stream_options": {"include_usage": True},
        **SETTINGS[at % 4],
    }


EACH = 3
"""Requests of one client, one after the other: the load stays as it is until the clients are done."""


def load(side: Side, clients: int, turn: int) -> None:
    """Add one round's tokens per second, by the clock and by CPU time."""
    connections = [side.connect() for _ in range(clients)]
    cpu, began = side.cpu(), time.perf_counter()

    def client(at: int) -> int:
        # Long and short answers change places, so that no client has all the long ones.
        numbers = [at + clients * turn + 5 * count for count in range(EACH)]
        return sum(
            ask(side, connections[at], request(n, turn * EACH + i)) for i, n in enumerate(numbers)
        )

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        tokens = sum(pool.map(client, range(clients)))
    side.rates.append(tokens / (time.perf_counter() - began))
    side.cpu_rates.append(tokens / (side.cpu() - cpu))
    for connection in connections:
        connection.close()


def throughput(sides: list[Side], clients: int, rounds: int) -> None:
    """Let the sides take turns; print medians, and ratios round by round."""
    for side in sides:
        ask(side, side.connect(), request(0, -1))
    gateway, whole = sides[0].gateway_cpu(), sides[0].cpu()
    for turn in range(rounds):
        for side in sides:
            load(side, clients, turn)
    gateway, whole = sides[0].gateway_cpu() - gateway, sides[0].cpu() - whole
    for side in sides:
        pairs = zip(sides[0].rates, sides[0].cpu_rates, side.rates, side.cpu_rates, strict=True)
        ratios = [(wall / a, cpu / b) for wall, cpu, a, b in pairs]
        print(
            f"{side.name:<40} {statistics.median(side.rates):6.0f} tokens/s, "
            f"{statistics.median(side.cpu_rates):6.0f} per CPU second; ours are "
            f"{statistics.median(a for a, _ in ratios):.2f} times that, "
            f"{statistics.median(b for _, b in ratios):.2f} by CPU",
            flush=True,
        )
    print(f"the gateway's part of the CPU time at {clients} clients: {100 * gateway / whole:.1f} %")


def latency(side: Side, plain: Plain, pairs: int) -> None:
    """One greedy request of 64 tokens against in-process generate, in turns."""
    connection = side.connect()
    body = {
        "messages": [{"role": "user", "content": ONE}],
        "temperature": 0,
        "max_tokens": ONE_TOKENS,
    }
    plain.once()
    ask(side, connection, body)
    walls, cpus, seconds = [], [], []
    for _ in range(pairs):
        cpu, began = side.cpu(), time.perf_counter()
        ask(side, connection, body)
        mine, mine_cpu = time.perf_counter() - began, side.cpu() - cpu
        connection.close()
        theirs, theirs_cpu = plain.once()
        walls.append(mine / theirs)
        cpus.append(mine_cpu / theirs_cpu)
        seconds.append(mine)
    print(
        f"one client, {ONE_TOKENS} tokens: {statistics.median(seconds):.3f} s; / generate: "
        f"{statistics.median(walls):.2f} by the clock, {statistics.median(cpus):.2f} by CPU",
        flush=True,
    )


def overhead(side: Side, direct: Direct, clients: int, pairs: int) -> None:
    """Through the gateway against straight over the worker's socket, in turns."""
    for count, what in ((1, "one client"), (clients, f"{clients} clients")):
        extra, shares = [], []
        connections = [side.connect() for _ in range(count)]
        for turn in range(pairs + 1):
            bodies = [request(at + 4 if count == 1 else at, 100 + turn) for at in range(count)]
            straight = direct.together([_as_message(body) for body in bodies])
            gateway, whole, began = side.gateway_cpu(), side.cpu(), time.perf_counter()
            with concurrent.futures.ThreadPoolExecutor(count) as pool:
                list(pool.map(lambda pair: ask(side, *pair), zip(connections, bodies, strict=True)))
            for connection in connections:  # the server hangs up on who is idle for long
                connection.close()
            if turn:  # the first is for warming up
                extra.append((time.perf_counter() - began) / straight - 1)
                shares.append((side.gateway_cpu() - gateway) / (side.cpu() - whole))
        print(
            f"the gateway's overhead, {what}: {100 * statistics.median(extra):.1f} % "
            f"(quartiles {', '.join(f'{100 * q:.1f}' for q in statistics.quantiles(extra)[::2])}), "
            f"its part of the CPU time {100 * statistics.median(shares):.1f} %",
            flush=True,
        )


def _as_message(body: dict[str, Any]) -> Generate:
    return Generate(
        id=0,
        messages=tuple(body["messages"]),
        max_tokens=body["max_tokens"],
        stream=True,
        ignore_eos=True,
        sampling=Sampling(temperature=body["temperature"], top_p=body.get("top_p")),
    )


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--skip-peers", action="store_true")
    parser.add_argument("--peer-path", default="", help="a directory with what the peer needs")
    parser.add_argument(
        "--peer-spin",
        default="",
        help="GOMP_SPINCOUNT for the peers; on a busy machine 1000 helps them",
    )
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="pratique-serve-"))
    try:
        directory = write(folder)
        with ours(directory) as side:
            with contextlib.ExitStack() as stack:
                sides = [side]
                if not options.skip_peers:
                    for name, *flags in (
                        ("transformers serve, continuous batching", "--continuous-batching"),
                        ("transformers serve, plain",),
                    ):
                        sides.append(
                            stack.enter_context(
                                peer(
                                    name,
                                    directory,
                                    options.peer_path,
                                    *flags,
                                    spin=options.peer_spin,
                                )
                            )
                        )
                throughput(sides, options.clients, options.rounds)
            with Plain(directory, ONE_TOKENS, ONE) as plain:
                latency(side, plain, options.pairs)
            with Direct(directory) as direct:
                overhead(side, direct, options.clients, options.pairs)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()

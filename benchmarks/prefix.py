"""What keeping prompts gains: time to the first token of a chat whose turns share a long system prompt.

    python benchmarks/prefix.py [--turns 6] [--pairs 3]

Two workers of the same model, one asked within a scope (prompts are kept) and one without; both hold
the same chats, in turns, so that a busy machine slows both. Then sixteen different prompts at once, none
of which begins like another: what looking and keeping cost when they gain nothing.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from serve import request, write
from serve_sides import Direct, cpu_by_process

from pratique.core.wire import Delta, Done, Generate, Sampling, Started

_SYSTEM = tuple(10 + at % 300 for at in range(1200))


async def first_token(direct: Direct, message: Generate) -> tuple[float, int]:
    """Seconds to the first text, and the tokens that were kept."""
    began, cached, seconds = time.perf_counter(), 0, 0.0
    async for answer in await direct.link.ask(message):
        if isinstance(answer, Started):
            cached = answer.cached_tokens
        if isinstance(answer, Delta | Done) and not seconds:
            seconds = time.perf_counter() - began
    return seconds, cached


def turn(chat: int, number: int, scope: int | None) -> Generate:
    """Turn `number` of a chat: the system prompt, and forty tokens for each turn before it."""
    said = tuple(20 + (chat * 7 + at) % 280 for at in range(40 * (number + 1)))
    return Generate(
        id=0, tokens=(*_SYSTEM, *said), max_tokens=8, stream=True, ignore_eos=True, scope=scope,
        sampling=Sampling(temperature=0),
    )  # fmt: skip


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="pratique-prefix-"))
    try:
        directory = write(folder)
        with Direct(directory, context=2048) as kept, Direct(directory, context=2048) as plain:
            chats(kept, plain, options.pairs, options.turns)
            nothing_alike(kept, plain, options.pairs)
    finally:
        shutil.rmtree(folder)


def chats(kept: Direct, plain: Direct, count: int, turns: int) -> None:
    """Hold chats on both workers."""
    found: dict[str, list[tuple[float, float, int]]] = {"first": [], "later": []}
    for chat in range(count):
        for number in range(turns):
            fast, cached = kept.do(first_token(kept, turn(chat, number, 1)))
            slow, _ = plain.do(first_token(plain, turn(chat, number, None)))
            found["later" if chat or number else "first"].append((fast, slow, cached))
    for what, rows in found.items():
        print(
            f"{what:<6} turns: first token after {1000 * statistics.median(r[0] for r in rows):.0f} ms "
            f"with, {1000 * statistics.median(r[1] for r in rows):.0f} ms without; ratio "
            f"{statistics.median(r[1] / r[0] for r in rows):.1f}; kept tokens "
            f"{statistics.median(r[2] for r in rows):.0f} of about {len(_SYSTEM) + 20 * turns}"
        )


def nothing_alike(kept: Direct, plain: Direct, pairs: int) -> None:
    """Sixteen prompts at once that share nothing."""
    walls, cpus = [], []
    for at in range(pairs + 1):
        spent = []
        for direct, scope in ((kept, 1), (plain, None)):
            cpu = sum(cpu_by_process(direct.pid).values())
            wall = direct.together([_message(client, at, scope) for client in range(16)])
            spent.append((wall, sum(cpu_by_process(direct.pid).values()) - cpu))
        if at:
            walls.append(spent[0][0] / spent[1][0])
            cpus.append(spent[0][1] / spent[1][1])
    print(
        f"16 prompts that share nothing, with / without: {statistics.median(walls):.2f} by the clock, "
        f"{statistics.median(cpus):.2f} by CPU"
    )


def _message(client: int, at: int, scope: int | None) -> Generate:
    body = request(client, at)
    return Generate(
        id=0, messages=tuple(body["messages"]), max_tokens=body["max_tokens"], stream=True,
        ignore_eos=True, scope=scope,
        sampling=Sampling(temperature=body["temperature"], top_p=body.get("top_p")),
    )  # fmt: skip


if __name__ == "__main__":
    main()

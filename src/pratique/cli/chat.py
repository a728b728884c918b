"""`pratique chat`: talk to an admitted model in the terminal, through the same lock."""

import contextlib
import importlib
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from pratique.cli.context import Context, pass_context
from pratique.cli.paths import NAME
from pratique.cli.runtime_options import runtime_options, shown, tell, wishes_of
from pratique.errors import UsageError

if TYPE_CHECKING:
    import asyncio

    from pratique.core.wire import Generate
    from pratique.serve.session import Session
    from pratique.serve.supervisor import Supervisor


@click.command(
    epilog="Example:  pratique chat sample      (Ctrl-C stops an answer; Ctrl-D ends; /new starts over)"
)
@click.argument("name", type=NAME)
@click.option("--system", metavar="TEXT", help="What the model is told first.")
@click.option("--max-tokens", type=click.IntRange(1), default=512, show_default=True)
@click.option("--temperature", type=click.FloatRange(0, 2), help="0 takes the likeliest token.")
@runtime_options
@pass_context
def command(
    context: Context,
    *,
    name: str,
    system: str | None,
    max_tokens: int,
    temperature: float | None,
    policy: str,
    rung: str | None,
    context_length: int | None,
    parallel: int | None,
    in_memory: bool,
) -> None:
    """Talk to the admitted model NAME. Nothing of the conversation is kept, unless the policy says so."""
    import asyncio

    from pratique.admit.load import open_admitted
    from pratique.flows.enclave_policy import enclave_policy
    from pratique.serve.session import opened

    home = context.make_home()
    rules = enclave_policy(home, policy)
    admitted = open_admitted(home, name, now=datetime.now(UTC), policy=rules)
    wishes = wishes_of(rung, context_length, parallel or 1, in_memory=in_memory)
    with opened(admitted, home, policy=rules, wishes=wishes) as session:
        asyncio.run(_talk(context, session, system, max_tokens, temperature))


async def _talk(
    context: Context,
    session: "Session",
    system: str | None,
    max_tokens: int,
    temperature: float | None,
) -> None:
    import asyncio

    from pratique.core.wire import Generate, Sampling
    from pratique.serve.answers import started

    supervisor = session.supervisor(tell(context.err))
    first: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    said = list(first)
    async with started(supervisor):
        if not supervisor.loaded.template:
            raise UsageError(
                f"{session.model.label} has no chat template",
                hint="use `pratique generate --raw`",
            )
        with _interrupts() as interrupts:
            while (line := await asyncio.to_thread(_ask)) is not None:
                if line.strip() == "/new":
                    said = list(first)
                    continue
                if not line.strip():
                    continue
                said.append({"role": "user", "content": line})
                request = Generate(
                    id=0,
                    messages=tuple(said),
                    max_tokens=max_tokens,
                    sampling=Sampling(temperature=temperature),
                    stream=True,
                )
                answer = await interrupts.stoppable(_print(session, supervisor, request))
                said.append({"role": "assistant", "content": answer})
    session.records.unloaded("done")


async def _print(
    session: "Session", supervisor: "Supervisor", request: "Generate"
) -> AsyncIterator[str]:
    """Print an answer as it comes, and yield it; nothing in it can steer the terminal."""
    from pratique.serve.answers import pieces

    async for text in pieces(supervisor, request, session.records, route="chat"):
        sys.stdout.write(shown(text))
        sys.stdout.flush()
        yield text


class _Interrupts:
    """What Ctrl-C does: it stops an answer; where nothing is being answered it says how to end."""

    def __init__(self) -> None:
        self._answering: asyncio.Task[None] | None = None

    async def stoppable(self, pieces: AsyncIterator[str]) -> str:
        """Return an answer, or as much of it as came before Ctrl-C."""
        import asyncio

        came: list[str] = []

        async def collect() -> None:
            async for text in pieces:
                came.append(text)  # noqa: PERF401 - what came before Ctrl-C counts

        self._answering = asyncio.create_task(collect())
        try:
            await asyncio.wait({self._answering})
            if not self._answering.cancelled():
                self._answering.result()
        finally:
            self._answering.cancel()
            self._answering = None
        sys.stdout.write("\n")
        return "".join(came)

    def pressed(self) -> None:
        """Take one Ctrl-C."""
        if self._answering is not None:
            self._answering.cancel()
        else:
            sys.stderr.write("\n(Ctrl-D ends the chat)\n")
            sys.stderr.flush()


@contextlib.contextmanager
def _interrupts() -> Iterator[_Interrupts]:
    import asyncio
    import signal

    interrupts = _Interrupts()
    loop = asyncio.get_running_loop()
    taken = sys.stdin.isatty()  # a script that is interrupted ends
    if taken:
        loop.add_signal_handler(signal.SIGINT, interrupts.pressed)
    try:
        yield interrupts
    finally:
        if taken:
            loop.remove_signal_handler(signal.SIGINT)


def _ask() -> str | None:
    """Read a line; None at the end. On a terminal the line can be edited, and earlier ones found."""
    if not sys.stdin.isatty():
        return _line("")
    with contextlib.suppress(ImportError):  # a Python that was built without it
        importlib.import_module("readline")
    return _line("> ")


def _line(prompt: str) -> str | None:
    try:
        return input(prompt)
    except EOFError:
        return None

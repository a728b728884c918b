"""`pratique chat`: talk to an admitted model in the terminal, through the same lock."""

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from pratique.cli.context import Context, pass_context
from pratique.cli.runtime_options import runtime_options, shown, tell, wishes_of
from pratique.errors import UsageError

if TYPE_CHECKING:
    from pratique.serve.session import Session


@click.command(epilog="Example:  pratique chat sample      (end with Ctrl-D; /new starts over)")
@click.argument("name")
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
) -> None:
    """Talk to the admitted model NAME. Nothing of the conversation is kept, unless the policy says so."""
    import asyncio

    from pratique.admit.load import open_admitted
    from pratique.flows.enclave_policy import enclave_policy
    from pratique.serve.session import opened

    home = context.make_home()
    rules = enclave_policy(home, policy)
    admitted = open_admitted(home, name, now=datetime.now(UTC), policy=rules)
    wishes = wishes_of(rung, context_length, parallel or 1)
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
    from pratique.serve.answers import pieces, started

    supervisor = session.supervisor(tell(context.err))
    first: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    said = list(first)
    async with started(supervisor):
        if not supervisor.loaded.template:
            raise UsageError(
                f"{session.model.label} has no chat template",
                hint="use `pratique generate --raw`",
            )
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
            answer = ""
            async for text in pieces(supervisor, request, session.records, route="chat"):
                answer += text
                sys.stdout.write(shown(text))
                sys.stdout.flush()
            sys.stdout.write("\n")
            said.append({"role": "assistant", "content": answer})
    session.records.unloaded("done")


def _ask() -> str | None:
    """Read a line; None at the end."""
    try:
        return input("> " if sys.stdin.isatty() else "")
    except EOFError:
        return None

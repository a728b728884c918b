"""`pratique generate`: one answer, or a JSONL file of them, through the lock and without HTTP."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pratique.cli.context import Context, pass_context
from pratique.cli.paths import FILE, NAME
from pratique.cli.runtime_options import runtime_options, shown, tell, wishes_of
from pratique.errors import ServeError, UsageError

if TYPE_CHECKING:
    from pratique.serve.session import Session


@click.command(epilog='Example:  pratique generate sample --prompt "What is a bundle?"')
@click.argument("name", type=NAME)
@click.option("--prompt", help="The text to answer (under the chat template, if there is one).")
@click.option("--raw", is_flag=True, help="Continue the text as it is, without the chat template.")
@click.option("--max-tokens", type=click.IntRange(1), default=256, show_default=True)
@click.option("--temperature", type=click.FloatRange(0, 2), help="0 takes the likeliest token.")
@click.option("--seed", type=int)
@click.option("--input", "source", type=FILE, help="A JSONL file of requests.")
@click.option("--output", "-o", type=FILE, help="Where answers go; an existing file is resumed.")
@runtime_options
@pass_context
def command(
    context: Context,
    *,
    name: str,
    prompt: str | None,
    raw: bool,
    max_tokens: int,
    temperature: float | None,
    seed: int | None,
    source: Path | None,
    output: Path | None,
    policy: str,
    rung: str | None,
    context_length: int | None,
    parallel: int | None,
    in_memory: bool,
) -> None:
    """Answer one prompt on stdout, or a batch of requests from a JSONL file."""
    import asyncio

    from pratique.admit.load import open_admitted
    from pratique.cli.load_decision import decision_lines
    from pratique.core.wire import Generate, Sampling
    from pratique.flows.enclave_policy import enclave_policy
    from pratique.serve.session import opened

    if (prompt is None) == (source is None) or (source is None) != (output is None):
        raise UsageError("give --prompt TEXT, or both --input FILE and --output FILE")
    home, err = context.make_home(), context.err
    rules = enclave_policy(home, policy)
    admitted = open_admitted(home, name, now=datetime.now(UTC), policy=rules)
    wishes = wishes_of(rung, context_length, parallel, in_memory=in_memory)
    with opened(admitted, home, policy=rules, wishes=wishes) as session:
        if context.verbose:
            for line in decision_lines(session.plan):
                err.print(line, markup=False, soft_wrap=True)
        if source is not None and output is not None:
            asyncio.run(_batch(context, session, source, output))
            return
        request = Generate(
            id=0,
            text=prompt if raw else None,
            messages=None if raw else ({"role": "user", "content": prompt},),
            max_tokens=max_tokens,
            sampling=Sampling(temperature=temperature, seed=seed),
            stream=True,
        )
        asyncio.run(_one(context, session, request))


def _says(context: Context) -> Any:  # noqa: ANN401 - what Session.supervisor takes
    return tell(context.err) if context.verbose else lambda _: None


async def _one(context: Context, session: "Session", request: Any) -> None:  # noqa: ANN401 - a Generate
    from pratique.serve.answers import pieces, started

    supervisor = session.supervisor(_says(context))
    async with started(supervisor):
        if request.messages and not supervisor.loaded.template:
            text = request.messages[0]["content"]
            request = request.model_copy(update={"messages": None, "text": text})
        async for text in pieces(supervisor, request, session.records, route="generate"):
            sys.stdout.write(shown(text) if sys.stdout.isatty() else text)
            sys.stdout.flush()
    sys.stdout.write("\n")
    session.records.unloaded("done")


async def _batch(context: Context, session: "Session", source: Path, output: Path) -> None:
    from rich.progress import Progress

    from pratique.serve.answers import done_already, read_batch, run_batch, started

    total = sum(1 for _ in read_batch(source, session.model.name))
    kept = done_already(output)
    supervisor = session.supervisor(_says(context))
    console = context.err
    with (
        Progress(console=console, transient=True, disable=not console.is_terminal) as bar,
        output.open("a", encoding="utf-8") as out,
    ):
        task = bar.add_task("answering", total=total)
        async with started(supervisor):
            tally = await run_batch(
                supervisor,
                read_batch(source, session.model.name),
                out,
                kept=kept,
                together=session.limits.rows * 2,
                recorder=session.records,
                advance=lambda: bar.advance(task),
            )
    session.records.unloaded("done")
    console.print(
        f"{tally.answered} answered, {tally.kept} kept from before, {tally.refused} refused"
    )
    click.echo(str(output))
    if tally.refused:
        raise ServeError(
            f"{tally.refused} of {total} requests were refused",
            hint=f"see the `error` of their lines in {output}; a second run asks them again",
        )

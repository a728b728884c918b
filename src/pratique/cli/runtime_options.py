"""Options that serve, generate, chat and fit share, and how they tell what happens."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pratique.cli.paths import NAME

if TYPE_CHECKING:
    from rich.console import Console

    from pratique.serve.session import Happening, Wishes

F = TypeVar("F", bound=Callable[..., Any])
RUNGS = ("auto", "device_map", "int8", "nf4", "variant:int8", "variant:nf4")


def runtime_options(function: F) -> F:
    """Add --policy, --rung, --context, --parallel and --in-memory."""
    for option in (
        click.option(
            "--in-memory",
            is_flag=True,
            help="Load from a sealed copy in memory, which no write to the store can reach.",
        ),
        click.option(
            "--parallel", type=click.IntRange(1, 4096), help="Sequences that run together [32]."
        ),
        click.option(
            "--context",
            "context_length",
            type=click.IntRange(16),
            metavar="TOKENS",
            help="Longest prompt plus answer [the model's, at most 4096].",
        ),
        click.option("--rung", type=click.Choice(RUNGS), help="This rung and no other."),
        click.option(
            "--policy", "-p", type=NAME, default="strict", show_default=True, help="Name or file."
        ),
    ):
        function = option(function)
    return function


def _new_key(ctx: click.Context, _param: click.Parameter, name: str | None) -> None:
    if name is None or ctx.resilient_parsing:
        return
    from pratique.serve.gateway.access import new_key

    secret, lines = new_key(name)
    click.echo("the key, shown once; give it to its holder:", err=True)
    click.echo(f"  {secret}", err=True)
    click.echo("for the keys file:", err=True)
    click.echo(lines, nl=False)
    ctx.exit(0)


NEW_KEY = click.option(
    "--new-key",
    metavar="ID",
    is_eager=True,
    expose_value=False,
    callback=_new_key,
    help="Make an API key for ID; prints the lines for the keys file, and ends.",
)


def wishes_of(
    rung: str | None, context_length: int | None, parallel: int | None, *, in_memory: bool
) -> "Wishes":
    """Read the options."""
    from pratique.core.rungs import Rung
    from pratique.serve.session import Wishes

    return Wishes(
        rung=Rung(rung) if rung else None,
        context=context_length,
        rows=parallel,
        sealed_copy=in_memory,
    )


def tell(err: "Console") -> "Callable[[Happening], None]":
    """Return a function that prints what happens to the worker."""

    def say(happening: "Happening") -> None:
        err.print(happening.words, markup=False, soft_wrap=True)
        confinement = happening.confinement
        if confinement is None:
            return
        err.print(f"lock: {confinement.form.value}", markup=False, soft_wrap=True)
        if not confinement.strict:
            for layer in confinement.lacking:
                err.print(f"  lacking: {layer.name} ({layer.detail})", markup=False, soft_wrap=True)

    return say


def shown(text: str) -> str:
    """A model's text must not move the cursor or talk to the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)

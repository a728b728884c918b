"""`pratique demo`: the whole story on the built-in sample, one screen or two."""

import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pratique.cli.context import Context, pass_context
from pratique.cli.paths import FOLDER
from pratique.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from pratique.flows.demo import Begin, Outcome, Story


@click.command(epilog="Example:  pratique demo --keep /tmp/demo   (then look around in it)")
@click.option(
    "--keep",
    type=FOLDER,
    help="Keep everything that was made in this new directory.",
)
@pass_context
def command(context: Context, keep: Path | None) -> None:
    """Walk one model through every room, and two that must not get in.

    A loopback Hub offers three repositories; two people seal and approve one of them; an enclave
    admits it and serves it with no way out; a flipped byte is refused. Needs no network.
    """
    from pratique.confine.probe import probe
    from pratique.flows.demo import Story

    if keep is not None and keep.exists() and any(keep.iterdir()):
        raise UsageError(f"{keep} is not empty", hint="give --keep a new directory")
    folder = keep.absolute() if keep else Path(tempfile.mkdtemp(prefix="pratique-demo-"))
    report = probe()
    story = Story(folder, reduced_lock=not report.strict)
    started = time.monotonic()
    try:
        _tell(context.out, story)
    finally:
        if keep is None:
            _remove(folder)
    out = context.out
    out.print()
    if not report.strict:
        out.print(
            "This host cannot close the whole lock; the demo ran in what holds here:",
            style="yellow",
        )
        why = report.problem or ", ".join(attempt.escape for attempt in report.escaped)
        out.print(f"{why} (pratique doctor says more)", markup=False)
    out.print(
        f"[bold green]The story ended as told[/bold green], in {time.monotonic() - started:.0f} seconds."
    )
    if keep is not None:
        out.print(f"Everything is in {folder}", markup=False)


def _tell(out: "Console", story: "Story") -> None:
    from rich.text import Text

    from pratique.flows.demo import Begin

    chapter = ""
    events = story.tell()
    event = next(events, None)
    while event is not None:
        assert isinstance(event, Begin)  # a step begins before it ends
        if event.chapter != chapter:
            chapter = event.chapter
            out.print()
            out.print(Text(chapter, style="bold"))
        with out.status(Text(f"{event.title} …")):
            outcome = next(events)
        assert not isinstance(outcome, Begin)  # and ends before the next begins
        _print(out, event, outcome)
        event = next(events, None)


def _print(out: "Console", begin: "Begin", outcome: "Outcome") -> None:
    from rich.text import Text

    style = "red" if outcome.refused else "green"
    line = Text("  ✗ refused: " if outcome.refused else "  ✓ ", style=style) + Text(begin.title)
    if outcome.refused:
        line += Text(f" (exit {outcome.exit_code})", style="dim")
    out.print(line + Text(f"  {outcome.seconds:.1f} s", style="dim"))
    out.print(_indented(out, f"$ {begin.command}", "cyan"))
    for text in outcome.lines:
        out.print(_indented(out, text, "" if outcome.refused else "dim"))


def _indented(out: "Console", text: str, style: str) -> "Text":
    """Wrap to the terminal, four columns in; piped output keeps its lines whole."""
    from rich.text import Text

    if not out.is_terminal:
        return Text(f"    {text}", style=style)
    rows = Text(text, style=style).wrap(out, max(20, out.width - 4))
    return Text("\n").join(Text("    ") + row for row in rows)


def _remove(folder: Path) -> None:
    """Remove the demo's directory; the store in it is read-only, so open it first."""
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)

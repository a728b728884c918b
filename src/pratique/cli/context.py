"""What every verb is given: the home directory, two consoles, and one way to print results.

Data goes to stdout, everything else to stderr, so that output can be piped.
"""

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pratique.errors import StorageError

if TYPE_CHECKING:
    from rich.console import Console

_UNBROKEN: Final = 10_000


def default_home() -> Path:
    """PRATIQUE_HOME, else `$XDG_DATA_HOME/pratique`, else `~/.local/share/pratique`."""
    if home := os.environ.get("PRATIQUE_HOME"):
        return Path(home)
    base = os.environ.get("XDG_DATA_HOME") or str(Path("~/.local/share").expanduser())
    return Path(base) / "pratique"


@dataclass(frozen=True, slots=True)
class Context:
    """One invocation. `verbose` counts -v."""

    home: Path = field(default_factory=default_home)
    verbose: int = 0

    def make_home(self) -> Path:
        """Create the home directory (mode 0700) if need be and return it."""
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"cannot create {self.home}: {error.strerror}",
                hint="give another directory with --home or PRATIQUE_HOME",
            ) from error
        return self.home

    @property
    def err(self) -> "Console":
        """Messages and progress bars: stderr. Highlights nothing by itself."""
        from rich.console import Console

        return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())

    @property
    def out(self) -> "Console":
        """Tables for people: stdout. Piped, a row is one line and no digest is broken in two."""
        from rich.console import Console

        piped = not sys.stdout.isatty()
        width = _UNBROKEN if piped and "COLUMNS" not in os.environ else None
        return Console(highlight=False, soft_wrap=piped, width=width)


pass_context = click.make_pass_decorator(Context, ensure=True)


def print_json(command: str, value: dict[str, object]) -> None:
    """Print `{"schema":"pratique.COMMAND/v1", …}` on one line of stdout."""
    click.echo(json.dumps({"schema": f"pratique.{command}/v1", **value}, ensure_ascii=True))

"""Paths and names on the command line. An empty one is a mistake, and never the current directory.

`Path("")` is `.`: an unset variable in a script (`pratique vet "$DIR"`) would judge, sign or write
something that nobody meant.
"""

import os
from pathlib import Path
from typing import Final

import click

_EMPTY: Final = "it is empty, and an empty name names nothing."


class _GivenPath(click.Path[Path]):
    """A path that names something; one that is a file's does not end in a slash."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Path:
        text = os.fspath(value)
        if not text:
            self.fail(_EMPTY, param, ctx)
        if not self.dir_okay and text.endswith("/"):
            self.fail(f"{text} is the name of a folder, and a file is meant.", param, ctx)
        return super().convert(value, param, ctx)


class _GivenName(click.ParamType[str]):
    """Text that names something: a model, a bundle, a policy."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return value or self.fail(_EMPTY, param, ctx)


def existing_path(*, file_okay: bool = True) -> click.ParamType[Path]:
    """What must be there already."""
    return _GivenPath(path_type=Path, exists=True, file_okay=file_okay)


PATH: Final = _GivenPath(path_type=Path)
FILE: Final = _GivenPath(path_type=Path, dir_okay=False)
FOLDER: Final = _GivenPath(path_type=Path, file_okay=False)
NAME: Final = _GivenName()

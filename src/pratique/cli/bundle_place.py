"""Where what a verb makes goes: `-o` of the verbs that make a bundle or a page."""

from pathlib import Path
from typing import Final

import click

from pratique.cli.paths import PATH
from pratique.errors import StorageError

BUNDLE_PLACE_HELP: Final = (
    "The bundle's own path, whatever it is called; or a folder for it: one that exists, or ends "
    "in / and is made  [.]."
)


class _Place(click.ParamType[Path]):
    """A path. One that ends in a slash is a folder, and is made: Path would forget the slash."""

    name = "path"

    def convert(
        self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        place = PATH.convert(value, param, ctx)
        if isinstance(value, str) and value.endswith("/"):
            try:
                place.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StorageError(
                    f"cannot make the folder {place}: {error.strerror}",
                    hint="give another place with -o",
                ) from error
        return place


PLACE: Final = _Place()

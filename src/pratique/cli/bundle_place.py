"""Where a bundle goes: `-o` of the verbs that make one."""

from pathlib import Path
from typing import Final

import click

from pratique.errors import StorageError

BUNDLE_PLACE_HELP: Final = "The bundle, or a folder for it (made where it ends in /)  [.]."


class _BundlePlace(click.ParamType[Path]):
    """A path. One that ends in a slash is a folder, and is made: Path would forget the slash."""

    name = "path"

    def convert(
        self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        del param, ctx
        place = Path(value)
        if isinstance(value, str) and value.endswith("/"):
            try:
                place.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StorageError(
                    f"cannot make the folder {place}: {error.strerror}",
                    hint="give another place with -o",
                ) from error
        return place


BUNDLE_PLACE: Final = _BundlePlace()

"""Where what a verb makes goes: `-o` of the verbs that make a bundle or a page."""

from pathlib import Path
from typing import Final

import click

from pratique.cli.paths import PATH
from pratique.errors import StorageError

BUNDLE_PLACE_HELP: Final = (
    "The bundle's own path, whatever it is called; or a folder for it: one that exists, or ends "
    "in / (and not in .bundle/) and is made  [.]."
)


class _Place(click.ParamType[Path]):
    """A path. One that ends in a slash is a folder, and is made: Path would forget the slash.

    `bundles`: what ends in .bundle is a bundle's own path all the same.
    """

    name = "path"

    def __init__(self, *, bundles: bool = False) -> None:
        self._bundles = bundles

    def convert(
        self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        from pratique.core.bundle import SUFFIX

        place = PATH.convert(value, param, ctx)
        own_path = self._bundles and place.suffix == SUFFIX
        if isinstance(value, str) and value.endswith("/") and not own_path:
            _make(place)
        return place


def _make(place: Path) -> None:
    from pratique.seal.staging import refuse_inside_bundle

    try:
        if not place.exists():
            refuse_inside_bundle(place.parent)
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"cannot make the folder {place}: {error.strerror}",
            hint="give another place with -o",
        ) from error


PLACE: Final = _Place()
BUNDLE_PLACE: Final = _Place(bundles=True)

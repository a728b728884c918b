"""How the verbs that ask a Hub reach it: `fetch`, `lock` and `build` take the same options."""

from collections.abc import Callable
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict, TypeVar

import click

from pratique.cli.paths import PATH

if TYPE_CHECKING:
    from pratique.fetch.session import Tls

_LONGEST: Final = 3600
F = TypeVar("F", bound=Callable[..., Any])


class Access(TypedDict):
    """The options' values."""

    ca: Path | None
    cert: Path | None
    cert_key: Path | None
    timeout: float


class _Seconds(click.FloatRange):
    """`FloatRange` lets not-a-number through: it is neither too small nor too large."""

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click has it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> float:
        found: float = super().convert(value, param, ctx)
        return self.fail(f"{value} is not a number.", param, ctx) if isnan(found) else found


_OPTIONS: Final = (
    click.option("--ca", type=PATH, help="PEM file of your network's own CA  [SSL_CERT_FILE]."),
    click.option("--cert", type=PATH, help="PEM file of the client certificate for mutual TLS."),
    click.option("--cert-key", type=PATH, help="Its private key, if it is in another file."),
    click.option(
        "--timeout",
        type=_Seconds(1, _LONGEST),
        default=60.0,
        show_default=True,
        help="Longest silence of the server, in seconds.",
    ),
)


def access_options(command: F) -> F:
    """Add the options to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def tls_of(access: Access) -> "Tls":
    """Return the CA and certificate that were given."""
    from pratique.fetch.session import Tls

    return Tls(access["ca"], access["cert"], access["cert_key"])

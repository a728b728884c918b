"""Options that several `pratique trust` commands share, and the signers that they name."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pratique.cli.paths import FILE, FOLDER

if TYPE_CHECKING:
    from pratique.attest.keys import Signer

DIR_ARGUMENT = click.argument("directory", metavar="DIR", type=FOLDER)
JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
KEYS_OPTION = click.option(
    "--key",
    "keys",
    multiple=True,
    type=FILE,
    help="Private key (or pkcs11: URI) to sign with; may be given several times.",
)
PASSWORD_OPTION = click.option(
    "--password-file",
    type=FILE,
    help="Password of encrypted keys; otherwise it is asked for.",
)
ADMINS_OPTION = click.option(
    "--admin", "admins", multiple=True, metavar="[NAME=]FILE.pub", help="Who may change the root."
)
ADMIN_THRESHOLD_OPTION = click.option(
    "--admin-threshold", type=click.IntRange(1), help="How many of them a change takes."
)
REVOKERS_OPTION = click.option(
    "--revoker",
    "revokers",
    multiple=True,
    metavar="[NAME=]FILE.pub",
    help="Who, outside the enclave, may revoke and nothing else.",
)


def role_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add --vetter, --approver and --runtime."""
    for role, does in (
        ("runtime", "may sign bundles that carry the tool itself"),
        ("approver", "may approve"),
        ("vetter", "may vet and seal"),
    ):
        function = click.option(
            f"--{role}",
            f"{role}s",
            multiple=True,
            metavar="[NAME=]FILE.pub",
            help=f"Somebody who {does}; may be given several times.",
        )(function)
    return function


def now() -> datetime:
    """The time, in whole seconds UTC."""
    return datetime.now(UTC).replace(microsecond=0)


def load_signers(paths: Sequence[Path], password_file: Path | None) -> list["Signer"]:
    """Load the keys, asking for the password of each encrypted one."""
    from pratique.attest.hsm import SCHEME, load_hsm_signer
    from pratique.attest.keys import load_signer
    from pratique.cli.key_password import password_prompt

    return [
        load_hsm_signer(str(path), password_prompt(path, password_file))
        if str(path).startswith(SCHEME)
        else load_signer(path, password_prompt(path, password_file))
        for path in paths
    ]

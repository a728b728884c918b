"""Where the password of an encrypted key comes from: a file, or the person at the terminal."""

import sys
from collections.abc import Callable
from pathlib import Path

import click

from pratique.errors import SealError

MAX_PASSWORD_BYTES = 4096


def password_prompt(key: Path, password_file: Path | None) -> Callable[[], bytes] | None:
    """Return what asks for the password of `key`, or None where nobody can be asked."""
    if password_file is not None:
        return lambda: _read(password_file)
    if sys.stdin.isatty():
        return lambda: str(click.prompt(f"password of {key}", hide_input=True, err=True)).encode()
    return None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            password = file.read(MAX_PASSWORD_BYTES).rstrip(b"\r\n")
    except OSError as error:
        raise SealError(
            f"cannot read the password file {path}: {error.strerror}", hint="check --password-file"
        ) from error
    if not password:
        raise SealError(f"the password file {path} is empty", hint="check --password-file")
    return password

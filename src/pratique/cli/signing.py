"""The options of every verb that signs: a key file, a token, a certificate, or an identity token.

The signer is opened late, when nothing hostile is parsed any more; what can be seen to be wrong
without opening it is refused early.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from pratique.cli.paths import NAME, PATH
from pratique.errors import SealError

if TYPE_CHECKING:
    from pratique.attest.keys import Signer
    from pratique.attest.sign import SignsStatements

R = TypeVar("R")

_OPTIONS = (
    click.option(
        "--key",
        type=NAME,
        metavar="FILE|URI",
        help="Private key (`pratique keys new`), or a pkcs11: URI.",
    ),
    click.option(
        "--password-file", type=PATH, help="Holds the key's password or PIN; else it is asked for."
    ),
    click.option("--certificate", type=PATH, help="PEM chain for the key, leaf first."),
    click.option(
        "--timestamp-url", metavar="URL", help="RFC 3161 authority to date the signature."
    ),
    click.option("--identity-token", type=PATH, help="OpenID token: sign with Sigstore, no key."),
    click.option("--sigstore-config", type=PATH, help="Sigstore instance [the public one]."),
)


@dataclass(frozen=True, slots=True)
class Signing:
    """What a person said they sign with. Nothing is opened yet."""

    key: str | None
    password_file: Path | None
    certificate: Path | None
    timestamp_url: str | None
    identity_token: Path | None
    sigstore_config: Path | None

    @property
    def given(self) -> bool:
        """Whether there is anything to sign with."""
        return self.key is not None or self.identity_token is not None

    def check(self) -> None:
        """Raise SealError for what is missing, before minutes are spent on vetting."""
        from pratique.attest.hsm import SCHEME

        if not self.given:
            raise SealError(
                "no key was given", hint="make one with `pratique keys new`, then --key FILE"
            )
        key = None if self.key is None or self.key.startswith(SCHEME) else Path(self.key)
        for path in (key, self.certificate, self.identity_token, self.sigstore_config):
            if path is not None and not path.is_file():
                raise SealError(
                    f"there is no file {path}", hint="check what was given to sign with"
                )

    def open(self) -> "Signer | SignsStatements":
        """Open the signer, asking for a password if it takes one. Raises SealError."""
        from pratique.attest.signers import SigningOptions, open_signer
        from pratique.cli.key_password import password_prompt

        options = SigningOptions(
            key=self.key,
            certificates=self.certificate,
            timestamp_url=self.timestamp_url,
            identity_token=self.identity_token,
            sigstore_config=self.sigstore_config,
        )
        return open_signer(options, password_prompt(Path(self.key or "key"), self.password_file))


def signing_options(function: Callable[..., R]) -> Callable[..., R]:
    """Give a command the options above; it receives them as one `signing`."""

    @functools.wraps(function)
    def command(
        *args: object,
        key: str | None,
        password_file: Path | None,
        certificate: Path | None,
        timestamp_url: str | None,
        identity_token: Path | None,
        sigstore_config: Path | None,
        **rest: object,
    ) -> R:
        signing = Signing(
            key=key,
            password_file=password_file,
            certificate=certificate,
            timestamp_url=timestamp_url,
            identity_token=identity_token,
            sigstore_config=sigstore_config,
        )
        return function(*args, signing=signing, **rest)

    wrapped: Callable[..., R] = command
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped

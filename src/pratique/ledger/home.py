"""The log of a home directory: who holds its key, and where its checkpoints are copied.

`HOME/ledger.toml` is optional and strict: an unknown word in it is refused, so that a misspelt copy
does not go missing in silence.

    checkpoint_events = 1024        # sign after so many events,
    checkpoint_seconds = 60         # or, with the next event, after so many seconds
    segment_mib = 4                 # begin another file after so much
    copy_directories = ["/mnt/witness"]
    copy_commands = [["/usr/local/bin/post-checkpoint"]]   # gets the note on its standard input
"""

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pratique.errors import FormatError, UnreadableInput
from pratique.ledger.copies import CheckpointCopy, CommandCopy, DirectoryCopy
from pratique.ledger.ledger import Ledger, Settings
from pratique.ledger.signer import key_signer
from pratique.ledger.signer_process import start_signer

_MAX_BYTES: Final = 65_536
_Text = Annotated[str, Field(min_length=1, max_length=4096)]


class Configuration(BaseModel):
    """What `ledger.toml` may say."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    checkpoint_events: int = Field(default=1024, ge=1, le=65_536)
    checkpoint_seconds: float = Field(default=60.0, ge=0, le=86_400, allow_inf_nan=False)
    segment_mib: int = Field(default=4, ge=1, le=1024)
    copy_directories: list[_Text] = Field(default=[], max_length=8)
    copy_commands: list[Annotated[list[_Text], Field(min_length=1, max_length=32)]] = Field(
        default=[], max_length=8
    )

    def settings(self) -> Settings:
        """What the writer keeps to."""
        return Settings(
            checkpoint_events=self.checkpoint_events,
            checkpoint_seconds=self.checkpoint_seconds,
            segment_bytes=self.segment_mib * 2**20,
        )

    def copies(self) -> list[CheckpointCopy]:
        """Where checkpoints are copied."""
        return [
            *(DirectoryCopy(Path(path)) for path in self.copy_directories),
            *(CommandCopy(tuple(argv)) for argv in self.copy_commands),
        ]


def configuration(home: Path) -> Configuration:
    """Read `HOME/ledger.toml`; the defaults where there is none. Raises FormatError."""
    path = home / "ledger.toml"
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return Configuration()
    except OSError as error:
        raise UnreadableInput(f"cannot read {path}: {error.strerror}") from error
    try:
        if len(data) > _MAX_BYTES:
            raise ValueError("too long")
        return Configuration.model_validate(tomllib.loads(data.decode("utf-8")))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise FormatError(
            f"ledger.toml: {where}: {first['msg']}", hint="see docs/ledger.md for what it may say"
        ) from error
    except (ValueError, RecursionError) as error:
        raise FormatError("ledger.toml is not TOML", hint=f"look at {path}") from error


def open_ledger(home: Path) -> Ledger:
    """Open the log of a home directory: `ledger/`, signed with `keys/ledger.key` (made if absent).

    This process then holds the key: for commands. What listens on a network uses
    `open_ledger_apart`.
    """
    chosen = configuration(home)
    return Ledger.open(
        home / "ledger",
        key_signer(home / "keys" / "ledger.key"),
        settings=chosen.settings(),
        copies=chosen.copies(),
    )


@contextmanager
def open_ledger_apart(home: Path) -> Iterator[Ledger]:
    """Open the same log, while a process of its own holds the key and signs. Closes both."""
    chosen = configuration(home)
    with (
        start_signer(home / "keys" / "ledger.key") as signer,
        Ledger.open(
            home / "ledger", signer, settings=chosen.settings(), copies=chosen.copies()
        ) as ledger,
    ):
        yield ledger

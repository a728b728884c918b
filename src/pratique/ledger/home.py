"""The log of a home directory, and who holds its key: this process, or one of its own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pratique.ledger.copies import CheckpointCopy
from pratique.ledger.ledger import Ledger, Settings
from pratique.ledger.signer import key_signer
from pratique.ledger.signer_process import start_signer


def open_ledger(
    home: Path, *, settings: Settings | None = None, copies: Sequence[CheckpointCopy] = ()
) -> Ledger:
    """Open the log of a home directory: `ledger/`, signed with `keys/ledger.key` (made if absent).

    This process then holds the key: for commands. What listens on a network uses
    `open_ledger_apart`.
    """
    signer = key_signer(home / "keys" / "ledger.key")
    return Ledger.open(home / "ledger", signer, settings=settings, copies=copies)


@contextmanager
def open_ledger_apart(
    home: Path, *, settings: Settings | None = None, copies: Sequence[CheckpointCopy] = ()
) -> Iterator[Ledger]:
    """Open the same log, while a process of its own holds the key and signs. Closes both."""
    with (
        start_signer(home / "keys" / "ledger.key") as signer,
        Ledger.open(home / "ledger", signer, settings=settings, copies=copies) as ledger,
    ):
        yield ledger

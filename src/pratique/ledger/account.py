"""Who did it, as far as the host can say."""

import getpass
import os

from pratique.ledger.events import Line


def who() -> Line:
    """Return the name of the account that runs this process: an aid to memory, not a proof."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = ""
    printable = "".join(c for c in name if c.isprintable())[:64]
    return Line(f"{printable or 'uid'} ({os.getuid()})")

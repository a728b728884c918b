"""The log of use: append-only lines under a Merkle tree, with signed checkpoints.

What others need: `open_ledger(home)` for commands, `open_ledger_apart(home)` for what listens on a
network, and the event types of `pratique.ledger.events`.
"""

from pratique.ledger.home import open_ledger, open_ledger_apart
from pratique.ledger.ledger import Ledger, Settings

__all__ = ["Ledger", "Settings", "open_ledger", "open_ledger_apart"]

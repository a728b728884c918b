"""The log of use: append-only lines under a Merkle tree, with signed checkpoints.

What others need: `open_ledger(home)` or `Ledger.open(directory, signer)`, and the event types of
`pratique.ledger.events`.
"""

from pratique.ledger.ledger import Ledger, Settings, open_ledger

__all__ = ["Ledger", "Settings", "open_ledger"]

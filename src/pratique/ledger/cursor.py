"""Following a log line by line: number, link and tree must continue, or the log is broken here."""

from dataclasses import dataclass

from pratique.errors import FormatError
from pratique.ledger.merkle import Frontier, leaf_hash
from pratique.ledger.record import Chain, Record, parse


class Broken(Exception):
    """The log does not continue. `at` is the number of the event that was tampered with."""

    def __init__(self, at: int, why: str) -> None:
        super().__init__(f"event {at}: {why}")
        self.at = at
        self.why = why


@dataclass(slots=True)
class Cursor:
    """Where the reading stands: the tree over all events so far, and the last one's fingerprint.

    `previous` is None where the event before is no longer there (retention): then the next event's
    link is taken as it is, and the tree alone vouches for it.
    """

    chain: Chain
    tree: Frontier
    previous: str | None

    def take(self, line: bytes) -> tuple[Record, bytes]:
        """Read the next line; return its record and leaf hash. Raises Broken, and does not move."""
        number = self.tree.size
        try:
            record = parse(line, self.chain)
        except FormatError as error:
            raise Broken(number, error.message) from error
        if record.number != number:
            raise Broken(number, f"event {record.number} stands in its place")
        if self.previous is not None and record.previous != self.previous:
            # The line itself is whole; so it is the one before that was exchanged.
            raise Broken(max(number - 1, 0), "it is not the event that the next one names")
        leaf = leaf_hash(line)
        self.tree.append(leaf)
        self.previous = record.fingerprint
        return record, leaf

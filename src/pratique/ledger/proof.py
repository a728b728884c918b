"""One event's proof, as a file that travels: the line, its place, the path, the signed checkpoint.

The file is JSON of schema `pratique.ledger.proof/v1`. Whoever has the log's key (one line of text) can
check it with `offline_verifier.py` alone: no log, no network, no pratique. It shows that this very
line is event N of a log of which that key signed the root; it shows nothing about other events.
"""

from typing import Final

from pratique.errors import LedgerNotIntact, UsageError
from pratique.ledger.cursor import Broken, Cursor
from pratique.ledger.folder import Folder, lines
from pratique.ledger.merkle import Frontier, inclusion_proof, subtrees, verify_inclusion
from pratique.ledger.note import Checkpoint
from pratique.ledger.record import Chain

SCHEMA: Final = "pratique.ledger.proof/v1"


def prove(folder: Folder, number: int) -> dict[str, object]:
    """Return the proof of event `number` under the newest checkpoint here.

    Reads every event that is here. Raises UsageError if there is no such sealed event, and
    LedgerNotIntact if the log does not lead to its signed root: then nothing is proved.
    """
    key = folder.key()
    sizes = folder.checkpoint_sizes()
    newest = folder.open_checkpoint(sizes[-1], key) if sizes else Checkpoint(key.name, 0, b"")
    if not 0 <= number < newest.size:
        raise UsageError(
            f"event {number} is not among the {newest.size} events that are sealed",
            hint="numbers begin at 0; `pratique log checkpoint` seals what was written since",
        )
    base, line, leaves = _read(folder, Chain(key.name, key.key_id.hex()), number, newest.size)
    if line is None:
        raise UsageError(
            f"event {number} is no longer here: its segment was deleted by retention",
            hint="the checkpoint that covers it is kept; the event is in your export or backup",
        )
    path = inclusion_proof(subtrees(base, leaves), number, newest.size)
    leaf = leaves[number - base.size]
    if not verify_inclusion(leaf, number, newest.size, path, newest.root):
        raise LedgerNotIntact(
            "the log does not lead to its signed root, so nothing can be proved",
            hint="run `pratique log verify`",
        )
    return {
        "schema": SCHEMA,
        "number": number,
        "event": line.decode("utf-8"),
        "path": [step.hex() for step in path],
        "checkpoint": folder.note(newest.size).decode("utf-8"),
        "key": key.vkey(),
    }


def _read(
    folder: Folder, chain: Chain, number: int, size: int
) -> tuple[Frontier, bytes | None, list[bytes]]:
    """Return the tree before the first event that is here, the line sought, all leaf hashes."""
    segments = folder.segments()
    if not segments:
        raise LedgerNotIntact("the log has no events left", hint="run `pratique log verify`")
    base, _ = folder.base(segments[0])
    cursor = Cursor(chain, base.copy(), None)
    sought: bytes | None = None
    leaves: list[bytes] = []
    for segment in segments:
        for line, whole in lines(segment.path):
            if not whole or cursor.tree.size >= size:
                return base, sought, leaves
            if cursor.tree.size == number:
                sought = line
            try:
                leaves.append(cursor.take(line)[1])
            except Broken as error:
                raise LedgerNotIntact(
                    f"the log was edited at event {error.at}: {error.why}",
                    hint="run `pratique log verify`",
                ) from error
    return base, sought, leaves

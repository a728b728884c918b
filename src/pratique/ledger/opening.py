"""What a writer looks at before its first word: does the log continue its last signed checkpoint?

Reads the last checkpoint and the last segment only; older segments are sealed and are for
`log verify`. Refuses (`LedgerNotIntact`) a log that is shorter than its checkpoint, that has another
key, or whose last segment does not lead to the signed root.
"""

from dataclasses import dataclass
from typing import Final

from pratique.errors import FormatError, LedgerNotIntact, VerificationRefused
from pratique.ledger.cursor import Broken, Cursor
from pratique.ledger.events import Rotation
from pratique.ledger.folder import Folder, Segment, lines, write_new
from pratique.ledger.merkle import Frontier
from pratique.ledger.note import Checkpoint, LogKey
from pratique.ledger.record import Chain

_EVIDENCE: Final = "keep the files as they are and run `pratique log verify`"


@dataclass(frozen=True, slots=True)
class Opened:
    """Where to go on writing.

    `note` is the last checkpoint (None: a new log) and `signed_peaks` its tree; `unsigned` are the
    leaf hashes after it. `offset` is the end of the last whole line of `segment`; `rotated` says that
    this line ended the segment, and that the next was not begun.
    """

    cursor: Cursor
    segment: Segment
    offset: int
    note: bytes | None
    signed_peaks: tuple[bytes, ...]
    unsigned: list[bytes]
    rotated: bool


def look_before_writing(folder: Folder, key: LogKey, chain: Chain) -> Opened:
    """Read where a log stands, with the lock held. Raises LedgerNotIntact if it cannot go on."""
    segments, sizes = folder.segments(), folder.checkpoint_sizes()
    _claim(folder, key, begun=bool(segments or any(sizes)))
    if not segments and not any(sizes):
        return Opened(
            Cursor(chain, Frontier(), ""), folder.segment(0), 0, None, (), [], rotated=False
        )
    if not sizes:
        raise LedgerNotIntact("the log has events and no checkpoint", hint=_EVIDENCE)
    newest = _checkpoint(folder, sizes[-1], key)
    if not segments:
        raise LedgerNotIntact(
            f"the log was cut: {newest.size} events were signed, none is left", hint=_EVIDENCE
        )
    return _read_last(folder, segments[-1], newest, key, chain)


def _claim(folder: Folder, key: LogKey, *, begun: bool) -> None:
    path = folder.root / "log.vkey"
    if not path.exists():
        if begun:
            raise LedgerNotIntact("the log has lost its key file log.vkey", hint=_EVIDENCE)
        write_new(path, f"{key.vkey()}\n".encode(), mode=0o644)
    elif folder.key() != key:
        raise LedgerNotIntact(
            "the log belongs to another key",
            hint="put keys/ledger.key back, or move the ledger away and start another",
        )


def _checkpoint(folder: Folder, size: int, key: LogKey) -> Checkpoint:
    try:
        return folder.open_checkpoint(size, key)
    except (FormatError, VerificationRefused) as error:
        raise LedgerNotIntact(
            f"the checkpoint over {size} events was changed: {error.message}", hint=_EVIDENCE
        ) from error


def _read_last(
    folder: Folder, segment: Segment, newest: Checkpoint, key: LogKey, chain: Chain
) -> Opened:
    tree, previous = folder.base(segment)
    if segment.first > newest.size:
        raise LedgerNotIntact("the last segment begins after the last checkpoint", hint=_EVIDENCE)
    if segment.first and tree.root() != _checkpoint(folder, segment.first, key).root:
        raise LedgerNotIntact(f"{segment.base_path.name} was changed", hint=_EVIDENCE)
    cursor = Cursor(chain, tree, previous)
    peaks = _signed_peaks(cursor.tree, newest)
    offset, rotated = 0, False
    unsigned: list[bytes] = []
    try:
        for line, whole in lines(segment.path):
            if not whole:
                rotated = False
                break
            record, leaf = cursor.take(line)
            rotated = record.kind == Rotation.kind
            offset += len(line) + 1
            if cursor.tree.size > newest.size:
                unsigned.append(leaf)
            peaks = peaks or _signed_peaks(cursor.tree, newest)
    except Broken as error:
        raise LedgerNotIntact(
            f"the log was edited at event {error.at}: {error.why}", hint=_EVIDENCE
        ) from error
    if cursor.tree.size < newest.size:
        raise LedgerNotIntact(
            f"the log was cut: {newest.size} events were signed, {cursor.tree.size} are left",
            hint=_EVIDENCE,
        )
    return Opened(
        cursor=cursor,
        segment=segment,
        offset=offset,
        note=folder.note(newest.size),
        signed_peaks=tuple(peaks or ()),
        unsigned=unsigned,
        rotated=rotated,
    )


def _signed_peaks(tree: Frontier, newest: Checkpoint) -> list[bytes] | None:
    """The peaks, where the tree has just reached the checkpoint; raises if its root is another."""
    if tree.size != newest.size:
        return None
    if tree.root() != newest.root:
        raise LedgerNotIntact(
            f"the log was rewritten: its first {newest.size} events are not those that were signed",
            hint=_EVIDENCE,
        )
    return list(tree.peaks)

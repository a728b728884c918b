"""Reading a whole log as an auditor does, and saying exactly what is wrong with it.

The answer is one of (`State`):

    intact            every event is covered by a signed checkpoint and none was touched
    unsealed tail     as above, but the last events came after the last checkpoint: no signature covers
                      them yet (a running or crashed writer)
    edited            the event named was changed, removed, inserted or moved
    truncated         events that a checkpoint covers are missing at the end
    rewritten         the events are consistent in themselves, but not those that were signed
    forked            two checkpoints, both signed by the log's key, contradict each other
    checkpoint        a checkpoint itself was changed, or is missing where there must be one: each
                      segment begins at one, so a log without any was robbed of its signatures

`edited` wins over what follows from it, as the first thing wrong in the order of events. A log whose
owner holds the key can sign another history: that shows only against a checkpoint kept elsewhere, so
give one (`elsewhere`), and pin the key (`key`), or the answer is about this directory alone.
"""

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pratique.errors import FormatError, LedgerNotIntact, PratiqueError, VerificationRefused
from pratique.ledger.cursor import Broken, Cursor
from pratique.ledger.events import Retention
from pratique.ledger.folder import Folder, Segment, lines
from pratique.ledger.merkle import Frontier
from pratique.ledger.note import Checkpoint, LogKey
from pratique.ledger.record import Chain, Record


class State(enum.StrEnum):
    """What a reading found."""

    INTACT = "intact"
    UNSEALED_TAIL = "unsealed tail"
    EDITED = "edited"
    TRUNCATED = "truncated"
    REWRITTEN = "rewritten"
    FORKED = "forked"
    CHECKPOINT = "checkpoint"


@dataclass(frozen=True, slots=True)
class Report:
    """What a log is.

    `events` are those read; `sealed` those that the newest checkpoint covers; `at` is the number of
    the event or the size of the checkpoint that `state` speaks of. `torn` counts bytes of a half line
    at the end. `first` is the oldest event still here.
    """

    state: State
    summary: str
    events: int
    sealed: int
    at: int | None = None
    torn: int = 0
    first: int = 0
    checkpoints: int = 0
    elsewhere: int = 0

    @property
    def stands(self) -> bool:
        """Whether nothing that was signed has been touched."""
        return self.state in {State.INTACT, State.UNSEALED_TAIL}


class _Found(Exception):
    """The first thing wrong."""

    def __init__(self, state: State, at: int, summary: str) -> None:
        super().__init__(summary)
        self.state, self.at, self.summary = state, at, summary


@dataclass(slots=True)
class _Reading:
    """One pass over a log; `local` and `elsewhere` are verified checkpoints by size.

    `remembered` is what the log's signer says it signed last.
    """

    folder: Folder
    key: LogKey
    elsewhere: Mapping[int, Checkpoint]
    remembered: Checkpoint | None = None
    local: dict[int, Checkpoint] = field(default_factory=dict)
    cursor: Cursor = field(init=False)
    first: int = 0
    torn: int = 0
    retained: int = 0
    matched: int = 0

    def __post_init__(self) -> None:
        chain = Chain(self.key.name, self.key.key_id.hex())
        self.cursor = Cursor(chain, Frontier(), "")

    def run(self) -> None:
        """Read everything. Raises _Found at the first thing wrong."""
        self._load_checkpoints()
        segments = self.folder.segments()
        if segments and segments[0].first:
            self._begin_after_retention(segments[0])
        self._compare()
        for segment in segments:
            self._read(segment)
        self._check_retention()
        self._check_end()
        self._check_beginnings(segments)

    def _load_checkpoints(self) -> None:
        for size in self.folder.checkpoint_sizes():
            try:
                self.local[size] = self.folder.open_checkpoint(size, self.key)
            except (FormatError, VerificationRefused, LedgerNotIntact) as error:
                raise _Found(
                    State.CHECKPOINT,
                    size,
                    f"the checkpoint over {size} events was changed: {error.message}",
                ) from error
        for size, copy in self.elsewhere.items():
            if size in self.local and self.local[size].root != copy.root:
                raise _Found(
                    State.FORKED,
                    size,
                    f"forked: two checkpoints over {size} events, both signed by the log's key, "
                    "have different roots",
                )

    def _begin_after_retention(self, segment: Segment) -> None:
        """Begin in the middle: the peaks before the first segment must be those that were signed."""
        here = self.local.get(segment.first)
        if here is None:
            raise _Found(
                State.EDITED,
                0,
                f"edited: events 0 to {segment.first - 1} are gone, without a trace",
            )
        try:
            tree, _ = self.folder.base(segment)
        except LedgerNotIntact as error:
            raise _Found(State.EDITED, segment.first, f"edited: {error.message}") from error
        if tree.root() != here.root:
            raise _Found(
                State.EDITED, segment.first, f"edited: {segment.base_path.name} was changed"
            )
        self.first = self.matched = segment.first
        self.cursor.tree, self.cursor.previous = tree, None

    def _read(self, segment: Segment) -> None:
        if segment.first != self.cursor.tree.size:
            at = self.cursor.tree.size
            raise _Found(
                State.EDITED, at, f"edited at {at}: a segment is missing or has another's name"
            )
        for line, whole in lines(segment.path):
            if not whole:
                self._leave_torn(segment, line)
                return
            try:
                record, _ = self.cursor.take(line)
            except Broken as error:
                raise _Found(
                    State.EDITED, error.at, f"edited at {error.at}: {error.why}"
                ) from error
            if record.kind == Retention.kind:
                self.retained = max(self.retained, _through(record))
            self._compare()
            self._compare_memory()

    def _leave_torn(self, segment: Segment, line: bytes) -> None:
        """A half line is a dead writer's only where nothing signed is missing behind it."""
        self.torn = len(line)
        later = [s for s in self.folder.segments() if s.first > segment.first]
        if later:
            at = self.cursor.tree.size
            raise _Found(State.EDITED, at, f"edited at {at}: the line has lost its end")

    def _compare(self) -> None:
        """Hold the tree against the checkpoints of this size."""
        size = self.cursor.tree.size
        local, copy = self.local.get(size), self.elsewhere.get(size)
        if local is None and copy is None:
            return
        root = self.cursor.tree.root()
        if local is not None and local.root != root:
            raise _Found(
                State.REWRITTEN,
                size,
                f"rewritten: events {self.matched} to {size - 1} are not those that were signed",
            )
        if copy is not None and copy.root != root:
            raise self._against_copy(size)
        self.matched = size

    def _compare_memory(self) -> None:
        """Hold the tree against what the signer remembers. It is not signed: it can only accuse."""
        last = self.remembered
        if last is None or last.size != self.cursor.tree.size:
            return
        if last.root != self.cursor.tree.root():
            raise _Found(
                State.REWRITTEN,
                last.size,
                f"rewritten: the first {last.size} events are not those that the log's key signed last",
            )

    def _against_copy(self, size: int) -> _Found:
        """The log contradicts a checkpoint kept elsewhere: did its key sign this version too?"""
        if any(mine >= size for mine in self.local):
            return _Found(
                State.FORKED,
                size,
                f"forked: the checkpoint kept elsewhere over {size} events and the checkpoints here "
                "are both signed, and contradict each other",
            )
        return _Found(
            State.REWRITTEN,
            size,
            f"rewritten: the first {size} events are not those of the checkpoint kept elsewhere",
        )

    def _check_retention(self) -> None:
        if self.first > self.retained:
            raise _Found(
                State.EDITED,
                0,
                f"edited: events 0 to {self.first - 1} are gone, and no event says that they may be",
            )

    def _check_end(self) -> None:
        last = 0 if self.remembered is None else self.remembered.size
        end, signed = self.cursor.tree.size, max(self.sealed, last)
        if end < signed:
            raise _Found(
                State.TRUNCATED,
                end,
                f"truncated after {end} events: {signed} were signed, {signed - end} are missing",
            )

    def _check_beginnings(self, segments: Sequence[Segment]) -> None:
        """No segment begins without a checkpoint: where it is missing, somebody took it away."""
        for segment in segments:
            if segment.first not in self.local:
                raise _Found(
                    State.CHECKPOINT,
                    segment.first,
                    f"the checkpoint over {segment.first} events is missing: a segment begins there, "
                    "and none begins without one",
                )

    @property
    def sealed(self) -> int:
        """How many events the newest checkpoint covers, wherever it is."""
        return max((*self.local, *self.elsewhere), default=0)

    def report(self) -> Report:
        """Read and put the finding into words."""
        state, at = State.INTACT, None
        try:
            self.run()
            tail = self.cursor.tree.size - self.sealed
            summary = f"intact: {self.cursor.tree.size} events, all sealed"
            if tail or self.torn:
                state, at = State.UNSEALED_TAIL, self.sealed
                summary = f"intact up to {self.sealed}, unsealed tail of {tail} events"
                summary += f" and {self.torn} bytes of a half line" if self.torn else ""
        except _Found as found:
            state, at, summary = found.state, found.at, found.summary
        return Report(
            state=state,
            summary=summary,
            events=self.cursor.tree.size - self.first,
            sealed=self.sealed,
            at=at,
            torn=self.torn,
            first=self.first,
            checkpoints=len(self.local),
            elsewhere=len(self.elsewhere),
        )


def verify(
    folder: Folder,
    *,
    key: LogKey | None = None,
    elsewhere: Iterable[bytes] = (),
    remembered: Checkpoint | None = None,
) -> Report:
    """Read a whole log and report what it is. Never raises for what the log contains.

    Guarantees with `key` pinned and a checkpoint from `elsewhere`: every edit, deletion, insertion,
    reordering, truncation, rewriting and fork before that checkpoint is found. Without them the
    answer is about what this directory says of itself. `remembered` is what the signer of this log says
    it signed last (`signer.last_signed`): it bears no signature, so it can accuse and never excuse.

    Raises UnreadableInput if there is no log, and LedgerNotIntact if a note from `elsewhere` is not
    this log's: then nothing can be said.
    """
    own = folder.key()
    if key is not None and own != key:
        raise LedgerNotIntact(
            "the log does not carry the key that was given",
            hint="it is another log, or its key was exchanged",
        )
    copies: dict[int, Checkpoint] = {}
    for note in elsewhere:
        checkpoint = _copy(note, own)
        known = copies.setdefault(checkpoint.size, checkpoint)
        if known.root != checkpoint.root:
            return Report(
                state=State.FORKED,
                summary=f"forked: two checkpoints kept elsewhere over {known.size} events differ",
                events=0,
                sealed=known.size,
                at=known.size,
                elsewhere=len(copies),
            )
    return _Reading(folder, own, copies, remembered).report()


def _copy(note: bytes, key: LogKey) -> Checkpoint:
    try:
        return key.open(note)
    except PratiqueError as error:
        raise LedgerNotIntact(
            f"the checkpoint kept elsewhere cannot be used: {error.message}",
            hint="give a checkpoint of this log, as `pratique log checkpoint` printed it",
        ) from error


def _through(record: Record) -> int:
    through = record.fields.get("through", 0)
    return through if type(through) is int else 0


def records(folder: Folder, chain: Chain, *, first: int = 0) -> Iterable[Record]:
    """Yield the events that are here from number `first` on. Does NOT verify the tree.

    Raises LedgerNotIntact at the first line that does not continue the one before.
    """
    segments = folder.segments()
    for segment in _from(segments, first):
        cursor = Cursor(chain, _at(segment.first), None)
        for line, whole in lines(segment.path):
            if not whole:
                return
            try:
                record, _ = cursor.take(line)
            except Broken as error:
                raise LedgerNotIntact(
                    f"the log was edited at event {error.at}: {error.why}",
                    hint="run `pratique log verify`",
                ) from error
            if record.number >= first:
                yield record


def _from(segments: Sequence[Segment], first: int) -> Sequence[Segment]:
    """The segments from the one that holds event `first`."""
    held = [i for i, segment in enumerate(segments) if segment.first <= first]
    return segments[held[-1] if held else 0 :]


def _at(first: int) -> Frontier:
    """A tree that counts right and proves nothing, for readers that do not look at roots."""
    return Frontier(first, [bytes(32)] * first.bit_count())

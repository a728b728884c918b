"""Redacting text that arrives in pieces.

The rule: nothing is redacted piece by piece. A name or number cut in two is found in neither
half, so the pieces are joined first and nothing leaves before the end: whatever the cuts, the
outcome is that of the whole text.
"""

from pratique.redact.engine import MAX_CHARS, Redactor, default_redactor
from pratique.redact.types import Redacted


class StreamRedactor:
    """Collects the pieces of one text and redacts them joined.

    Holds at most `MAX_CHARS` + 1 characters: a text beyond is withheld whole, so the rest of it
    is not kept.
    """

    __slots__ = ("_pieces", "_redactor", "_size")

    def __init__(self, redactor: Redactor | None = None) -> None:
        self._redactor = redactor or default_redactor()
        self._pieces: list[str] = []
        self._size = 0

    def feed(self, piece: str) -> None:
        """Take the next piece; gives nothing back, because nothing is safe to show yet."""
        room = MAX_CHARS + 1 - self._size
        if room > 0 and piece:
            self._pieces.append(piece[:room])
            self._size += len(self._pieces[-1])

    def finish(self) -> Redacted:
        """Return the joined text, redacted, and start afresh."""
        text = "".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        return self._redactor.redact(text)

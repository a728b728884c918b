"""Text comes out in whole characters, and never a piece of a stop string.

Tokens do not end where characters end, and some tokenizers write a space only once they see the
next token; so text is released when decoding with and without the newest tokens agrees on it.
"""

from typing import Final, Protocol

_BROKEN: Final = "\N{REPLACEMENT CHARACTER}"
_OPEN: Final = 4
"""Tokens that a character which is not complete may have: it has four bytes at most."""
_PATIENCE: Final = 64
_MOST: Final = 1024


class Decoder(Protocol):
    """What is needed of a tokenizer."""

    def __call__(self, ids: list[int], /) -> str:
        """Return the text of `ids`, special tokens left out."""
        ...


class TextStream:
    """Turns one choice's tokens into released text.

    With neither stop strings nor a reader who waits for pieces, nothing is decoded until the end.
    `length` counts the characters that are complete, held ones too; at the end, those of the whole text.
    """

    __slots__ = (
        "_decode",
        "_eager",
        "_held",
        "_ids",
        "_prefix",
        "_read",
        "_stops",
        "length",
        "stopped",
    )

    def __init__(
        self, decode: Decoder, *, stops: tuple[str, ...] = (), eager: bool = False
    ) -> None:
        self._decode = decode
        self._stops = tuple(stop for stop in stops if stop)
        self._eager = eager or bool(self._stops)
        self._ids: list[int] = []
        self._prefix = 0
        self._read = 0
        self._held = ""
        self.length = 0
        self.stopped = False

    @property
    def released(self) -> int:
        """How many characters were released."""
        return self.length - len(self._held)

    def push(self, token: int) -> str:
        """Add a token; return the text that is now certain. Sets `stopped` at a stop string."""
        self._ids.append(token)
        if not self._eager:
            return ""
        text = self._decode(self._ids[self._prefix :])
        known = self._decode(self._ids[self._prefix : self._read])
        if len(text) <= len(known) or text.endswith(_BROKEN):
            return self._settle(text, known)
        self._prefix, self._read = self._read, len(self._ids)
        return self._release(text[len(known) :])

    def _settle(self, text: str, known: str) -> str:
        """Release the older part of many tokens that made no whole character, nor ever may.

        Else a client who has a model repeat half a character, or a special token, would have each of
        them decoded again at each step. A part is released where that changes no letter of the text,
        and at some time in any case.
        """
        pending = len(self._ids) - self._read
        if pending < _PATIENCE:
            return ""
        at = len(self._ids) - _OPEN
        first = self._decode(self._ids[self._prefix : at])
        rest = self._decode(self._ids[self._read :])
        rest = rest[len(self._decode(self._ids[self._read : at])) :]
        if first + rest != text and pending < _MOST:
            return ""
        if first == known:  # no text: what was before stays the neighbour of what comes
            del self._ids[self._read : at]
            return ""
        self._prefix, self._read = self._read, at
        return self._release(first[len(known) :])

    def finish(self) -> str:
        """Return what is left, a broken last character included. Call once."""
        if self.stopped:
            return ""
        text = self._decode(self._ids[self._prefix :])
        known = self._decode(self._ids[self._prefix : self._read])
        released = self._release(text[len(known) :])
        rest, self._held = self._held, ""
        return released + rest

    def _release(self, text: str) -> str:
        self.length += len(text)
        text = self._held + text
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            self.length -= len(text) - min(found)
            return text[: min(found)]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` with which `stop` could begin."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0

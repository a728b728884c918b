"""Memory that all grammars together may come to: each takes its part before it is compiled."""

import threading
import weakref
from collections.abc import Sequence


class Room:
    """So many bytes, shared. Who asks waits until there is enough; one thread asks."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._left = size
        self._changed = threading.Condition()  # what frees a part may run within what asks for one

    def take(self, part: int) -> None:
        """Wait for `part` bytes, which must not be more than there are."""
        if part > self.size:
            raise ValueError("more than the room holds")
        with self._changed:
            self._changed.wait_for(lambda: self._left >= part)
            self._left -= part

    def give(self, part: int) -> None:
        """Give `part` bytes back."""
        with self._changed:
            self._left += part
            self._changed.notify_all()

    def give_after(self, holders: Sequence[object], part: int) -> None:
        """Give `part` bytes back when the last of `holders` is forgotten."""
        left = [len(holders)]

        def one_less() -> None:
            left[0] -= 1
            if not left[0]:
                self.give(part)

        for holder in holders:
            weakref.finalize(holder, one_less).atexit = False

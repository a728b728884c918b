"""The seam between work that takes a while and whoever shows it: bytes done out of bytes to do."""

from typing import Protocol


class Progress(Protocol):
    """Told what is going on. Calls may come from several threads."""

    def begin(self, what: str, total: int | None) -> None:
        """A new piece of work starts, in words `what`: so many bytes, or None where nobody can say."""
        ...

    def advance(self, count: int) -> None:
        """`count` more bytes of it are done."""
        ...


class Quiet:
    """Shows nothing."""

    def begin(self, what: str, total: int | None) -> None:
        """Say nothing."""

    def advance(self, count: int) -> None:
        """Say nothing."""

"""The seam between a change and the record of it: what changes something runs it inside.

A verb that is handed an `Around` enters it immediately before the step that makes the change hold,
with what is about to be done, and leaves it immediately after. Who hands it decides what is kept.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

T = TypeVar("T")
Around = Callable[[T], AbstractContextManager[None]]


def unrecorded(change: object) -> AbstractContextManager[None]:
    """Keep nothing: for callers that have no record."""
    del change
    return nullcontext()

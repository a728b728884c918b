"""The three standard streams are there, whatever the parent closed.

A descriptor that is free is given to the next file that is opened: a key or the ledger would then be
what a library or a child takes for its standard output.
"""

import io
import os
import sys
from typing import Final

# Writing fails where somebody closed stdout, as it does in other programs: the result would be lost
# and nobody told. Messages that nobody wants to see are nothing to fail for.
_FLAGS: Final = (os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)
_NAMES: Final = ("stdin", "stdout", "stderr")


def fill_standard_streams() -> None:
    """Put /dev/null where a standard stream was closed."""
    for number, (flags, name) in enumerate(zip(_FLAGS, _NAMES, strict=True)):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is this one: those below are taken by now.
            os.open(os.devnull, flags)
            setattr(sys, name, _text(number))


def written() -> bool:
    """Whether all that was printed went out. What did not is dropped: the interpreter stays quiet."""
    all_went = True
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            all_went = all_went and number != 1
    return all_went


def _text(number: int) -> io.TextIOWrapper:
    raw = io.FileIO(number, "r" if number == 0 else "w", closefd=False)
    buffer = io.BufferedReader(raw) if number == 0 else io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, encoding="utf-8", errors="backslashreplace", write_through=True)

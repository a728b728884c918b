"""TFRecord files (TensorBoard's events): lengths that lead exactly to the end."""

from io import BufferedReader
from typing import Final

from pratique.errors import FormatError

_MAX_RECORDS: Final = 50_000_000
_FRAME: Final = 16  # length (8), its checksum (4), and the data's checksum (4)


def check(file: BufferedReader, size: int) -> None:
    """Walk the records of a file of `size` bytes. Raises FormatError where they do not fit."""
    at = 0
    for _ in range(_MAX_RECORDS):
        if at == size:
            return
        file.seek(at)
        head = file.read(8)
        at += _FRAME + int.from_bytes(head, "little")
        if len(head) < 8 or at > size:
            raise FormatError("holds a record that reaches behind the end")
    raise FormatError("holds too many records")

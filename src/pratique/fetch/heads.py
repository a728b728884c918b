"""The first bytes of weight files, by Range: what the gate needs to refuse them before they are paid.

A head is not yet tied to the commit (its digest covers the whole file); it can refuse, never accept.
"""

from pathlib import Path
from typing import Final

from pratique.errors import FetchError
from pratique.fetch.body import raw
from pratique.fetch.listing import Wanted
from pratique.fetch.session import TRANSIENT
from pratique.fetch.stream import Busy, Download, Stopped

FIRST: Final = 64 << 10
MAX_SAFETENSORS_HEADER: Final = 100_000_000
"""safetensors' own limit."""
GGUF_HEAD: Final = 4 << 20


def fetch_head(download: Download, wanted: Wanted, target: Path) -> None:
    """Write the head of `wanted` to `target`: a safetensors header whole, else its first bytes."""
    size = min(wanted.size, GGUF_HEAD if wanted.path.lower().endswith(".gguf") else FIRST)
    data = _range(download, wanted, 0, size)
    if wanted.path.lower().endswith(".safetensors") and len(data) >= 8:
        header = 8 + int.from_bytes(data[:8], "little")
        # A header that cannot be one is not paid for: the gate refuses it by its first bytes.
        if len(data) < header <= min(wanted.size, 8 + MAX_SAFETENSORS_HEADER):
            data += _range(download, wanted, len(data), header)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)


def _range(download: Download, wanted: Wanted, start: int, end: int) -> bytes:
    """Return bytes `start` to `end`. Asks again from the start of the range after a failure."""
    failures = 0
    while True:
        try:
            return _once(download, wanted, start, end)
        except (*TRANSIENT, Busy) as error:
            failures += 1
            download.wait(error, failures, wanted)


def _once(download: Download, wanted: Wanted, start: int, end: int) -> bytes:
    if start >= end:
        return b""
    pieces: list[bytes] = []
    with download.open(wanted, start, end) as response:
        skip = start if response.status_code == 200 else 0
        needed = skip + end - start
        if skip + end - start < wanted.size and response.status_code == 200 and skip > FIRST:
            raise FetchError(
                "the server cannot send parts of files", hint="use a server that honours Range"
            )
        total = 0
        for piece in raw(response):
            if download.stop.is_set():
                raise Stopped
            pieces.append(piece)
            total += len(piece)
            if total >= needed:
                break
    data = b"".join(pieces)[skip:needed]
    if len(data) != end - start:
        raise FetchError(
            f"{wanted.path} ended before the {wanted.size} bytes listed",
            hint="the server is wrong or lies; fetch again",
        )
    return data

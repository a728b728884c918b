"""Memory of this process, and which exceptions mean that there was not enough of it."""

import re
import resource
from pathlib import Path
from typing import Final

import torch

# torch's CPU allocator raises a plain RuntimeError; under RLIMIT_AS so do mmap and oneDNN.
_TOLD: Final = re.compile(
    r"(?i)can't allocate memory|not enough memory|out of memory|cannot allocate memory|bad_alloc"
    r"|unable to mmap|could not create a memory"
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error`, or what caused it, says that memory ran out."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MemoryError | torch.OutOfMemoryError):
            return True
        if isinstance(seen, OSError) and seen.errno == 12:  # ENOMEM
            return True
        if isinstance(seen, RuntimeError) and _TOLD.search(str(seen)):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def resident() -> tuple[int, int]:
    """Bytes resident now and at most so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return peak, peak
    return pages * resource.getpagesize(), peak

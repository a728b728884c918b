"""Memory of this process, and which exceptions mean that there was not enough of it."""

import ctypes
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
_SIZES: Final = re.compile(r"(?m)^Vm(RSS|HWM):\s+(\d+) kB$")


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


def trim() -> None:
    """Let the kernel have what was freed: the C library keeps it for what comes next."""
    ctypes.CDLL(None).malloc_trim(0)


def resident() -> tuple[int, int]:
    """Bytes resident now and at most so far.

    The peak is this program's own. `ru_maxrss` is kept over execve(2) and so may be the parent's.
    """
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        kilobytes = {name: int(found) for name, found in _SIZES.findall(text)}
        return kilobytes["RSS"] * 1024, kilobytes["HWM"] * 1024
    except (OSError, KeyError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return peak, peak

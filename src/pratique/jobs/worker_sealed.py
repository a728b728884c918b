"""Copies of the model's files in sealed memory: what is loaded from there, nobody can change any more.

Each file is copied into a memfd, the memfd is sealed against writing, growing, shrinking and further
sealing, and only then are its bytes hashed: the digest speaks of what can no longer change, and no
write to the store, not even its owner's, reaches the loaded model. Libraries want paths, so a private
folder holds links to the descriptors. A private tmpfs made read-only would need the right to mount,
which is gone before the first foreign byte is read, and the worker's own code could still write there.
"""

import errno
import fcntl
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pratique.core.load import LoadFault, WeightFile
from pratique.jobs.worker_refusal import LoadRefused

_SEALS: Final = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
_PIECE: Final = 64 * 2**20


def sealed_copy(source: int, file: WeightFile) -> int:
    """Copy an open file into sealed memory; return the descriptor. Closes `source`.

    Does NOT check the digest: whoever asked hashes what is returned. Raises LoadRefused.
    """
    try:
        memory = os.memfd_create("model", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError as error:
        os.close(source)
        raise _refused(error) from error
    try:
        _copy(source, memory, file.size)
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
        if not is_sealed(memory):
            raise LoadRefused(LoadFault.NO_SEALED_COPY)
    except OSError as error:
        os.close(memory)
        raise _refused(error) from error
    except BaseException:
        os.close(memory)
        raise
    finally:
        os.close(source)
    return memory


def is_sealed(descriptor: int) -> bool:
    """Whether nothing can be written to, added to or cut from this file, by anybody, for good."""
    return fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & _SEALS == _SEALS


def linked(files: Sequence[tuple[str, int]]) -> Path:
    """Return a new private folder in which each path leads to its descriptor. Raises LoadRefused."""
    folder = Path(tempfile.mkdtemp(prefix="sealed-"))
    try:
        for path, descriptor in files:
            link = folder / path
            link.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            link.symlink_to(f"/proc/self/fd/{descriptor}")
            if not os.path.samestat(link.stat(), os.fstat(descriptor)):
                raise LoadRefused(LoadFault.NO_SEALED_COPY)
    except OSError as error:  # a container that lets no /proc be mounted has no such paths
        raise LoadRefused(LoadFault.NO_SEALED_COPY) from error
    return folder


def _copy(source: int, memory: int, size: int) -> None:
    done = 0
    while done < size:
        count = os.sendfile(memory, source, done, min(size - done, _PIECE))
        if count == 0:
            raise LoadRefused(LoadFault.FILE_CHANGED)
        done += count


def _refused(error: OSError) -> LoadRefused:
    short = error.errno in {errno.ENOMEM, errno.ENOSPC}
    return LoadRefused(LoadFault.OUT_OF_MEMORY if short else LoadFault.NO_SEALED_COPY)

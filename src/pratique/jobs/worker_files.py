"""Nothing is parsed before its digest was checked, and what is loaded is what was checked.

1. The model's directory holds exactly the files that the specification names: no more, no links.
2. Every file is opened once, without following links; its bytes are hashed through that descriptor.
3. Where a sealed copy is asked for, the bytes that are hashed and loaded are a copy in memory that
   the kernel lets nobody write to any more (worker_sealed).
4. Descriptors stay open. After loading, `unchanged` shows that the names still lead to those inodes
   and that nobody has written to them since: a later write would change a mapped model in place.
   (A write moves the inode's change time, which no unprivileged process can set back.)
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

import blake3

from pratique.core.load import CHUNK_BYTES, LoadFault, LoadSpec, NamedCode, WeightFile
from pratique.jobs.worker_refusal import LoadRefused
from pratique.jobs.worker_sealed import is_sealed, linked, sealed_copy

_BLOCK: Final = 4 * 2**20
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class _Identity:
    device: int
    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> "_Identity":
        return cls(
            status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        )


@dataclass(frozen=True, slots=True)
class _Held:
    file: WeightFile
    fd: int
    identity: _Identity


class HeldFiles:
    """The model's files, open and verified. Made only by `hold`.

    `directory` is where to load from: the store's folder, or links to the sealed copy.
    """

    def __init__(self, directory: Path, held: tuple[_Held, ...], *, sealed: bool = False) -> None:
        self.directory = directory
        self.sealed = sealed
        self._held = held

    def __enter__(self) -> "HeldFiles":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def total_bytes(self) -> int:
        """Size of all files together."""
        return sum(item.file.size for item in self._held)

    def unchanged(self) -> bool:
        """Whether every name still leads to the verified inode, and nobody wrote to it since."""
        try:
            return all(
                _Identity.of(os.fstat(item.fd)) == item.identity
                and _Identity.of(self._at(item)) == item.identity
                and (not self.sealed or is_sealed(item.fd))
                for item in self._held
            )
        except OSError:
            return False

    def _at(self, item: _Held) -> os.stat_result:
        """What a file's path leads to; only the links to a sealed copy are followed."""
        return (self.directory / item.file.path).stat(follow_symlinks=self.sealed)

    def close(self) -> None:
        """Let go of the descriptors, and of the folder of links."""
        if self.sealed:
            shutil.rmtree(self.directory, ignore_errors=True)
        for item in self._held:
            os.close(item.fd)
        self._held = ()


def hold(spec: LoadSpec) -> HeldFiles:
    """Open and verify all files of `spec`. Raises LoadRefused; then nothing stays open."""
    directory = Path(spec.model_dir)
    wanted = {file.path for file in spec.files}
    if set(_walk(directory)) != wanted:
        raise LoadRefused(LoadFault.FILE_CHANGED)
    held: list[_Held] = []
    try:
        for file in spec.files:
            item = _open(directory, file)
            held.append(_sealed(item) if spec.sealed_copy else item)
        _verify(held, spec.limits.threads)
        if spec.sealed_copy:
            directory = linked([(item.file.path, item.fd) for item in held])
    except BaseException:
        for item in held:
            os.close(item.fd)
        raise
    return HeldFiles(directory, tuple(held), sealed=spec.sealed_copy)


def _sealed(item: _Held) -> _Held:
    """Replace an open file by its sealed copy."""
    memory = sealed_copy(item.fd, item.file)
    return _Held(item.file, memory, _Identity.of(os.fstat(memory)))


def copy_code(code: NamedCode, target: Path) -> None:
    """Write the files of `code` below `target`, byte for byte what their digests say.

    Each is opened once, without following links. Raises LoadRefused if one is missing or another.
    """
    for file in code.files:
        held = _open(Path(code.directory), file)
        try:
            data = b"".join(bytes(block) for block in _blocks(held.fd, 0, file.size))
        finally:
            os.close(held.fd)
        if hashlib.sha256(data).hexdigest() != file.sha256:
            raise LoadRefused(LoadFault.FILE_CHANGED)
        place = target / file.path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)


def _walk(directory: Path) -> Iterator[str]:
    """Yield relative paths of regular files. Refuses links and special files."""
    try:
        for root, folders, names in os.walk(directory, onerror=_refuse):
            for name in folders:
                if (Path(root) / name).is_symlink():
                    raise LoadRefused(LoadFault.FILE_CHANGED)
            for name in names:
                path = Path(root) / name
                if not stat.S_ISREG(path.lstat().st_mode):
                    raise LoadRefused(LoadFault.FILE_CHANGED)
                yield path.relative_to(directory).as_posix()
    except OSError as error:
        raise LoadRefused(LoadFault.FILE_MISSING) from error


def _refuse(error: OSError) -> None:
    raise error


def _open(directory: Path, file: WeightFile) -> _Held:
    try:
        fd = os.open(directory / file.path, _FLAGS)
    except OSError as error:
        raise LoadRefused(LoadFault.FILE_MISSING) from error
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode) or status.st_size != file.size:
        os.close(fd)
        raise LoadRefused(LoadFault.FILE_CHANGED)
    return _Held(file, fd, _Identity.of(status))


def _verify(held: list[_Held], threads: int) -> None:
    """Check every byte, pieces in parallel (hashing releases the interpreter's lock)."""
    with ThreadPoolExecutor(max_workers=threads) as pool:
        checks = [
            pool.submit(check, item, *arguments)
            for item in sorted(held, key=lambda i: -i.file.size)
            for check, *arguments in _pieces(item.file)
        ]
        if not all(check.result() for check in checks):
            raise LoadRefused(LoadFault.FILE_CHANGED)


def _pieces(file: WeightFile) -> Iterator[tuple]:  # type: ignore[type-arg]  # a function and its arguments
    if not file.chunks:
        yield (_check_sha256,)
        return
    if len(file.chunks) != -(-file.size // CHUNK_BYTES):
        raise LoadRefused(LoadFault.FILE_CHANGED)
    for number, digest in enumerate(file.chunks):
        yield _check_chunk, number * CHUNK_BYTES, digest


def _check_chunk(item: _Held, offset: int, digest: str) -> bool:
    hasher = blake3.blake3()
    for block in _blocks(item.fd, offset, min(offset + CHUNK_BYTES, item.file.size)):
        hasher.update(block)
    return bool(hasher.hexdigest() == digest)


def _check_sha256(item: _Held) -> bool:
    hasher = hashlib.sha256()
    for block in _blocks(item.fd, 0, item.file.size):
        hasher.update(block)
    return hasher.hexdigest() == item.file.sha256


def _blocks(fd: int, start: int, end: int) -> Iterator[memoryview]:
    """Read `start`..`end` through one buffer; a short file ends early and so fails its digest."""
    buffer = memoryview(bytearray(min(_BLOCK, max(end - start, 1))))
    while start < end:
        count = os.preadv(fd, [buffer[: min(len(buffer), end - start)]], start)
        if count == 0:
            return
        yield buffer[:count]
        start += count

"""What a repository's files are: paths, sizes, digests. A manifest's digest pins all of them."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from pratique.core.ids import Digest, RelPath, fold_path, parse_digest, parse_relpath, shown
from pratique.errors import FormatError

MAX_FILES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One regular file: `size` in bytes, `sha256` of every byte."""

    path: RelPath
    size: int
    sha256: Digest


@dataclass(frozen=True, slots=True)
class Manifest:
    """All files of a directory, sorted by the UTF-8 bytes of their paths, no two names alike."""

    files: tuple[FileEntry, ...]

    def __post_init__(self) -> None:
        paths = [f.path for f in self.files]
        if paths != sorted(paths, key=str.encode):
            raise FormatError("the manifest's paths are not sorted")
        folded: dict[str, str] = {}
        for path in paths:
            key = fold_path(path)
            if key in folded:
                raise FormatError(
                    f"two files differ only by case or Unicode form: {shown(folded[key])} "
                    f"and {shown(path)}"
                )
            folded[key] = path

    @classmethod
    def of(cls, files: Iterable[FileEntry]) -> "Manifest":
        """Sort `files` into a manifest. Raises FormatError on duplicate or colliding names."""
        return cls(tuple(sorted(files, key=lambda f: f.path.encode())))

    def __iter__(self) -> Iterator[FileEntry]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)

    @property
    def total_size(self) -> int:
        """Bytes in all files together."""
        return sum(f.size for f in self.files)

    def get(self, path: str) -> FileEntry | None:
        """Return the entry at `path`, or None."""
        return next((f for f in self.files if f.path == path), None)

    def sha256sums(self) -> bytes:
        """Render as `sha256sum` writes it: one `DIGEST  PATH` line per file."""
        return "".join(f"{f.sha256}  {f.path}\n" for f in self.files).encode()

    @property
    def digest(self) -> Digest:
        """SHA-256 of `sha256sums()`: pins every byte and every name."""
        return Digest(hashlib.sha256(self.sha256sums()).hexdigest())


def parse_sha256sums(data: bytes) -> dict[RelPath, Digest]:
    """Parse canonical SHA256SUMS bytes: sorted, unique, LF-ended, two spaces. Raises FormatError."""
    if not data.endswith(b"\n"):
        raise FormatError("SHA256SUMS does not end with a newline")
    try:
        lines = data.decode("utf-8").split("\n")[:-1]
    except UnicodeDecodeError as error:
        raise FormatError("SHA256SUMS is not UTF-8") from error
    if len(lines) > MAX_FILES:
        raise FormatError(f"SHA256SUMS lists more than {MAX_FILES} files")
    found: dict[RelPath, Digest] = {}
    for line in lines:
        if line[64:66] != "  ":
            raise FormatError(f"SHA256SUMS has a malformed line: {shown(line)}")
        found[parse_relpath(line[66:])] = parse_digest(line[:64])
    if len(found) != len(lines) or list(found) != sorted(found, key=str.encode):
        raise FormatError("SHA256SUMS is not sorted, or names a file twice")
    return found

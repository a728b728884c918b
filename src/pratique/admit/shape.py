"""A bundle before anything in it is believed: its shape, and the raw bytes of its signatures.

Only names and sizes are looked at. A link, a special file, an empty folder, a third folder beside
`payload/` and `signatures/`, a name that another system would confuse: refused.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pratique.core.bundle import DOCUMENT, PAYLOAD, SIGNATURES, SUMS
from pratique.core.ids import Digest, RelPath, shown
from pratique.errors import FormatError, UnreadableInput, VerificationRefused
from pratique.store import tree
from pratique.store.content import differs

MAX_SIGNATURE_FILES: Final = 32
MAX_SIGNATURE_BYTES: Final = 256 * 2**20
MAX_SUMS_BYTES: Final = 256 * 2**20
_AGAIN: Final = "carry the bundle again from the sealed original"


@dataclass(frozen=True, slots=True)
class Shape:
    """What a directory that claims to be a bundle holds. Nothing of it is verified.

    `files` are the payload's paths, relative to `payload/`.
    """

    payload: Path
    files: tuple[RelPath, ...]
    signatures: dict[str, bytes]


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """Inside a bundle, what a strict parser refuses is refused content, not a mistake of the user's."""
    try:
        yield
    except FormatError as error:
        raise VerificationRefused(error.message, hint=error.hint or _AGAIN) from error


def look_at(bundle: Path) -> Shape:
    """List a bundle and read its signature files, under limits.

    Raises:
        UnreadableInput: this is no bundle at all.
        VerificationRefused: it has a shape that no sealed bundle has.
    """
    if not bundle.is_dir():
        raise UnreadableInput(f"{bundle} is not a directory", hint="give the path of a .bundle")
    bundle = bundle.resolve()  # the one link that is followed: the path that the user named
    if not (bundle / PAYLOAD).is_dir():
        raise UnreadableInput(
            f"{bundle} is not a bundle: it has no {PAYLOAD}/", hint="give the path of a .bundle"
        )
    with refusing():
        listing = tree.walk(bundle)
        _refuse_strays(listing)
        payload = tuple(
            RelPath(path.removeprefix(f"{PAYLOAD}/"))
            for path in listing.files
            if path.startswith(f"{PAYLOAD}/")
        )
        signed = [path for path in listing.files if path.startswith(f"{SIGNATURES}/")]
        for needed in (SUMS, DOCUMENT):
            if needed not in payload:
                raise VerificationRefused(f"{needed} is missing from the bundle", hint=_AGAIN)
        return Shape(bundle / PAYLOAD, payload, dict(_signatures(bundle, signed)))


def _refuse_strays(listing: tree.Listing) -> None:
    for path in listing.files:
        if path.split("/")[0] not in {PAYLOAD, SIGNATURES} or "/" not in path:
            raise VerificationRefused(
                f"{shown(path)} does not belong into a bundle",
                hint="a bundle holds payload/ and signatures/ and nothing else",
            )
    needed = {"/".join(p.split("/")[:n]) for p in listing.files for n in range(1, p.count("/") + 1)}
    for folder in listing.folders:
        if folder not in needed and folder != SIGNATURES:
            raise VerificationRefused(
                f"the folder {shown(folder)} is empty; no sealed bundle has one", hint=_AGAIN
            )


def _signatures(bundle: Path, paths: list[RelPath]) -> Iterator[tuple[str, bytes]]:
    if len(paths) > MAX_SIGNATURE_FILES:
        raise VerificationRefused(
            f"the bundle bears more than {MAX_SIGNATURE_FILES} signature files", hint=_AGAIN
        )
    with tree.opened_folder(bundle) as root:
        for path in paths:
            with tree.opened(root, path) as descriptor:
                yield (
                    path.removeprefix(f"{SIGNATURES}/"),
                    read_bounded(descriptor, path, MAX_SIGNATURE_BYTES),
                )


def read_bounded(descriptor: int, path: str, limit: int) -> bytes:
    """Read a whole file that may not be larger than `limit` bytes."""
    parts = []
    left = limit + 1
    while left and (block := os.read(descriptor, min(left, 2**20))):
        parts.append(block)
        left -= len(block)
    if not left:
        raise VerificationRefused(f"{shown(path)} is larger than {limit} bytes", hint=_AGAIN)
    return b"".join(parts)


def read_unsigned(root: Path, path: RelPath, limit: int) -> bytes:
    """Return the bytes of a payload file, whatever they are. Nothing is known of them."""
    with refusing(), tree.opened_folder(root) as folder, tree.opened(folder, path) as descriptor:
        return read_bounded(descriptor, path, limit)


def read_signed(root: Path, path: RelPath, digest: Digest, limit: int) -> bytes:
    """Return the bytes of a payload file, which are exactly the signed ones.

    Raises VerificationRefused if they are not, or are more than `limit`.
    """
    data = read_unsigned(root, path, limit)
    if hashlib.sha256(data).hexdigest() != digest:
        raise differs(path)
    return data

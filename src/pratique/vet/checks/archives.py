"""Containers that the gate would have to open to know what is inside are refused, nested or not.

A second format behind a first (a ZIP directory at the end of an image or of tensor data) is refused
as well: what a file is must not depend on who reads it.
"""

from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.formats import magic, zips
from pratique.vet.check import Check, refuse
from pratique.vet.repo import Entry, Repo
from pratique.vet.roles import Role

_ZIP_ROLES: Final = frozenset({Role.TORCH, Role.KERAS, Role.ARRAY})
_TAIL: Final = 65_557
_REMEDY: Final = "publish the files themselves instead of an archive"


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    for entry in repo.files:
        head = repo.head(entry.path, 36_864)
        what = magic.archive(head) or magic.compressed(head)
        if entry.role in _ZIP_ROLES and head.startswith(zips.LOCAL_MAGIC):
            continue
        if what is None and entry.role is Role.ARCHIVE:
            what = "an archive, by its name"
        if what is not None and not _only_looks_packed(entry, what):
            yield refuse(CHECK.id, entry.path, f"is {what}", _REMEDY)
        elif repo.here(entry.path) and _ends_as_zip(repo, entry):
            yield refuse(
                CHECK.id,
                entry.path,
                "ends in a ZIP directory: one reader sees the file, another an archive",
                "remove what was appended",
            )


def _only_looks_packed(entry: Entry, what: str) -> bool:
    """Two bytes of zlib prove nothing in files whose own strict parser has the last word."""
    return what == "zlib data" and entry.role in {
        Role.WEIGHTS, Role.GGUF, Role.ONNX, Role.ONNX_DATA, Role.TFLITE, Role.FOREIGN,
    }  # fmt: skip


def _ends_as_zip(repo: Repo, entry: Entry) -> bool:
    return zips.find_end(repo.tail(entry.path, _TAIL)) is not None


CHECK: Final = Check("archives", "No archives, no second format", Stage.LISTING, _run)

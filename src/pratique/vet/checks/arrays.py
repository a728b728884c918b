"""NumPy arrays hold numbers; object arrays are pickles and are refused, in `.npz` files too."""

from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding, Severity
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.formats import npy, zips
from pratique.vet.check import Check, note, refuse
from pratique.vet.repo import MIB, Entry, Repo
from pratique.vet.roles import Role


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    for entry in repo.files:
        head = repo.head(entry.path, 128 * 1024) if _concerns(repo, entry) else b""
        if not head:
            continue
        try:
            if head.startswith(zips.LOCAL_MAGIC):
                if not repo.here(entry.path):
                    continue
                _archive(repo, entry)
            else:
                npy.check(head, entry.size)
        except FormatError as error:
            yield refuse(
                CHECK.id,
                entry.path,
                f"is no plain array: {error}",
                "save it with allow_pickle=False, or as safetensors",
                Severity.HIGH,
            )
            continue
        if entry.role is Role.ARRAY:
            yield note(CHECK.id, entry.path, "is an array that no loader reads")


def _concerns(repo: Repo, entry: Entry) -> bool:
    return entry.role is Role.ARRAY or repo.head(entry.path, 6) == npy.MAGIC


def _archive(repo: Repo, entry: Entry) -> None:
    with repo.open(entry.path) as file:
        for member in zips.read_index(file, entry.size):
            if not member.name.endswith(".npy"):
                raise FormatError(f"holds {member.name!r}, which is no array")
            npy.check(zips.read_beginning(file, member, 128 * 1024), member.size)
            if member.size > 4096 * MIB:
                raise FormatError(f"holds an array of {member.size} bytes")
            zips.check_crc(file, member)


CHECK: Final = Check("arrays", "Arrays without objects", Stage.HEADERS, _run)

"""torch zips: clean weights and TorchScript need somebody to answer for them; the rest is refused.

Clean: one unambiguous ZIP, stored members with right checksums and torch's own names, `data.pkl` of
at most 16 MiB whose every global is on the list of torch's weights_only reader.
"""

import contextlib
from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding, Severity
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.formats import torch_zip, zips
from pratique.vet.check import Check, approve, refuse
from pratique.vet.repo import Entry, Repo
from pratique.vet.roles import Role

_REMEDY: Final = "publish the weights as safetensors"
_CONVERT: Final = (
    "allow it by digest and convert it (`pratique convert`), or use safetensors weights"
)


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    for entry in repo.with_role(Role.TORCH):
        if repo.here(entry.path):
            if repo.head(entry.path, 4) == zips.LOCAL_MAGIC:
                yield from _whole(repo, entry)
        elif head := repo.head(entry.path):
            yield from _head(repo, entry, head)
        else:
            yield approve(
                CHECK.id,
                entry.path,
                "is a torch file by its name: it may hold a program",
                _CONVERT,
                digest=repo.digest_for(entry.path),
            )


def _whole(repo: Repo, entry: Entry) -> Iterator[Finding]:
    found: list[Finding] = []
    try:
        with repo.open(entry.path) as file:
            members = zips.read_index(file, entry.size)
            kind = torch_zip.kind_of(members)
            for member in members:
                if member.name.endswith(".pkl"):
                    found.extend(
                        _globals(entry, kind, zips.read_member(file, member, torch_zip.MAX_PICKLE))
                    )
            for member in members:
                zips.check_crc(file, member)
    except FormatError as error:
        yield refuse(CHECK.id, entry.path, f"is no clean torch zip: {error}", _REMEDY)
        return
    yield from found or [_answer_for(repo, entry, kind)]


def _answer_for(repo: Repo, entry: Entry, kind: torch_zip.Kind) -> Finding:
    if kind == "torchscript":
        return approve(
            CHECK.id,
            entry.path,
            "is TorchScript: a program that runs when it is loaded",
            "allow it by digest after a review, or use safetensors weights with the library's classes",
            digest=repo.digest_for(entry.path),
            severity=Severity.HIGH,
        )
    return approve(
        CHECK.id,
        entry.path,
        "is a clean torch zip: weights in a pickle that names only tensors",
        _CONVERT,
        digest=repo.digest_for(entry.path),
    )


def _globals(
    entry: Entry, kind: torch_zip.Kind, data: bytes, *, whole: bool = True
) -> Iterator[Finding]:
    if kind == "torchscript":
        names = torch_zip.script_globals(data)
    else:
        names = torch_zip.unsafe_globals(data, whole=whole)
    if names:
        yield refuse(
            CHECK.id,
            entry.path,
            f"its pickle imports {', '.join(names[:4])}, which torch's weights_only reader refuses",
            _REMEDY,
            Severity.CRITICAL,
        )


def _head(repo: Repo, entry: Entry, head: bytes) -> Iterator[Finding]:
    """What the first bytes say: torch writes `data.pkl` first, stored."""
    if not head.startswith(zips.LOCAL_MAGIC):
        return
    name_length = int.from_bytes(head[26:28], "little")
    extra_length = int.from_bytes(head[28:30], "little")
    start = 30 + name_length + extra_length
    first_pickle = head[30 : 30 + name_length].endswith(b"/data.pkl")
    if first_pickle and len(head) > start:
        # A TorchScript's data.pkl, or a malformed one, is decided when the file is here whole.
        with contextlib.suppress(FormatError):
            yield from _globals(
                entry, "weights", head[start : start + torch_zip.MAX_PICKLE], whole=False
            )
    yield approve(
        CHECK.id,
        entry.path,
        "is a torch zip: weights in a pickle, or a program",
        _CONVERT,
        digest=repo.digest_for(entry.path),
    )


CHECK: Final = Check("torch-zip", "torch zips by allowance only", Stage.LISTING, _run)

"""Who owns a trust set: administrators, the revoker, and whose signatures a part still lacks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from securesystemslib.signer import Key
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    Role,
    Root,
    Snapshot,
    Targets,
    Timestamp,
)

from pratique.attest.keys import PublicKey
from pratique.attest.tufkeys import tuf_key
from pratique.attest.tufset import REVOKER, REVOKER_PATH
from pratique.errors import UsageError

S = TypeVar("S", Root, Timestamp, Snapshot, Targets)


@dataclass(frozen=True, slots=True)
class Pending:
    """One part of a set that lacks signatures: how many more, and whose would count (key ids)."""

    part: str
    missing: int
    candidates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Admins:
    """Who owns a trust set, and how many of them a change takes."""

    keys: tuple[PublicKey, ...]
    threshold: int
    revokers: tuple[PublicKey, ...] = ()

    def __post_init__(self) -> None:
        ids = [tuf_key(k).keyid for k in self.keys]
        if len(set(ids)) != len(ids):
            raise UsageError("an administrator's key is given twice")
        if not 1 <= self.threshold <= len(ids):
            raise UsageError(
                f"the administrators' threshold is {self.threshold}, with {len(ids)} of them",
                hint="give --admin for each, and a threshold that they can reach",
            )


def appoint(root: Root, admins: Admins) -> None:
    """Give the administrators (and for dating, the revokers) their roles in `root`."""
    for role in ("root", "targets", "snapshot", "timestamp"):
        for key in admins.keys:
            root.add_key(tuf_key(key), role)
        root.roles[role].threshold = admins.threshold if role in {"root", "targets"} else 1
    for key in admins.revokers:
        for role in ("snapshot", "timestamp"):
            root.add_key(tuf_key(key), role)


def delegation(revokers: Sequence[PublicKey]) -> Delegations:
    """Return the one delegation there is: revocations, to any one of `revokers`."""
    keys: dict[str, Key] = {(k := tuf_key(public)).keyid: k for public in revokers}
    role = DelegatedRole(REVOKER, list(keys), 1, terminating=True, paths=[REVOKER_PATH])
    return Delegations(keys, {REVOKER: role})


def missing(part: str, role: Role, metadata: Metadata[S]) -> list[Pending]:
    """Return what `metadata` lacks to reach the threshold of `role`: nothing, or one entry."""
    signed = [k for k in role.keyids if k in metadata.signatures]
    if len(signed) >= role.threshold:
        return []
    waiting = tuple(k for k in role.keyids if k not in metadata.signatures)
    return [Pending(part, role.threshold - len(signed), waiting)]

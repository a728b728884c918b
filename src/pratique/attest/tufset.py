"""A carried trust set: bytes in, verified files out. No network, no clock, no writing.

Walks root → timestamp → snapshot → targets → delegated targets, each signed by the threshold that
the one before names, each the version and digest that the one before lists. The walk starts at a
root whose SHA-256 the caller pinned, before a byte of it is parsed.

It does NOT judge expiry: python-tuf's client does when a set is installed (`install`); between two
media the last installed set holds, and its age is bounded by policy. Source: TUF specification
1.0.34, section 5.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final, TypeVar

from tuf.api.exceptions import LengthOrHashMismatchError, RepositoryError
from tuf.api.metadata import Metadata, Root, Signed, Snapshot, Targets, Timestamp

from pratique.attest.tufkeys import check_keys
from pratique.core.ids import path_problem, shown
from pratique.errors import VerificationRefused

REVOKER: Final = "revoker"
"""The one delegated role: it can add to what is revoked, and nothing else."""
REVOKER_PATH: Final = "revocations/connected.json"
MAX_METADATA_BYTES: Final = 4 * 1024 * 1024
MAX_TARGET_BYTES: Final = 32 * 1024 * 1024
MAX_TARGETS: Final = 1000
MAX_ROOTS: Final = 256
_FILE: Final = re.compile(
    r"trust\.toml|revocations\.json|trusted_root\.json|policies/[\w.-]+\.toml"
    r"|ca/[\w.-]+\.pem|crl/[\w.-]+\.crl|tsa/[\w.-]+\.pem",
    re.ASCII,
)

Read = Callable[[str, int], bytes | None]
"""Return at most so many bytes of a named file, or None if it is absent."""
S = TypeVar("S", Root, Timestamp, Snapshot, Targets)


@dataclass(frozen=True, slots=True)
class VerifiedSet:
    """Files vouched for by the targets role, and apart from them those of the revoker."""

    files: Mapping[str, bytes]
    connected: Mapping[str, bytes]
    root_version: int
    version: int
    expires: datetime


def read_set(fingerprint: str, metadata: Read, targets: Read, first_root: int = 1) -> VerifiedSet:
    """Verify a set from the pinned root on and return its files.

    `fingerprint` is the hex SHA-256 of root version `first_root`. Raises VerificationRefused.
    """
    try:
        return _walk(fingerprint, metadata, targets, first_root)
    except LengthOrHashMismatchError as error:
        raise _refuse(f"a file of the trust set was altered: {error}") from error
    except (RepositoryError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _refuse(f"the trust set does not verify: {error}") from error


def pinned_root(fingerprint_matches: Callable[[str], bool], metadata: Read) -> tuple[int, bytes]:
    """Find the root version on a medium whose SHA-256 was pinned. Parses nothing."""
    for version in range(1, MAX_ROOTS):
        data = metadata(f"{version}.root.json", MAX_METADATA_BYTES)
        if data is not None and fingerprint_matches(hashlib.sha256(data).hexdigest()):
            return version, data
    raise VerificationRefused(
        "no root of trust here has that fingerprint",
        hint="compare it, word by word, with what `pratique trust status DIR` says at the source",
    )


def _walk(fingerprint: str, metadata: Read, targets: Read, first_root: int) -> VerifiedSet:
    root, root_version = _root(fingerprint, metadata, first_root)
    timestamp = _load(Timestamp, root, "timestamp", _need(metadata, "timestamp.json"))
    snapshot_bytes = _need(metadata, "snapshot.json")
    timestamp.snapshot_meta.verify_length_and_hashes(snapshot_bytes)
    snapshot = _load(Snapshot, root, "snapshot", snapshot_bytes)
    _same_version("snapshot", snapshot, timestamp.snapshot_meta.version)
    top = _targets(metadata, snapshot, root, Targets.type)
    expires = [root.expires, timestamp.expires, snapshot.expires, top.expires]
    files = _files(top, targets, _FILE)
    connected: dict[str, bytes] = {}
    if top.delegations is not None:
        if set(top.delegations.roles or {}) != {REVOKER}:
            raise _refuse("the trust set delegates to a role other than the revoker")
        check_keys(top.delegations.keys)
        delegated = _targets(metadata, snapshot, top, REVOKER)
        expires.append(delegated.expires)
        connected = _files(delegated, targets, re.compile(re.escape(REVOKER_PATH)))
    return VerifiedSet(
        MappingProxyType(files),
        MappingProxyType(connected),
        root_version,
        top.version,
        min(expires),
    )


def _root(fingerprint: str, metadata: Read, first: int) -> tuple[Root, int]:
    data = _need(metadata, f"{first}.root.json")
    if hashlib.sha256(data).hexdigest() != fingerprint:
        raise _refuse("the root of trust is not the one that was pinned")
    root = _parse(Root, data)
    root.signed.verify_delegate("root", root.signed_bytes, root.signatures)
    _same_version("root", root.signed, first)
    check_keys(root.signed.keys)
    for version in range(first + 1, first + MAX_ROOTS):
        following = metadata(f"{version}.root.json", MAX_METADATA_BYTES)
        if following is None:
            return root.signed, version - 1
        newer = _parse(Root, following)
        root.signed.verify_delegate("root", newer.signed_bytes, newer.signatures)
        newer.signed.verify_delegate("root", newer.signed_bytes, newer.signatures)
        _same_version("root", newer.signed, version)
        check_keys(newer.signed.keys)
        root = newer
    raise _refuse(f"the trust set has more than {MAX_ROOTS} roots")


def _targets(metadata: Read, snapshot: Snapshot, delegator: Root | Targets, role: str) -> Targets:
    data = _need(metadata, f"{role}.json")
    listed = snapshot.meta.get(f"{role}.json")
    if listed is None:
        raise _refuse(f"the trust set's snapshot does not list {role}.json")
    listed.verify_length_and_hashes(data)
    found = _load(Targets, delegator, role, data)
    _same_version(role, found, listed.version)
    return found


def _files(role: Targets, read: Read, allowed: re.Pattern[str]) -> dict[str, bytes]:
    if len(role.targets) > MAX_TARGETS:
        raise _refuse("the trust set has too many files")
    found: dict[str, bytes] = {}
    for path, info in role.targets.items():
        if path_problem(path) is not None or not allowed.fullmatch(path):
            raise _refuse(f"the trust set has a file that nothing would read: {shown(path)}")
        data = read(path, MAX_TARGET_BYTES)
        if data is None:
            raise _refuse(f"the trust set lacks its file {shown(path)}")
        info.verify_length_and_hashes(data)
        found[path] = data
    return found


def _load(kind: type[S], delegator: Root | Targets, role: str, data: bytes) -> S:
    parsed = _parse(kind, data)
    delegator.verify_delegate(role, parsed.signed_bytes, parsed.signatures)
    return parsed.signed


def _parse(kind: type[S], data: bytes) -> Metadata[S]:
    parsed: Metadata[S] = Metadata.from_bytes(data)
    if parsed.signed.type != kind.type:
        raise _refuse(f"a file of the trust set is not of the type {kind.type}")
    return parsed


def _same_version(role: str, signed: Signed, expected: int) -> None:
    if signed.version != expected:
        raise _refuse(f"the trust set's {role} is version {signed.version}, not {expected}")


def _need(read: Read, name: str) -> bytes:
    data = read(name, MAX_METADATA_BYTES)
    if data is None:
        raise _refuse(f"the trust set lacks {name}")
    return data


def _refuse(message: str) -> VerificationRefused:
    return VerificationRefused(
        message[:300], hint="ask the enclave's administrators for a fresh copy of the set"
    )

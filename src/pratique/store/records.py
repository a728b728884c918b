"""What was admitted, and what names point at: small files, replaced in one step, never half-written.

A record is a note of the administrator's own machine, not a proof: everything in it that matters is
verified again before a model is used.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from pratique.core.bundle import BundlePolicy
from pratique.core.ids import BundleId, Digest, parse_alias, parse_bundle_id, parse_digest, shown
from pratique.errors import FormatError, StorageError, UnreadableInput, UsageError
from pratique.store import disk
from pratique.store.cas import Store

_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)
_MAX_BYTES: Final = 64 * 2**20
_PREFIX: Final = re.compile(r"[0-9a-f]{8,64}\Z")
_RECORD_MODE: Final = 0o600

DigestText = Annotated[Digest, AfterValidator(parse_digest)]
R = TypeVar("R", bound=BaseModel)
BundleText = Annotated[BundleId, AfterValidator(parse_bundle_id)]
AliasText = Annotated[str, AfterValidator(parse_alias)]


class AdmissionRecord(BaseModel):
    """One admitted bundle. `tree` is its directory in the store; times are ISO 8601, UTC.

    `signatures` are the envelopes that were valid at admission, as objects of the store.
    `commit_time` (seconds since 1970) is the committer's, where the commit proof was verified.
    """

    model_config = _STRICT

    schema_: Literal["pratique.admission/v1"] = Field(alias="schema")
    bundle_id: BundleText
    name: AliasText
    label: str
    repo: str | None
    commit: str | None
    commit_time: int | None
    taken_at: str
    admitted_at: str
    policy: BundlePolicy
    size: int
    tree: str = Field(pattern=r"^[0-9a-f]{64}-[0-9a-f]{8}$")
    signatures: dict[str, DigestText]
    verity: dict[str, str]


class Move(BaseModel):
    """A name was pointed at a bundle. `reason` is given where it went back to an older one."""

    model_config = _STRICT

    bundle_id: BundleText
    at: str
    reason: str | None = None


class Alias(BaseModel):
    """A name, and all that it ever pointed at; the last move holds."""

    model_config = _STRICT

    schema_: Literal["pratique.alias/v1"] = Field(alias="schema")
    name: AliasText
    moves: tuple[Move, ...] = Field(min_length=1)

    @property
    def bundle_id(self) -> BundleId:
        """What the name points at now."""
        return self.moves[-1].bundle_id


def write_admission(store: Store, record: AdmissionRecord) -> None:
    """Write a record: from now on the bundle is admitted. Call inside `store.deciding()`."""
    with disk.storing("the admission record"):
        disk.replace_file(store.admission(record.bundle_id), record_bytes(record), _RECORD_MODE)


def read_admission(store: Store, bundle: BundleId) -> AdmissionRecord:
    """Return the record of an admitted bundle. Raises UnreadableInput if there is none."""
    data = _read(store.admission(bundle))
    if data is None:
        raise UnreadableInput(
            f"no bundle {bundle[:8]} was admitted here", hint="see `pratique list`"
        )
    record = _parse(AdmissionRecord, data, store.admission(bundle))
    if record.bundle_id != bundle:
        raise FormatError(f"the record of {bundle[:8]} is about another bundle")
    return record


def admissions(store: Store) -> Iterator[AdmissionRecord]:
    """Yield the records of all admitted bundles, by id."""
    for path in sorted((store.root / "admissions").glob("*.json")):
        if not path.name.startswith("."):
            yield read_admission(store, parse_bundle_id(path.stem))


def read_alias(store: Store, name: str) -> Alias | None:
    """Return what `name` points at, or None if it is not a name here."""
    data = _read(store.alias(parse_alias(name)))
    return None if data is None else _parse(Alias, data, store.alias(name))


def write_alias(store: Store, alias: Alias) -> None:
    """Point a name, in one step. Call inside `store.deciding()`."""
    with disk.storing(f"the name {alias.name}"):
        disk.replace_file(store.alias(alias.name), record_bytes(alias), _RECORD_MODE)


def aliases(store: Store) -> Iterator[Alias]:
    """Yield all names, sorted."""
    for path in sorted((store.root / "names").glob("*.json")):
        if not path.name.startswith(".") and (alias := read_alias(store, path.stem)) is not None:
            yield alias


def resolve(store: Store, reference: str) -> AdmissionRecord:
    """Find what a person means: NAME, NAME@REV8, or 8 and more digits of a bundle id.

    Raises:
        UnreadableInput: nothing matches.
        UsageError: more than one bundle matches.
    """
    alias = _alias_or_none(store, reference)
    found = [record for record in admissions(store) if _matches(record, reference)]
    if alias is not None:
        # A name decides between versions of its model, but never stands in for another's id.
        by_id = [record for record in found if record.bundle_id.startswith(reference)]
        found = [read_admission(store, alias.bundle_id)]
        found += [record for record in by_id if record.bundle_id != alias.bundle_id]
    if not found:
        raise UnreadableInput(
            f"{shown(reference)} is not admitted here", hint="see `pratique list`"
        )
    if len(found) > 1:
        names = ", ".join(f"{r.label} ({r.bundle_id[:12]})" for r in found)
        raise UsageError(
            f"{shown(reference)} could be any of {names}", hint="give more of the bundle id"
        )
    return found[0]


def _alias_or_none(store: Store, reference: str) -> Alias | None:
    try:
        return read_alias(store, reference)
    except FormatError:
        return None


def _matches(record: AdmissionRecord, reference: str) -> bool:
    if reference in {record.label, record.name}:
        return True
    return bool(_PREFIX.match(reference)) and record.bundle_id.startswith(reference)


def record_bytes(record: AdmissionRecord | Alias) -> bytes:
    """A record as it is written: one form."""
    value = record.model_dump(mode="json", by_alias=True)
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error


def _parse(kind: type[R], data: bytes, path: Path) -> R:
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise StorageError(
            f"{path} is damaged", hint="remove it and admit the bundle again; see `pratique fsck`"
        ) from error

"""What may be written to the ledger: one frozen type per kind of event, and nothing else.

The rule is an allow-list. There is no event with a free dictionary, and none has room for a prompt or
an answer: a request is lengths, counts and ids. Each field is checked by its type when the event is
recorded: ids by their form, `Line` is one printable line, counts are integers that every JSON reader
keeps exact. A wrong value is a bug of the caller and raises TypeError; only `Remark`, the words of
people and of refusals, is made fit instead (escaped, cut), so that an odd file name cannot keep a
refusal out of the log. The event of a change bears the id of the `operation` that made it, by which
it is found again after a crash (flows/journal.py).
"""

import dataclasses
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Final, NewType

from pratique.core.ids import (
    BundleId,
    CommitSha,
    Digest,
    RepoId,
    parse_commit,
    parse_digest,
    parse_repo_id,
)
from pratique.errors import FormatError

Line = NewType("Line", str)
"""A name, id or code: one printable line of at most 256 characters."""
Remark = NewType("Remark", str)
"""Somebody's reason, or why something was refused: escaped to one line and cut at 500 characters."""
Count = NewType("Count", int)
"""A number from 0 to 2**53 - 1."""

MAX_LINE: Final = 256
MAX_REMARK: Final = 500
MAX_ITEMS: Final = 256
_MAX_COUNT: Final = 2**53


@dataclass(frozen=True, slots=True, kw_only=True)
class Vetting:
    """A model was vetted. `subject` is its manifest digest; the counts are findings by disposition."""

    kind: ClassVar[str] = "vetting"
    subject: Digest
    name: Line
    repo: RepoId | None = None
    commit: CommitSha | None = None
    policy: Line
    policy_digest: Digest
    verdict: Line
    refused: Count
    needs_approval: Count
    noted: Count
    by: Line


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowanceAccepted:
    """An allowance answered for a finding. `digest` is what the finding is about."""

    kind: ClassVar[str] = "allowance"
    subject: Digest
    check: Line
    digest: Digest
    owner: Line
    expires: Line
    reason: Remark
    by: Line


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A bundle was sealed and signed by `key`."""

    kind: ClassVar[str] = "sealed"
    bundle: BundleId
    name: Line
    key: Line
    by: Line
    operation: Line | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A bundle was approved by `key` until `expires` (RFC 3339)."""

    kind: ClassVar[str] = "approval"
    bundle: BundleId
    key: Line
    expires: Line
    allowances: Count
    scope: Remark = Remark("")
    by: Line
    operation: Line | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """A bundle was verified, vetted again and taken into the store."""

    kind: ClassVar[str] = "admission"
    bundle: BundleId
    name: Line
    repo: RepoId | None = None
    commit: CommitSha | None = None
    policy: Line
    policy_digest: Digest
    files: Count
    size: Count
    by: Line
    operation: Line | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A verb refused something: `subject` as the user named it, with the exit code and the reason."""

    kind: ClassVar[str] = "refusal"
    verb: Line
    subject: Remark
    code: Count
    reason: Remark
    by: Line


@dataclass(frozen=True, slots=True, kw_only=True)
class AliasMoved:
    """A name now points at another bundle. `rollback` is the reason for going to an older commit."""

    kind: ClassVar[str] = "alias_moved"
    name: Line
    before: BundleId | None = None
    after: BundleId | None = None
    rollback: Remark = Remark("")
    by: Line
    operation: Line | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A model was loaded: on which rung, with what was predicted and measured (bytes)."""

    kind: ClassVar[str] = "load"
    bundle: BundleId
    name: Line
    engine: Line
    rung: Line
    device: Line
    predicted: Count
    measured: Count
    skipped: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RungLost:
    """A rung did not work: its child died or could not load."""

    kind: ClassVar[str] = "rung_lost"
    bundle: BundleId
    rung: Line
    reason: Remark


@dataclass(frozen=True, slots=True, kw_only=True)
class Unloaded:
    """Serving of a model ended."""

    kind: ClassVar[str] = "unloaded"
    bundle: BundleId
    name: Line
    reason: Remark = Remark("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request to a served model, without a word of its content.

    `caller` is the id of the caller's key or the subject of the client certificate; `request` is our
    own id. Lengths are in characters, latencies in microseconds. `entities` counts what a redactor
    saw, by type. `fingerprint` is the keyed digest of the prompt, where policy asks for one.
    """

    kind: ClassVar[str] = "request"
    request: Line
    caller: Line
    bundle: BundleId
    name: Line
    rung: Line
    route: Line
    status: Count
    finish: Line
    prompt_chars: Count
    completion_chars: Count
    prompt_tokens: Count
    completion_tokens: Count
    latency_us: Count
    first_token_us: Count = Count(0)
    streamed: bool = False
    entities: Mapping[str, int] = dataclasses.field(default_factory=dict)
    fingerprint: Line = Line("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """A bundle, key or identity was revoked."""

    kind: ClassVar[str] = "revocation"
    what: Line
    subject: Line
    reason: Remark
    by: Line
    operation: Line | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChanged:
    """Another policy is in force."""

    kind: ClassVar[str] = "policy_changed"
    name: Line
    before: Digest | None = None
    after: Digest
    by: Line


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustChanged:
    """Trust metadata was installed or updated: versions and the fingerprint of the root."""

    kind: ClassVar[str] = "trust_changed"
    root: Digest
    before: Count
    after: Count
    by: Line
    operation: Line | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextLogging:
    """Logging of (redacted) text was switched on or off, and by whom."""

    kind: ClassVar[str] = "text_logging"
    on: bool
    escrow: bool
    policy_digest: Digest
    by: Line


@dataclass(frozen=True, slots=True, kw_only=True)
class TornTail:
    """A writer died in mid-line: so many bytes were set aside under their digest."""

    kind: ClassVar[str] = "torn_tail"
    size: Count
    sha256: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """The last event of a segment, which is read-only from here on."""

    kind: ClassVar[str] = "rotation"
    first: Count
    count: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """All events before number `through` may have been deleted, as whole segments."""

    kind: ClassVar[str] = "retention"
    through: Count
    by: Line


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyFailed:
    """A checkpoint could not be copied to one of the places that keep copies."""

    kind: ClassVar[str] = "copy_failed"
    copy: Line
    reason: Remark


Event = (
    Vetting
    | AllowanceAccepted
    | Sealed
    | Approval
    | Admission
    | Refusal
    | AliasMoved
    | Load
    | RungLost
    | Unloaded
    | Request
    | Revocation
    | PolicyChanged
    | TrustChanged
    | TextLogging
    | TornTail
    | Rotation
    | Retention
    | CopyFailed
)
KINDS: Final[Mapping[str, type[Event]]] = MappingProxyType(
    {event.kind: event for event in typing.get_args(Event)}
)


def fields_of(event: Event) -> dict[str, Any]:
    """Return the fields as JSON values, each checked by its declared type; None is left out.

    Raises TypeError when the event is none of the allow-list or a field does not have its form.
    """
    checks = _CHECKS.get(type(event))
    if checks is None:
        raise TypeError(f"not a ledger event: {type(event).__name__}")
    found = {}
    for name, check in checks:
        value = getattr(event, name)
        if value is None:
            continue
        try:
            found[name] = check(value)
        except (TypeError, ValueError, AttributeError, FormatError) as error:
            raise TypeError(f"{event.kind}.{name} does not have its form") from error
    return found


def _line(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    if len(value) > MAX_LINE or not value.isprintable():
        raise ValueError
    return str(value)


def _remark(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    if len(value) <= MAX_REMARK and value.isprintable():
        return str(value)
    cut = value if len(value) <= MAX_REMARK else value[: MAX_REMARK - 1] + "…"
    plain = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)
    return plain if len(plain) <= MAX_REMARK else plain[: MAX_REMARK - 1] + "…"


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value < _MAX_COUNT:
        raise TypeError
    return value


def _flag(value: object) -> bool:
    if type(value) is not bool:
        raise TypeError
    return value


def _lines(value: object) -> list[str]:
    if not isinstance(value, tuple) or len(value) > MAX_ITEMS:
        raise TypeError
    return [_line(item) for item in value]


def _counts(value: object) -> dict[str, int]:
    if not isinstance(value, Mapping) or len(value) > MAX_ITEMS:
        raise TypeError
    for key in value:
        if not (_line(key).isascii() and key.replace("_", "").isalnum()):
            raise ValueError
    return {key: _count(number) for key, number in value.items()}


_BY_TYPE: Final[Mapping[object, Callable[[Any], Any]]] = {
    Line: _line,
    Remark: _remark,
    Count: _count,
    Digest: parse_digest,
    BundleId: parse_digest,
    CommitSha: parse_commit,
    RepoId: parse_repo_id,
    bool: _flag,
    tuple[Line, ...]: _lines,
    Mapping[str, int]: _counts,
}


def _checks_of(event: type[Event]) -> tuple[tuple[str, Callable[[Any], Any]], ...]:
    hints = typing.get_type_hints(event)
    checks = []
    for field in dataclasses.fields(event):
        hint = hints[field.name]
        options = [o for o in typing.get_args(hint) if o is not type(None)]
        plain = options[0] if type(None) in typing.get_args(hint) else hint
        checks.append((field.name, _BY_TYPE[plain]))
    return tuple(checks)


_CHECKS: Final = MappingProxyType({event: _checks_of(event) for event in KINDS.values()})

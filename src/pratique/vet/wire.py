"""What goes to the confined child and what comes back. The answer is parsed as strictly as any input.

A child that read hostile bytes may be hostile: its answer can make a verdict worse or say nothing
better than "no finding" about one digest, which sealing compares with the bytes it copies.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Final, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pratique.core.candidate import Candidate, EntryKind, Listed
from pratique.core.findings import Disposition, Finding, Severity
from pratique.core.foreign import ForeignRoot, parse_pin
from pratique.core.ids import CommitSha, Digest, RelPath, RepoId, parse_digest
from pratique.core.manifest import FileEntry, Manifest
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.formats import json_strict
from pratique.vet.display import displayed
from pratique.vet.examined import Examined

_STRICT: Final = ConfigDict(extra="forbid", frozen=True, strict=True)
_ANSWER: Final = json_strict.Limits(size=32 * 2**20, depth=6, items=2_000_000)
_MAX_TEXT: Final = 2_000
_MAX_EVIDENCE: Final = 2**20
_EVIDENCE: Final = frozenset({"tokenizer.json"})


class _Finding(BaseModel):
    model_config = _STRICT

    check: str = Field(min_length=1, max_length=64, pattern=r"^[a-z0-9-]+$")
    severity: str
    disposition: str
    path: str = Field(max_length=8192)
    message: str = Field(max_length=_MAX_TEXT)
    remediation: str = Field(max_length=_MAX_TEXT)
    digest: str | None


class _Answer(BaseModel):
    model_config = _STRICT

    digest: str
    files: int = Field(ge=0)
    size: int = Field(ge=0)
    findings: list[_Finding]
    evidence: dict[str, str]
    foreign: dict[str, str]


def encode_request(candidate: Candidate, policy: Policy, stage: Stage) -> bytes:
    """Our own question, for the pipe to the child."""
    listing = None if candidate.listing is None else [asdict(item) for item in candidate.listing]
    return json.dumps(
        {
            "name": candidate.name,
            "root": str(candidate.root),
            "heads": None if candidate.heads is None else str(candidate.heads),
            "repo": candidate.repo,
            "commit": candidate.commit,
            "listing": listing,
            "hub": {k: v for k, v in candidate.hub.items() if _is_plain(v)},
            "policy": policy.canonical.decode(),
            "stage": int(stage),
            "reference": None if candidate.reference is None else str(candidate.reference),
            "measured": _plain_manifest(candidate.measured),
            "foreign": [[one.pin.text, str(one.root)] for one in candidate.foreign],
        }
    ).encode()


def decode_request(data: bytes) -> tuple[Candidate, Policy, Stage]:
    """The inverse of `encode_request`. The pipe is ours: a bad value is a bug."""
    plain = json.loads(data)
    listing = plain["listing"]
    candidate = Candidate(
        name=plain["name"],
        root=Path(plain["root"]),
        repo=None if plain["repo"] is None else RepoId(plain["repo"]),
        commit=None if plain["commit"] is None else CommitSha(plain["commit"]),
        listing=None if listing is None else tuple(_listed(item) for item in listing),
        heads=None if plain["heads"] is None else Path(plain["heads"]),
        hub=plain["hub"],
        reference=None if plain["reference"] is None else Path(plain["reference"]),
        measured=_manifest(plain["measured"]),
        foreign=tuple(ForeignRoot(parse_pin(pin), Path(root)) for pin, root in plain["foreign"]),
    )
    return candidate, Policy.model_validate_json(plain["policy"]), Stage(plain["stage"])


def encode_answer(examined: Examined) -> bytes:
    """The child's answer; texts are cut to what the parent accepts."""
    findings = [
        {
            "check": f.check,
            "severity": f.severity.value,
            "disposition": f.disposition.value,
            "path": displayed(f.path)[:8192],
            "message": displayed(f.message)[:_MAX_TEXT],
            "remediation": f.remediation[:_MAX_TEXT],
            "digest": f.digest,
        }
        for f in examined.findings
    ]
    return json.dumps(
        {
            "digest": examined.digest,
            "files": examined.files,
            "size": examined.size,
            "findings": findings,
            "evidence": {
                name: text for name, text in examined.evidence if len(text) < _MAX_EVIDENCE
            },
            "foreign": dict(examined.foreign),
        }
    ).encode()


def decode_answer(data: bytes) -> Examined:
    """Parse a child's answer. Raises FormatError for anything but a well-formed one."""
    try:
        answer = _Answer.model_validate(json_strict.parse(data, _ANSWER))
        return Examined(
            parse_digest(answer.digest),
            answer.files,
            answer.size,
            tuple(_finding(f) for f in answer.findings),
            tuple((n, t) for n, t in answer.evidence.items() if n in _EVIDENCE),
            tuple((parse_pin(pin).text, parse_digest(d)) for pin, d in answer.foreign.items()),
        )
    except (ValidationError, ValueError) as error:
        raise FormatError("the confined check gave an answer that cannot be read") from error


def _plain_manifest(measured: Manifest | None) -> list[tuple[str, int, str]] | None:
    return None if measured is None else [(f.path, f.size, f.sha256) for f in measured]


def _manifest(plain: list[tuple[str, int, str]] | None) -> Manifest | None:
    if plain is None:
        return None
    return Manifest(
        tuple(FileEntry(RelPath(path), size, Digest(sha256)) for path, size, sha256 in plain)
    )


def _finding(found: _Finding) -> Finding:
    return Finding(
        found.check,
        Severity(found.severity),
        Disposition(found.disposition),
        found.path,
        found.message,
        found.remediation,
        None if found.digest is None else parse_digest(found.digest),
    )


def _listed(item: dict[str, object]) -> Listed:
    return Listed(
        path=cast("str", item["path"]),
        size=cast("int", item["size"]),
        kind=EntryKind(cast("str", item["kind"])),
        executable=bool(item["executable"]),
        sha256=cast("str | None", item["sha256"]),
        git_id=cast("str | None", item["git_id"]),
    )


def _is_plain(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True

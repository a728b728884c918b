"""Snapshot (untrusted) and VettedSnapshot (a verdict that allows, about these very bytes)."""

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from pratique.core.findings import Verdict, VerdictState
from pratique.core.foreign import ForeignRoot, Pin
from pratique.core.ids import CommitSha, RepoId
from pratique.core.manifest import Manifest
from pratique.errors import ApprovalNeeded, VettingRefused


class Proof(enum.StrEnum):
    """What ties the files to the commit they are said to be."""

    VERIFIED = "verified"
    """git objects were fetched and every file was shown to be in the commit's tree."""
    NONE = "none"
    """A Hub that offers no git access: the commit is only the server's word."""
    NOT_APPLICABLE = "not-applicable"
    """A local source, pinned by manifest."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a snapshot came from. `requested` is what the user typed (branch, tag, path)."""

    kind: Literal["hub", "local", "hf-cache"]
    requested: str
    repo: RepoId | None = None
    commit: CommitSha | None = None
    endpoint: str | None = None


@dataclass(frozen=True, slots=True)
class ForeignCode:
    """Code of another repository that a snapshot brings along, at the commit that somebody pinned.

    `folder` holds `snapshot.json`, `model/` and `provenance/` like any snapshot.
    """

    pin: Pin
    manifest: Manifest
    folder: Path

    @property
    def model_dir(self) -> Path:
        """Where the code is."""
        return self.folder / "model"

    @property
    def provenance_dir(self) -> Path:
        """Its own commit proof and record."""
        return self.folder / "provenance"


MAX_AHEAD: Final = timedelta(days=1)
"""How far a snapshot's time may lie ahead of the clock that judges it.

Names go forward by it: one from the far future would make every later version count as older.
"""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Files at rest in quarantine, pinned by digest, not yet trusted.

    `root` holds `snapshot.json`, `model/` and `provenance/`; for a bare model directory `model_dir`
    is that directory and `provenance_dir` is None.
    """

    name: str
    source: Source
    manifest: Manifest
    proof: Proof
    taken_at: datetime
    model_dir: Path
    provenance_dir: Path | None
    foreign: tuple[ForeignCode, ...] = ()

    @property
    def foreign_roots(self) -> tuple[ForeignRoot, ...]:
        """The code of other repositories, as the gate takes it."""
        return tuple(ForeignRoot(code.pin, code.model_dir) for code in self.foreign)

    @property
    def rev8(self) -> str:
        """First 8 digits of the commit, else of the manifest digest."""
        return (self.source.commit or self.manifest.digest)[:8]

    @property
    def label(self) -> str:
        """NAME@REV8."""
        return f"{self.name}@{self.rev8}"


@dataclass(frozen=True, slots=True)
class VettedSnapshot:
    """A snapshot together with a verdict that lets it pass. Cannot be built otherwise.

    Raises:
        VettingRefused: the verdict is FAILED.
        ApprovalNeeded: a finding lacks its allowance.
        RuntimeError: the verdict speaks of other bytes (misuse of the API).
    """

    snapshot: Snapshot
    verdict: Verdict

    def __post_init__(self) -> None:
        subject = self.verdict.subject
        foreign = {code.pin.text: code.manifest.digest for code in self.snapshot.foreign}
        same = subject.digest == self.snapshot.manifest.digest and dict(subject.foreign) == foreign
        # A refusal is said first: the gate reads no further than it must to refuse.
        if not same and self.verdict.state is not VerdictState.FAILED:
            raise RuntimeError("the verdict speaks of another snapshot")
        match self.verdict.state:
            case VerdictState.PASSED:
                return
            case VerdictState.NEEDS_APPROVAL:
                raise ApprovalNeeded(
                    f"{self.snapshot.label} needs an allowance before it can be sealed",
                    hint="see the findings marked 'approve'; add an allowance to the policy",
                )
            case VerdictState.FAILED:
                raise VettingRefused(
                    f"{self.snapshot.label} was refused by the gate",
                    hint="see the findings marked 'refuse'; no policy turns these into a pass",
                )


class SnapshotFile(BaseModel):
    """One line of `snapshot.json`'s file list."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    path: str
    size: int = Field(ge=0)
    sha256: str
    git_id: str | None = None
    lfs: bool = False


class LeftOutFile(BaseModel):
    """A path of the commit that was not taken along. `sha256` only where the source told it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    path: str
    size: int = Field(ge=0)
    git_id: str | None = None
    sha256: str | None = None


class SnapshotDocument(BaseModel):
    """`snapshot.json`: what fetch recorded. Read only by the store, which checks it against disk."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    schema_: Literal["pratique.snapshot/v1"] = Field(alias="schema")
    name: str
    kind: Literal["hub", "local", "hf-cache"]
    requested: str
    repo: str | None = None
    commit: str | None = None
    endpoint: str | None = None
    proof: Literal["verified", "none", "not-applicable"]
    taken_at: str
    files: tuple[SnapshotFile, ...]
    left_out: tuple[LeftOutFile, ...] = ()
    fetched_by: dict[str, str] = Field(default_factory=dict)

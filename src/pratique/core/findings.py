"""What the gate says: findings, and the verdict that follows from them."""

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from pratique.core.ids import Digest


class Severity(enum.StrEnum):
    """How bad it would be, after CVSS's words."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"


class Disposition(enum.StrEnum):
    """What a finding does to the verdict."""

    REFUSE = "refuse"
    """Hostile, malformed, ambiguous or unintelligible: no policy turns it into a pass."""
    APPROVE = "approve"
    """Understood and clean, but somebody must answer for it: needs an allowance."""
    NOTE = "note"
    """What ordinary repositories carry and nothing loads."""


class VerdictState(enum.StrEnum):
    """The gate's three answers."""

    PASSED = "PASSED"
    NEEDS_APPROVAL = "NEEDS_APPROVAL"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that one check saw.

    `path` is the file (display form; may be "" for the repository as a whole). `digest` is what an
    allowance for this finding must name: the SHA-256 of the file or value that the finding is about.
    `allowed_by` is the `Allowance.answer` (why, and who) of the allowance that answers for it, if one does.
    """

    check: str
    severity: Severity
    disposition: Disposition
    path: str
    message: str
    remediation: str
    digest: Digest | None = None
    allowed_by: str | None = None

    @property
    def blocks(self) -> bool:
        """Whether this finding keeps the verdict from PASSED."""
        if self.disposition is Disposition.REFUSE:
            return True
        return self.disposition is Disposition.APPROVE and self.allowed_by is None


@dataclass(frozen=True, slots=True)
class Subject:
    """What a verdict speaks of. `digest` is the manifest digest of the files that were vetted.

    `foreign` are the pins of other repositories whose code was vetted with it (ORG/NAME@COMMIT),
    each with its manifest digest.
    """

    name: str
    digest: Digest
    repo: str | None = None
    commit: str | None = None
    files: int = 0
    size: int = 0
    foreign: tuple[tuple[str, Digest], ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyRef:
    """Which policy decided. `digest` is the SHA-256 of its canonical bytes."""

    name: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class Verdict:
    """The gate's answer about one subject under one policy. `state` follows from the findings.

    `evidence` holds documents that the checks wrote for people, as (file name, text).
    """

    subject: Subject
    policy: PolicyRef
    findings: tuple[Finding, ...]
    evidence: tuple[tuple[str, str], ...] = ()

    @property
    def state(self) -> VerdictState:
        """FAILED if any finding refuses, NEEDS_APPROVAL if any lacks its allowance, else PASSED."""
        return state_of(self.findings)


def state_of(findings: Iterable[Finding]) -> VerdictState:
    """Fold findings into the gate's answer."""
    state = VerdictState.PASSED
    for finding in findings:
        if finding.disposition is Disposition.REFUSE:
            return VerdictState.FAILED
        if finding.blocks:
            state = VerdictState.NEEDS_APPROVAL
    return state

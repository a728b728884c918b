"""What a check is: one rule, one stable id, one function from a repository to findings.

A check reads through the `Repo` it is given and nothing else. It yields findings; it neither
raises for hostile input (an exception that escapes becomes a refusal) nor executes anything.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pratique.core.findings import Disposition, Finding, Severity
from pratique.core.ids import Digest
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.vet.repo import Repo


@dataclass(frozen=True, slots=True)
class Check:
    """One rule.

    `id` is stable (scripts, allowances and docs/checks.md name it). `stage` is the earliest stage at
    which it can say something; it runs at that stage and at every later one, and skips files that
    are not here yet (`Repo.here`).
    """

    id: str
    title: str
    stage: Stage
    run: Callable[[Repo, Policy], Iterator[Finding]]


def refuse(
    check: str, path: str, message: str, remediation: str, severity: Severity = Severity.HIGH
) -> Finding:
    """A finding that no policy turns into a pass."""
    return Finding(check, severity, Disposition.REFUSE, path, message, remediation)


def approve(
    check: str,
    path: str,
    message: str,
    remediation: str,
    *,
    digest: Digest | None,
    severity: Severity = Severity.MEDIUM,
) -> Finding:
    """A finding that somebody must answer for; `digest` is what their allowance has to name.

    None only where the bytes are not here yet (LISTING): such a finding cannot be allowed by digest.
    """
    return Finding(check, severity, Disposition.APPROVE, path, message, remediation, digest)


def note(check: str, path: str, message: str, remediation: str = "") -> Finding:
    """A finding for the reader; it does not touch the verdict."""
    return Finding(check, Severity.INFO, Disposition.NOTE, path, message, remediation)

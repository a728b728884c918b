"""What the confined child hands back. Imports no check: the parent must start fast."""

from dataclasses import dataclass
from typing import Final

from pratique.core.findings import Finding
from pratique.core.ids import Digest

FAILED_CHECK: Final = "gate"
"""The id under which the gate refuses what it could not finish."""


@dataclass(frozen=True, slots=True)
class Examined:
    """What the child hands back: findings before any allowance, and the digest of what was read.

    `foreign` has the manifest digest of the code of each other repository, by its pin.
    """

    digest: Digest
    files: int
    size: int
    findings: tuple[Finding, ...]
    evidence: tuple[tuple[str, str], ...] = ()
    foreign: tuple[tuple[str, Digest], ...] = ()

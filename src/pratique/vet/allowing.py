"""Allowances: which finding each answers for, and which are expired or answer for nothing."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from typing import Final

from pratique.core.candidate import Candidate
from pratique.core.findings import Disposition, Finding, Severity
from pratique.core.policy import Allowance, Policy

ALLOWANCE: Final = "allowance"


def allow(
    findings: Iterable[Finding],
    policy: Policy,
    candidate: Candidate,
    today: date,
    *,
    complete: bool,
) -> tuple[Finding, ...]:
    """Mark findings that a valid allowance answers for, and report allowances that do not help.

    Guarantees that a refusal stays one, that check id and digest both match, and that an expired
    allowance counts for nothing. `complete`: whether all findings are known, so that an allowance
    for this repository that matched none can be called unused.
    """
    used: set[Allowance] = set()
    answered: list[Finding] = []
    for finding in findings:
        match = _match(finding, policy, candidate)
        if match is None:
            answered.append(finding)
            continue
        used.add(match)
        if match.expires < today:
            answered.extend((finding, _expired(match, finding)))
        else:
            answered.append(replace(finding, allowed_by=match.answer))
    if complete:
        answered.extend(
            _unused(entry) for entry in policy.allow if _is_unused(entry, used, candidate)
        )
    return tuple(answered)


def _match(finding: Finding, policy: Policy, candidate: Candidate) -> Allowance | None:
    """The allowance that answers for `finding`, the one that holds longest if there are several.

    One for a commit also answers for a copy that was made of it: the digest says that this is what
    was allowed there, and what converting changed has another.
    """
    if finding.disposition is not Disposition.APPROVE or finding.digest is None:
        return None
    found = [
        entry
        for entry in policy.allow
        if entry.check == finding.check
        and entry.digest == finding.digest
        and entry.repo in {None, candidate.repo}
        and entry.commit in {None, candidate.commit, candidate.made_from}
        and entry.path in {None, finding.path}
    ]
    return max(found, key=lambda entry: entry.expires, default=None)


def _expired(entry: Allowance, finding: Finding) -> Finding:
    return _note(
        finding.path,
        f"the allowance for {entry.check} expired on {entry.expires.isoformat()} ({entry.owner})",
        "review again and renew it, or remove it",
    )


def _is_unused(entry: Allowance, used: set[Allowance], candidate: Candidate) -> bool:
    """A policy serves many repositories: only an entry that names this one can be unused here."""
    return entry not in used and entry.repo is not None and entry.repo == candidate.repo


def _unused(entry: Allowance) -> Finding:
    return _note(
        entry.path or "",
        f"the allowance for {entry.check} ({entry.owner}) answers for nothing here",
        "remove it, or correct its digest: a changed byte voids an allowance",
    )


def _note(path: str, message: str, remedy: str) -> Finding:
    return Finding(ALLOWANCE, Severity.LOW, Disposition.NOTE, path, message, remedy)

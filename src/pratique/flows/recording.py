"""What the verbs write to the home's own ledger: vetting, allowance, seal, approval, admission, refusal.

A verb that changes what is trusted (`seal`, `approve`, `admit`, `revoke`, `trust`) fails if it cannot
be recorded; a revocation holds all the same. Looking (`vet`, `fetch`) and refusing go on, and say on
stderr that the record is missing.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pratique.core.findings import Disposition, Verdict
from pratique.core.ids import BundleId, CommitSha, Digest, RepoId, parse_digest
from pratique.core.policy import Policy
from pratique.errors import PratiqueError
from pratique.ledger import open_ledger
from pratique.ledger.account import who
from pratique.ledger.events import (
    Admission,
    AliasMoved,
    AllowanceAccepted,
    Approval,
    Count,
    Event,
    Line,
    Refusal,
    Remark,
    Revocation,
    Sealed,
    TrustChanged,
    Vetting,
)

if TYPE_CHECKING:  # `vet` records too, and need not pay for what admission brings along
    from pratique.admit.admitted import AdmittedBundle
    from pratique.attest import Approval as ApprovalStatement
    from pratique.attest.trustroot import TrustRoot

Write = Callable[[Sequence[Event]], object]
"""Writes events; returns when they are on the disk."""


@contextmanager
def recording(home: Path) -> Iterator[Write]:
    """Open the home's ledger before something is done, so that nothing is done that cannot be recorded.

    Raises LedgerNotIntact if the log is not what was signed, StorageError if it cannot be written.
    """
    with open_ledger(home) as ledger:
        yield ledger.append_batch


def vetting(verdict: Verdict, policy: Policy) -> list[Event]:
    """The gate's answer, and each allowance that answered for a finding in it."""
    count = {d: sum(f.disposition is d for f in verdict.findings) for d in Disposition}
    subject = verdict.subject
    events: list[Event] = [
        Vetting(
            subject=subject.digest,
            name=_line(subject.name),
            repo=None if subject.repo is None else RepoId(subject.repo),
            commit=None if subject.commit is None else CommitSha(subject.commit),
            policy=Line(verdict.policy.name),
            policy_digest=verdict.policy.digest,
            verdict=Line(verdict.state.value),
            refused=Count(count[Disposition.REFUSE]),
            needs_approval=Count(count[Disposition.APPROVE]),
            noted=Count(count[Disposition.NOTE]),
            by=who(),
        )
    ]
    answered = {(f.check, f.digest) for f in verdict.findings if f.allowed_by is not None}
    events.extend(
        AllowanceAccepted(
            subject=subject.digest,
            check=_line(allowance.check),
            digest=Digest(allowance.digest),
            owner=_line(allowance.owner),
            expires=Line(allowance.expires.isoformat()),
            reason=Remark(allowance.reason),
            by=who(),
        )
        for allowance in policy.allow
        if (allowance.check, allowance.digest) in answered
    )
    return events


def sealed(bundle_id: BundleId, label: str, key_id: str) -> Event:
    """A bundle was signed."""
    return Sealed(bundle=bundle_id, name=_line(label), key=Line(key_id), by=who())


def approved(approval: "ApprovalStatement", key_id: str) -> Event:
    """An approval was signed."""
    return Approval(
        bundle=approval.bundle_id,
        key=Line(key_id),
        expires=Line(approval.expires.isoformat()),
        allowances=Count(len(approval.allowances)),
        scope=Remark(f"enclave {approval.scope.enclave}, use {approval.scope.use}"),
        by=who(),
    )


def admitted(bundle: "AdmittedBundle", policy: Policy, rollback: str | None = None) -> list[Event]:
    """A bundle was taken in, and its name points at it. `rollback` is why it went back, if it did."""
    source = bundle.document.source
    moved = AliasMoved(
        name=_line(bundle.name),
        before=bundle.replaced,
        after=bundle.bundle_id,
        rollback=Remark(rollback or ""),
        by=who(),
    )
    return [
        Admission(
            bundle=bundle.bundle_id,
            name=_line(bundle.label),
            repo=None if source.repo is None else RepoId(source.repo),
            commit=None if source.commit is None else CommitSha(source.commit),
            policy=Line(policy.name),
            policy_digest=policy.digest,
            files=Count(len(bundle.files)),
            size=Count(sum(file.size for file in bundle.files)),
            by=who(),
        ),
        *([moved] if bundle.replaced != bundle.bundle_id else []),
    ]


def refused(verb: str, subject: str, error: PratiqueError) -> Event:
    """A verb refused something."""
    return Refusal(
        verb=_line(verb),
        subject=Remark(subject),
        code=Count(error.exit_code),
        reason=Remark(error.message),
        by=who(),
    )


def revoked(kind: str, subject: str, reason: str) -> Event:
    """Something was revoked in this home."""
    return Revocation(what=_line(kind), subject=_line(subject), reason=Remark(reason), by=who())


def trust_changed(trust: "TrustRoot", before: int) -> Event:
    """A trust set was installed. `before` is the version that was in force, 0 for none."""
    return TrustChanged(
        root=parse_digest(trust.fingerprint),
        before=Count(before),
        after=Count(trust.version),
        by=who(),
    )


def _line(text: str) -> Line:
    """Fit a name that others chose into one line."""
    kept = "".join(c if c.isprintable() else "?" for c in text)[:200]
    return Line(kept or "-")

"""What the verbs write to the home's own ledger: vetting, allowance, seal, approval, admission, refusal.

A verb that changes what is trusted (`seal`, `approve`, `admit`, `revoke`, `trust`) fails if it cannot
be recorded, and a killed one is recorded by the next (`journal`); a revocation holds all the same. Looking (`vet`, `fetch`) and refusing go on, and say on
stderr that the record is missing.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pratique.core.findings import Disposition, Verdict
from pratique.core.ids import BundleId, CommitSha, Digest, RepoId, parse_digest
from pratique.core.policy import Policy
from pratique.errors import PratiqueError
from pratique.flows.clock import heed_ledger
from pratique.flows.journal import Change, Journal, TrustMark, file_gone, file_holds, unsettled
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
    from pratique.admit.record import Decision
    from pratique.attest import Approval as ApprovalStatement
    from pratique.attest.home import State
    from pratique.attest.trustroot import TrustRoot
    from pratique.flows.approve import Attaching
    from pratique.seal.seal import SealedBundle
    from pratique.store.records import AdmissionRecord, Alias
    from pratique.store.upkeep import Forgotten


@dataclass(frozen=True, slots=True)
class Writing:
    """A home's open ledger: call it to write events; what changes something goes through the rest.

    Each of the rest is an `Around`: entered before the change holds, it keeps an intent, and leaves
    the events of what was done.
    """

    _journal: Journal

    def __call__(self, events: Sequence[Event]) -> None:
        """Write events; return when they are on the disk."""
        self._journal.ledger.append_batch(events)

    def sealing(self, bundle: "SealedBundle") -> AbstractContextManager[None]:
        """A bundle is about to get its name."""
        from pratique.core.bundle import (  # noqa: PLC0415  # `vet` need not pay for it
            SIGNATURES,
            VETTER_SIGNATURE,
        )

        event = sealed(bundle.bundle_id, bundle.label, bundle.key_id)
        signature = bundle.path / SIGNATURES / VETTER_SIGNATURE
        mark = file_holds(signature, bundle.signature, medium=bundle.path.parent)
        return self._journal.change([Change(event, mark)])

    def approving(
        self, approval: "ApprovalStatement", key_id: str
    ) -> "Callable[[Attaching], AbstractContextManager[None]]":
        """An approval is about to be written, beside a bundle or to be carried to it."""

        def around(attaching: "Attaching") -> AbstractContextManager[None]:
            digest = Digest(hashlib.sha256(attaching.signature).hexdigest())
            mark = file_holds(attaching.path, digest, medium=attaching.medium)
            return self._journal.change([Change(approved(approval, key_id), mark)])

        return around

    def admitting(self, decision: "Decision") -> AbstractContextManager[None]:
        """A bundle is about to be admitted, and its name to be pointed at it."""
        return self._journal.change(list(_admission(decision)))

    def forgetting(self, forgotten: "Forgotten") -> AbstractContextManager[None]:
        """An admission is about to be undone, and the names that point at it to go."""
        store, bundle = forgotten.store, forgotten.record.bundle_id
        gone = [
            Change(
                AliasMoved(name=_line(name), before=bundle, by=who()), file_gone(store.alias(name))
            )
            for name in forgotten.names
        ]
        event = revoked("admission", bundle, "gc --forget")
        return self._journal.change([*gone, Change(event, file_gone(store.admission(bundle)))])

    def revoking(
        self, kind: str, subject: str, reason: str
    ) -> "Callable[[State], AbstractContextManager[None]]":
        """Something is about to be revoked in this home."""
        event = revoked(kind, subject, reason)
        return lambda state: self._journal.change(
            [Change(event, TrustMark(current=state.current, emergencies=len(state.emergency)))]
        )

    def installing(
        self, before: int
    ) -> "Callable[[tuple[TrustRoot, str]], AbstractContextManager[None]]":
        """A trust set is about to hold. `before` is the version that was in force, 0 for none."""
        return lambda new: self._journal.change(
            [Change(trust_changed(new[0], before), TrustMark(current=new[1], emergencies=0))]
        )


@contextmanager
def recording(home: Path) -> Iterator[Writing]:
    """Open the home's ledger before something is done, so that nothing is done that cannot be recorded.

    What a killed command had done without recording it is recorded first.

    Raises LedgerNotIntact if the log is not what was signed, StorageError if it cannot be written.
    """
    with open_ledger(home) as ledger:
        heed_ledger(home, datetime.now(UTC))
        journal = Journal(home, ledger)
        journal.settle()
        yield Writing(journal)


def settle(home: Path) -> None:
    """Record what a killed command did, if one was killed. Raises as `recording` does."""
    if unsettled(home):
        with recording(home):
            pass


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


def sealed(bundle_id: BundleId, label: str, key_id: str) -> Sealed:
    """A bundle was signed."""
    return Sealed(bundle=bundle_id, name=_line(label), key=Line(key_id), by=who())


def approved(approval: "ApprovalStatement", key_id: str) -> Approval:
    """An approval was signed."""
    return Approval(
        bundle=approval.bundle_id,
        key=Line(key_id),
        expires=Line(approval.expires.isoformat()),
        allowances=Count(len(approval.allowances)),
        scope=Remark(f"enclave {approval.scope.enclave}, use {approval.scope.use}"),
        by=who(),
    )


def _admission(decision: "Decision") -> "Iterator[Change]":
    store, record, document = decision.store, decision.record, decision.document
    source = document.source
    yield Change(
        Admission(
            bundle=record.bundle_id,
            name=_line(record.label),
            repo=None if source.repo is None else RepoId(source.repo),
            commit=None if source.commit is None else CommitSha(source.commit),
            policy=Line(record.policy.name),
            policy_digest=Digest(record.policy.digest),
            files=Count(len(document.files)),
            size=Count(sum(file.size for file in document.files)),
            by=who(),
        ),
        file_holds(store.admission(record.bundle_id), _digest(record)),
    )
    if decision.moves:
        yield Change(
            AliasMoved(
                name=_line(decision.alias.name),
                before=decision.before,
                after=record.bundle_id,
                rollback=Remark(decision.rollback or ""),
                by=who(),
            ),
            file_holds(store.alias(decision.alias.name), _digest(decision.alias)),
        )


def _digest(record: "AdmissionRecord | Alias") -> Digest:
    from pratique.store.records import record_bytes  # noqa: PLC0415  # `vet` need not pay for it

    return Digest(hashlib.sha256(record_bytes(record)).hexdigest())


def refused(verb: str, subject: str, error: PratiqueError) -> Event:
    """A verb refused something."""
    return Refusal(
        verb=_line(verb),
        subject=Remark(subject),
        code=Count(error.exit_code),
        reason=Remark(error.message),
        by=who(),
    )


def revoked(kind: str, subject: str, reason: str) -> Revocation:
    """Something was revoked in this home."""
    return Revocation(what=_line(kind), subject=_line(subject), reason=Remark(reason), by=who())


def trust_changed(trust: "TrustRoot", before: int) -> TrustChanged:
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

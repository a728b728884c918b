"""Admit and vet: give admission the enclave's trust, policy and gate."""

from datetime import datetime
from pathlib import Path

from pratique.admit.admit import Naming, Terms, admit
from pratique.admit.admitted import AdmittedBundle
from pratique.admit.record import Decision
from pratique.admit.verify import Note
from pratique.attest.install import advance_time_floor, installed_trust
from pratique.core.candidate import Gate
from pratique.core.policy import Policy
from pratique.core.progress import Progress
from pratique.core.recorded import Around, unrecorded


def admit_and_vet(
    bundle: Path,
    home: Path,
    *,
    policy: Policy,
    gate: Gate,
    naming: Naming,
    now: datetime,
    progress: Progress | None = None,
    note: Note | None = None,
    around: Around[Decision] = unrecorded,
) -> AdmittedBundle:
    """Admit `bundle` into `home` under the trust installed there, and vet the stored bytes.

    Raises what `pratique.admit.admit.admit` raises, and VerificationRefused if no trust is installed.
    """
    terms = Terms(home, installed_trust(home), policy, gate, now)
    admitted = admit(bundle, terms, naming, progress=progress, note=note, around=around)
    if seen := times_seen(admitted):
        advance_time_floor(home, max(seen))
    return admitted


def times_seen(admitted: AdmittedBundle) -> tuple[datetime, ...]:
    """Times that somebody other than this host's clock vouches for: the signed ones."""
    stamped = (s.signed_at for s in admitted.statement.signers if s.signed_at is not None)
    return (*stamped, *(entry.approval.issued for entry in admitted.approvals))

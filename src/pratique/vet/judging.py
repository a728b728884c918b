"""From a candidate to a verdict: checks in a confined child, allowances and the fold out here.

The parent reads no byte of the repository. A child that dies, hangs, floods or answers nonsense is a
refusal that names the file it was reading.
"""

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from pratique.confine import Lock, Ok, Requirement, parser_lock, run_job
from pratique.core.candidate import Candidate
from pratique.core.findings import Disposition, Finding, PolicyRef, Severity, Subject, Verdict
from pratique.core.ids import MAX_DEPTH, Digest
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError, UnreadableInput
from pratique.vet import allowing, wire
from pratique.vet.examined import FAILED_CHECK, Examined
from pratique.vet.opinions import second_opinions

MIB: Final = 2**20
# Eight that hash, and what native libraries start of their own.
_THREADS: Final = 32
_MEMORY: Final = 4096 * MIB
_MAX_COUNTED: Final = 200_000
_BASE_SECONDS: Final = 300.0
_SLOWEST_BYTES_PER_SECOND: Final = 20 * MIB
_MAX_SECONDS: Final = 12 * 3600.0


def judge(
    candidate: Candidate,
    policy: Policy,
    stage: Stage = Stage.CONTENT,
    *,
    today: date | None = None,
    forbidden: Iterable[Path] = (),
    on_note: Callable[[str], None] | None = None,
) -> Verdict:
    """Return the verdict of all checks up to `stage` under `policy`.

    Fails closed: whatever goes wrong while checking is a refusal in the verdict. Guarantees that no
    content of the repository is executed, and that the subject's digest is of the bytes that were
    checked (at stage CONTENT; before it, of the listing). `forbidden`: paths (keys, the ledger) that
    the child must not be able to reach even by mistake. `on_note` is told what is being read.

    Raises:
        UnreadableInput: the candidate's directory cannot be read at all.
        ConfinementError: the host cannot close the lock; nothing was read.
    """
    _check_root(candidate.root)
    examined = _confined(candidate, policy, stage, tuple(forbidden), on_note)
    found = examined.findings
    if stage is Stage.CONTENT and policy.vet.second_opinions:
        found = (*found, *second_opinions(candidate.root.resolve(), policy))
    findings = allowing.allow(
        found,
        policy,
        candidate,
        today or datetime.now(UTC).date(),
        complete=stage is Stage.CONTENT,
    )
    subject = Subject(
        name=candidate.name,
        digest=examined.digest,
        repo=candidate.repo,
        commit=candidate.commit,
        files=examined.files,
        size=examined.size,
        foreign=examined.foreign,
    )
    return Verdict(subject, PolicyRef(policy.name, policy.digest), findings, examined.evidence)


@dataclass(frozen=True, slots=True)
class LocalGate:
    """The gate on this machine, under one policy (implements `core.candidate.Gate`)."""

    policy: Policy
    forbidden: tuple[Path, ...] = field(default=())

    def judge(self, candidate: Candidate, stage: Stage) -> Verdict:
        """Return the verdict of all checks up to `stage`. See `judge`."""
        return judge(candidate, self.policy, stage, forbidden=self.forbidden)


def _check_root(root: Path) -> None:
    if not root.is_dir():
        what = "is not a directory" if root.exists() else "does not exist"
        raise UnreadableInput(f"{root} {what}", hint="give the directory of a model or snapshot")
    if not os.access(root, os.R_OK | os.X_OK):
        raise UnreadableInput(f"{root} cannot be read", hint="check its permissions")


def _confined(
    candidate: Candidate,
    policy: Policy,
    stage: Stage,
    forbidden: tuple[Path, ...],
    on_note: Callable[[str], None] | None,
) -> Examined:
    placed = replace(
        candidate,
        root=candidate.root.resolve(),
        heads=None if candidate.heads is None else candidate.heads.resolve(),
        reference=None if candidate.reference is None else candidate.reference.resolve(),
        foreign=tuple(replace(one, root=one.root.resolve()) for one in candidate.foreign),
    )
    request = wire.encode_request(placed, policy, stage)
    result = run_job(
        "pratique.jobs.vet", request, _lock(placed, policy, forbidden), on_note=on_note
    )
    if isinstance(result.outcome, Ok):
        try:
            return wire.decode_answer(result.outcome.data)
        except FormatError as error:
            return _undecided(candidate, str(error), "")
    return _undecided(candidate, f"the confined check {result.describe()}", result.last_note)


def _undecided(candidate: Candidate, message: str, reading: str) -> Examined:
    """The answer when there is none: a refusal about a digest that no bytes can have by accident."""
    digest = Digest(hashlib.sha256(f"undecided {candidate.name}".encode()).hexdigest())
    finding = Finding(
        FAILED_CHECK,
        Severity.HIGH,
        Disposition.REFUSE,
        reading,
        message,
        "a file that stops the gate is not let in; report it (SECURITY.md) if it is yours",
    )
    return Examined(digest, 0, 0, (finding,))


def _lock(candidate: Candidate, policy: Policy, forbidden: tuple[Path, ...]) -> Lock:
    optional = (candidate.heads, candidate.reference)
    readable = [candidate.root, *(path for path in optional if path is not None)]
    readable += [one.root for one in candidate.foreign]
    seconds = _BASE_SECONDS + _total_size(candidate) / _SLOWEST_BYTES_PER_SECOND
    reduced = policy.serve.lock == "reduced"
    return parser_lock(
        readable=readable,
        forbidden=forbidden,
        requirement=Requirement.REDUCED if reduced else Requirement.STRICT,
        memory=_MEMORY,
        wall_seconds=min(seconds, _MAX_SECONDS),
        threads=_THREADS,
    )


def _total_size(candidate: Candidate) -> int:
    """Bytes that may have to be hashed, as far as names and sizes say; only sets the time limit."""
    if candidate.listing is not None:
        return sum(item.size for item in candidate.listing)
    total = count = 0
    pending = [(candidate.root, 0)]
    while pending:
        folder, depth = pending.pop()
        try:
            with os.scandir(folder) as names:
                for name in names:
                    count += 1
                    if count > _MAX_COUNTED:
                        return total
                    if name.is_dir(follow_symlinks=False):
                        if depth < MAX_DEPTH:
                            pending.append((Path(name.path), depth + 1))
                    else:
                        total += name.stat(follow_symlinks=False).st_size
        except OSError:
            continue  # the child says what cannot be read
    return total

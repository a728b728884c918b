"""Approve: a second person vets the bundle again, under their own policy, and signs what they accept.

What is signed names the bundle id, the policy, every allowance that the verdict rests on, the rungs
and variants that may run, scope, reason and expiry. Nobody approves an allowance of their own.
"""

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from pratique.admit.checks import check_commit, check_document, check_sums, check_taken
from pratique.admit.judged import Judged, to_judge
from pratique.admit.shape import MAX_SUMS_BYTES, Shape, look_at, read_unsigned
from pratique.admit.verify import measure_payload, wanted_digests
from pratique.attest.approvals import read_approval, write_approval
from pratique.attest.envelope import read
from pratique.attest.install import installed_trust
from pratique.attest.keys import Signer
from pratique.attest.roles import is_owner
from pratique.attest.sign import SignsStatements, sign_approval, signature_name
from pratique.attest.statement import read_header
from pratique.attest.values import Approval, Role, Scope
from pratique.core.bundle import SIGNATURES, SUMS, BundleDocument, bundle_id_of
from pratique.core.candidate import Gate
from pratique.core.findings import Verdict, VerdictState
from pratique.core.ids import BundleId, Digest, RelPath, shown
from pratique.core.manifest import parse_sha256sums
from pratique.core.policy import Allowance, Policy, RungName
from pratique.core.progress import Progress
from pratique.core.recorded import Around, unrecorded
from pratique.core.stages import Stage
from pratique.errors import (
    ApprovalNeeded,
    FormatError,
    SealError,
    UnreadableInput,
    UsageError,
    VerificationRefused,
    VettingRefused,
)
from pratique.store import disk

_MAX_FILE_BYTES: Final = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Terms:
    """What the approver decides. `rungs` None: all that the policy permits."""

    policy: Policy
    reason: str
    now: datetime
    valid_for: timedelta = timedelta(days=90)
    scope: Scope = field(default=Scope())
    rungs: tuple[RungName, ...] | None = None


@dataclass(frozen=True, slots=True)
class Attaching:
    """A signature file that is about to be written, and the folder without which nobody can tell."""

    path: Path
    signature: bytes
    medium: Path


def vet_for_approval(
    bundle: Path,
    terms: Terms,
    gate: Gate,
    *,
    on_verdict: Callable[[Verdict], None],
    progress: Progress | None = None,
) -> Approval:
    """Look at every byte of a bundle again and return what there is to sign.

    Guarantees that the payload is consistent in itself (SHA256SUMS, bundle.json, chunk digests,
    commit proof) and that the gate passes it under the approver's policy. Does NOT say who sealed
    it: `verify` does, with a trust root.

    Raises:
        VerificationRefused: the payload contradicts itself.
        VettingRefused, ApprovalNeeded: the gate's answer.
        UsageError: the approval would be longer than the policy permits.
    """
    if terms.valid_for > timedelta(days=terms.policy.trust.max_approval_days):
        raise UsageError(
            f"the policy permits approvals of at most {terms.policy.trust.max_approval_days} days",
            hint="give a shorter --expires",
        )
    shape = look_at(bundle)
    document, bundle_id = _consistent(shape, terms.policy, progress)
    check_taken(document, terms.now)
    verdicts = []
    # Where it lies the bytes may change any moment, so the gate hashes what it judges.
    for judged in to_judge(document, shape.payload, ours=False):
        verdict = gate.judge(judged.candidate, Stage.CONTENT)
        on_verdict(verdict)
        _require_pass(document, judged, verdict)
        verdicts.append(verdict)
    rungs = terms.rungs or terms.policy.serve.rungs
    accepted = tuple(rung for rung in rungs if rung in terms.policy.serve.rungs)
    return Approval(
        bundle_id=bundle_id,
        name=document.label,
        policy=verdicts[0].policy,
        issued=terms.now,
        expires=terms.now + terms.valid_for,
        reason=terms.reason,
        allowances=accepted_allowances(terms.policy, verdicts),
        rungs=accepted,
        variants=tuple(v.name for v in document.variants if v.name in accepted),
        scope=terms.scope,
    )


def sign_and_attach(
    bundle: Path,
    approval: Approval,
    signer: Signer | SignsStatements,
    home: Path,
    *,
    around: Around[Attaching] = unrecorded,
) -> Path:
    """Sign `approval` and put the signature into the bundle; return its path.

    Raises SealError if an allowance is the signer's own, as far as the trust in `home` tells.
    """
    refuse_own_allowances(approval, signer, home)
    return attach(bundle, sign_approval(approval, signer), around=around)


def attach(bundle: Path, signature: bytes, *, around: Around[Attaching] = unrecorded) -> Path:
    """Put an approver's signature file into a bundle under the next free name, in one step."""
    folder = bundle / SIGNATURES
    with disk.storing(str(folder)):
        if folder.is_symlink() or not folder.is_dir():
            raise UnreadableInput(f"{bundle} is not a bundle", hint="give the path of a .bundle")
        present = {entry.name: entry for entry in folder.iterdir()}
        for entry in present.values():
            if _holds(entry, signature):
                return entry
        target = folder / signature_name(Role.APPROVER, list(present))
    with around(Attaching(target, signature, bundle)), disk.storing(str(folder)):
        disk.replace_file(target, signature)
    return target


def _holds(file: Path, data: bytes) -> bool:
    """Whether this is a regular file of just these bytes; of a longer one no more is read."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size != len(data):
            return False
        with os.fdopen(descriptor, "rb", closefd=False) as opened:
            return opened.read(len(data) + 1) == data
    finally:
        os.close(descriptor)


def refuse_own_allowances(approval: Approval, signer: Signer | SignsStatements, home: Path) -> None:
    """Raise SealError if the signer wrote one of the allowances that they are to approve.

    Who the signer is, only a trust root can say; without one, verification refuses it later.
    """
    try:
        person = installed_trust(home).person(signer.identity)
    except VerificationRefused:
        person = None
    own = signer.identity.subject.casefold()
    for allowance in approval.allowances:
        if allowance.owner.strip().casefold() == own or (
            person is not None and is_owner(allowance.owner, person)
        ):
            raise SealError(
                f"{shown(allowance.owner)} wrote the allowance for {allowance.check} "
                "and cannot approve it",
                hint="have somebody else approve",
            )


# --- signing elsewhere --------------------------------------------------------------------------------


def write_request(path: Path, approval: Approval) -> None:
    """Write what is to be signed, to be carried to where the key is."""
    with disk.storing(str(path)):
        disk.replace_file(path, write_approval(approval))


def read_request(path: Path) -> Approval:
    """Read a request. Raises FormatError unless it is exactly what `write_request` writes."""
    data = _read(path)
    approval = read_approval(read_header(data))
    if write_approval(approval) != data:
        raise FormatError(f"{path} is not in the form of this version's approval requests")
    return approval


def write_signature(
    path: Path,
    approval: Approval,
    signer: Signer | SignsStatements,
    home: Path,
    *,
    around: Around[Attaching] = unrecorded,
) -> None:
    """Sign a request and write the signature, to be carried back and attached."""
    refuse_own_allowances(approval, signer, home)
    signature = sign_approval(approval, signer)
    with around(Attaching(path, signature, path.parent)), disk.storing(str(path)):
        disk.replace_file(path, signature)


def attach_from_file(bundle: Path, signature: Path) -> Path:
    """Put a signature that was made elsewhere into `bundle`, if it approves this very bundle.

    Does NOT verify it: `verify` does, with a trust root.
    """
    data = _read(signature)
    approval = read_approval(read_header(read(data).payload))
    shape = look_at(bundle)
    expected = bundle_id_of(read_unsigned(shape.payload, SUMS, MAX_SUMS_BYTES))
    if approval.bundle_id != expected:
        raise SealError(
            f"{signature} approves the bundle {approval.bundle_id[:16]}, this is {expected[:16]}",
            hint="attach it to the bundle that the request was made for",
        )
    return attach(bundle, data)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UnreadableInput(
            f"{path} cannot be read: {error.strerror}", hint="check it"
        ) from error
    if len(data) > _MAX_FILE_BYTES:
        raise FormatError(f"{path} is too large for an approval")
    return data


# --- what stands behind it ----------------------------------------------------------------------------


def accepted_allowances(policy: Policy, verdicts: Iterable[Verdict]) -> tuple[Allowance, ...]:
    """The policy's allowances that answer for a finding of these verdicts."""
    answered = {
        (finding.check, finding.digest, finding.allowed_by)
        for verdict in verdicts
        for finding in verdict.findings
        if finding.allowed_by is not None
    }
    return tuple(a for a in policy.allow if (a.check, a.digest, a.answer) in answered)


def _consistent(
    shape: Shape, policy: Policy, progress: Progress | None
) -> tuple[BundleDocument, BundleId]:
    """Hold the payload to its own SHA256SUMS and bundle.json; return document and bundle id."""
    sums = read_unsigned(shape.payload, SUMS, MAX_SUMS_BYTES)
    listed: Mapping[RelPath, Digest] = {
        **parse_sha256sums(sums),
        SUMS: Digest(bundle_id_of(sums)),
    }
    found = measure_payload(shape, listed, policy, progress)
    check_sums(shape.payload, listed)
    document = check_document(shape.payload, listed, found, wanted_digests(policy))
    check_commit(shape.payload, document, policy)
    return document, bundle_id_of(sums)


def _require_pass(document: BundleDocument, judged: Judged, verdict: Verdict) -> None:
    match verdict.state:
        case VerdictState.PASSED:
            judged.refuse_other(verdict)
        case VerdictState.NEEDS_APPROVAL:
            raise ApprovalNeeded(
                f"{document.label} needs an allowance under policy {verdict.policy.name}",
                hint="somebody else adds the allowance to the policy; then approve",
            )
        case VerdictState.FAILED:
            raise VettingRefused(
                f"{document.label} was refused under policy {verdict.policy.name}",
                hint="do not carry it; see the findings above",
            )

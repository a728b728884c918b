"""The trust policy proper: whose signatures count, whether they are enough, and what they permit.

People count, not keys. Nobody counts in two roles for one bundle. Whoever owns an allowance cannot be
the one who approves it. An expired or revoked signature does not count; a signature by somebody who
does not hold the role, or outside its scope, refuses the bundle.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import get_args

from pratique.attest.trustfile import Person
from pratique.attest.trustroot import CLOCK_SKEW, TrustRoot
from pratique.attest.values import ANY, Approval, Role, SignedApproval, SignedBy
from pratique.core.ids import shown
from pratique.core.policy import RungName, TrustRules
from pratique.errors import VerificationRefused

ALL_RUNGS: tuple[RungName, ...] = get_args(RungName)


@dataclass(frozen=True, slots=True)
class Counted:
    """Signatures that count, those that do not, and what the counted approvals permit."""

    signers: tuple[SignedBy, ...]
    approvals: tuple[SignedApproval, ...]
    void: tuple[SignedBy, ...]
    rungs: tuple[RungName, ...]
    variants: frozenset[str] | None
    expires: datetime | None
    summary: str


def count(
    signers: Sequence[SignedBy],
    approvals: Mapping[str, Approval],
    *,
    trust: TrustRoot,
    now: datetime,
    rules: TrustRules,
    use: str,
    payload_role: Role,
) -> Counted:
    """Apply the trust root's roles and thresholds. Raises VerificationRefused with the reason.

    `approvals` are by file name, all for this bundle. Does NOT look at signatures: they are valid.
    """
    _holders(signers, trust)
    _distinct_across_roles(signers)
    judged: list[SignedBy] = []
    for signer in signers:
        approval = approvals.get(signer.file)
        if approval is not None:
            _within_scope(signer, approval, trust=trust, now=now, rules=rules, use=use)
            _not_own_allowance(signer, approval, trust)
        judged.append(replace(signer, void=_why_void(signer, approval, trust, now)))
    good = [s for s in judged if not s.void]
    for role in (payload_role, Role.APPROVER):
        _threshold(role, judged, trust)
    counted = tuple(SignedApproval(s, approvals[s.file]) for s in good if s.file in approvals)
    return Counted(
        signers=tuple(good),
        approvals=counted,
        void=tuple(s for s in judged if s.void),
        rungs=_common_rungs(counted),
        variants=_common_variants(counted),
        expires=_expires(counted, trust.roles[Role.APPROVER].threshold),
        summary=_summary(good, trust),
    )


def _holders(signers: Sequence[SignedBy], trust: TrustRoot) -> None:
    for signer in signers:
        rule = trust.roles.get(signer.role)
        if rule is None or signer.person not in rule.holders:
            raise VerificationRefused(
                f"{signer.file}: {signer.person} does not hold the role {signer.role}",
                hint=f"take signatures/{signer.file} out of the bundle, or have the role given to them; "
                "`pratique trust status` says who holds which",
            )


def _distinct_across_roles(signers: Sequence[SignedBy]) -> None:
    roles: dict[str, Role] = {}
    for signer in signers:
        known = roles.setdefault(signer.person, signer.role)
        if known is not signer.role:
            raise VerificationRefused(
                f"{signer.person} signed as {known} and as {signer.role}: "
                "two different people have to",
                hint="have somebody else approve",
            )


def _within_scope(
    signer: SignedBy,
    approval: Approval,
    *,
    trust: TrustRoot,
    now: datetime,
    rules: TrustRules,
    use: str,
) -> None:
    wanted = trust.rules
    scope = approval.scope
    problem = None
    if scope.enclave not in {trust.enclave, ANY}:
        problem = f"holds for the enclave {shown(scope.enclave)}, this is {trust.enclave}"
    elif scope.enclave == ANY and wanted.enclave_scope == "required":
        problem = f"names no enclave, and this one ({trust.enclave}) requires it"
    elif use not in {ANY, scope.use} and scope.use != ANY:
        problem = f"holds for the use {shown(scope.use)}, not {shown(use)}"
    elif wanted.policies and approval.policy.digest not in wanted.policies:
        problem = f"was given under the policy {shown(approval.policy.name)}, which is not accepted"
    elif approval.issued > now + CLOCK_SKEW:
        problem = f"was issued at {approval.issued:%Y-%m-%d %H:%M}Z, after the time of this host"
    elif approval.expires - approval.issued > timedelta(days=rules.max_approval_days):
        problem = f"holds for longer than the {rules.max_approval_days} days that are permitted"
    if problem is not None:
        raise VerificationRefused(
            f"{signer.file}: {signer.person}'s approval {problem}", hint="ask for a new approval"
        )


def _not_own_allowance(signer: SignedBy, approval: Approval, trust: TrustRoot) -> None:
    person = trust.person(signer.identity)
    for allowance in approval.allowances:
        if person is not None and is_owner(allowance.owner, person):
            raise VerificationRefused(
                f"{signer.file}: {signer.person} approves an allowance of their own "
                f"({shown(allowance.check)})",
                hint="the author of an allowance cannot be its approver: ask somebody else",
            )


def is_owner(owner: str, person: Person) -> bool:
    """Whether an allowance's `owner` is `person`, by name, address or key, however it is spelled.

    Capitals, accents, width and punctuation do not count; `Bea <bea@ships.example>` is either part.
    """
    names = (person.name, *(w for i in person.identities for w in (i.subject, str(i))))
    parts = (owner, *re.split(r"[<>()\[\],;]", owner))
    return not {_bare(name) for name in names}.isdisjoint({_bare(part) for part in parts} - {""})


def _bare(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", text).casefold() if c.isalnum())


def _why_void(signer: SignedBy, approval: Approval | None, trust: TrustRoot, now: datetime) -> str:
    """Say why a valid signature does not count, or ""."""
    if trust.rules.timestamps == "required" and signer.signed_at is None:
        return "bears no timestamp, which this enclave requires"
    for kind, name in (
        ("key", signer.key_id or signer.identity.subject),
        ("identity", signer.identity.subject),
        ("identity", signer.person),
    ):
        entry = trust.revoked(kind, name)
        if entry is None:
            continue
        # Without a timestamp nothing shows that the signature is older than the revocation.
        if signer.signed_at is None or signer.signed_at >= entry.at:
            return f"{kind} revoked since {entry.at:%Y-%m-%d}: {shown(entry.reason, 200)}"
    if approval is not None and approval.expires <= now:
        return f"expired on {approval.expires:%Y-%m-%d %H:%M}Z"
    if approval is not None:
        for allowance in approval.allowances:
            if allowance.expires < now.date():
                return f"accepts an allowance that expired on {allowance.expires}"
    return ""


def _threshold(role: Role, judged: Sequence[SignedBy], trust: TrustRoot) -> None:
    rule = trust.roles[role]
    people = {s.person for s in judged if s.role is role and not s.void}
    if len(people) >= rule.threshold:
        return
    reasons = [
        f"{s.person}'s does not count: {s.void}" for s in judged if s.role is role and s.void
    ]
    raise VerificationRefused(
        f"{len(people)} of {rule.threshold} needed {role} signatures"
        + (f" ({'; '.join(reasons)})" if reasons else ""),
        hint=f"needed from: {', '.join(h for h in rule.holders if h not in people)}",
    )


def _common_rungs(approvals: Sequence[SignedApproval]) -> tuple[RungName, ...]:
    if not approvals:
        return ALL_RUNGS
    common = set.intersection(*(set(a.approval.rungs) for a in approvals))
    if not common:
        raise VerificationRefused("the approvals have no rung in common", hint="ask for new ones")
    return tuple(r for r in approvals[0].approval.rungs if r in common)


def _common_variants(approvals: Sequence[SignedApproval]) -> frozenset[str] | None:
    if not approvals:
        return None
    return frozenset.intersection(*(frozenset(a.approval.variants) for a in approvals))


def _expires(approvals: Sequence[SignedApproval], threshold: int) -> datetime | None:
    """When fewer than `threshold` people's approvals are left."""
    if threshold == 0:
        return None
    latest: dict[str, datetime] = {}
    for entry in approvals:
        ends = _ends(entry.approval)
        latest[entry.signer.person] = max(ends, latest.get(entry.signer.person, ends))
    return sorted(latest.values(), reverse=True)[threshold - 1]


def _ends(approval: Approval) -> datetime:
    """When an approval ceases to count: with itself, or with the first of its allowances."""
    last = min((allowance.expires for allowance in approval.allowances), default=date.max)
    if last >= approval.expires.date():
        return approval.expires
    return datetime.combine(last + timedelta(days=1), time(), UTC)


def _summary(good: Sequence[SignedBy], trust: TrustRoot) -> str:
    who = ", ".join(f"{s.person} ({s.role})" for s in good)
    alone = "; one person alone suffices here" if trust.single_person else ""
    return f"enclave {trust.enclave}: {who}{alone}"

"""Signatures become a proof here, in one fixed order, and nothing is parsed before it is verified.

For all files of a bundle's `signatures/`, each step for every file before the next step begins:

1. **size**: number, names and sizes are within limits.
2. **signature**: the container is canonical; the signature is valid; the trust root knows the
   identity behind it.
3. **payload type** is in-toto JSON.
4. **predicate** is the one that belongs to the file's role.
5. **statement** is well formed; all payload signatures cover the same files; approvals name the
   bundle_id that follows from them.
6. **trust**: clock and age of the trust root, revocations, expiry, scope, roles, distinct people,
   thresholds.

A malformed, foreign or contradicting signature refuses the whole bundle. One that is only expired or
revoked does not count, and the refusal says so if the threshold is then missed. What this does NOT
check is content: `admit` compares every byte with `VerifiedStatement.files`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, final

from pratique.attest.approvals import VERIFICATION_SUMMARY, read_approval
from pratique.attest.authenticate import Authentic, authenticate
from pratique.attest.canonical import Json
from pratique.attest.envelope import IN_TOTO, SignatureFile, read
from pratique.attest.keys import Crypto
from pratique.attest.roles import Counted, count
from pratique.attest.sign import MAX_PER_ROLE
from pratique.attest.statement import MODEL_SIGNING, ModelStatement, read_header, read_model
from pratique.attest.trustroot import CLOCK_SKEW, TrustRoot
from pratique.attest.values import ANY, Approval, Role, SignedApproval, SignedBy, Step
from pratique.core.ids import BundleId, Digest, RelPath, parse_bundle_id, shown
from pratique.core.policy import RungName, TrustRules
from pratique.core.proof import Proof, mint
from pratique.errors import FormatError, VerificationRefused

MAX_PAYLOAD_SIGNATURE: Final = 256 * 1024 * 1024
MAX_APPROVAL_SIGNATURE: Final = 4 * 1024 * 1024
SUMS: Final = "SHA256SUMS"
_NAME: Final = re.compile(r"(vetter|approver|runtime)(?:-([2-9]))?\.sig")
_AGAIN: Final = "fetch the bundle again from whoever sealed it"


@final
class VerifiedStatement(Proof):
    """What the signatures of one bundle prove. Made only by `verify_signatures`."""

    __slots__ = (
        "approvals",
        "bundle_id",
        "enclave",
        "expires",
        "files",
        "ignored",
        "rungs",
        "signers",
        "steps",
        "trust_fingerprint",
        "variants",
        "void",
    )

    approvals: tuple[SignedApproval, ...]
    """Those that count."""
    bundle_id: BundleId
    """SHA-256 of payload/SHA256SUMS."""
    enclave: str
    expires: datetime | None
    """When too few approvals are left; None if none is needed."""
    files: Mapping[RelPath, Digest]
    """Everything under payload/, SHA256SUMS included, by path relative to payload/."""
    ignored: tuple[str, ...]
    """Paths that the signer left out; nothing may exist there."""
    rungs: tuple[RungName, ...]
    """Rungs that every counted approval permits, in the first approver's order."""
    signers: tuple[SignedBy, ...]
    """Everybody whose signature counts, approvers included."""
    steps: tuple[Step, ...]
    """What was checked, in order, for people and for `verify --json`."""
    trust_fingerprint: str
    variants: frozenset[str] | None
    """Variants that every counted approval permits; None: any, since no approval is needed."""
    void: tuple[SignedBy, ...]
    """Valid signatures that do not count, each with its reason."""


@dataclass(frozen=True, slots=True)
class _Signed:
    """One file on its way through the steps."""

    name: str
    role: Role
    authentic: Authentic


def verify_signatures(
    signatures: Mapping[str, bytes],
    *,
    trust: TrustRoot,
    now: datetime,
    rules: TrustRules | None = None,
    crypto: Crypto = "default",
    use: str = ANY,
    payload_role: Role = Role.VETTER,
    grace: timedelta = timedelta(0),
) -> VerifiedStatement:
    """Verify a bundle's signatures against `trust` at the time `now` (aware).

    `signatures` maps names under `signatures/` to bytes. `rules` and `crypto` come from the
    enclave's policy; `use` is what approvals must permit (ANY: do not ask); `payload_role` is RUNTIME
    for bundles that carry the tool; `grace` is SERVING_GRACE where an admitted model is re-verified
    to be served. Guarantees what the module's docstring says. Raises VerificationRefused.
    """
    if now.tzinfo is None:
        raise TypeError("now must be aware of its time zone")
    steps: list[Step] = []
    names = _sizes(signatures, payload_role)
    steps.append(Step("size", f"{len(names)} signature files, all within their limits"))

    signed = [
        _signature(n, r, signatures[n], trust=trust, now=now, crypto=crypto)
        for n, r in names.items()
    ]
    steps += [Step("signature", f"{s.name}: valid, by {s.authentic.identity}") for s in signed]

    for entry in signed:
        _payload_type(entry)
    steps.append(Step("payload type", IN_TOTO))

    headers = {entry.name: _predicate(entry) for entry in signed}
    steps.append(Step("predicate", "Model Signing v1.0 for the payload, SLSA VSA for approvals"))

    payload, bundle_id = _payload(signed, headers, payload_role)
    approvals = {
        e.name: _approval(e, headers[e.name], bundle_id) for e in signed if e.role is Role.APPROVER
    }
    steps.append(Step("statement", f"bundle {bundle_id[:16]}, {len(payload.files)} files"))

    trust.check_clock(now)
    trust.check_fresh(now, rules or TrustRules(), grace=grace)
    _not_revoked(trust, bundle_id, payload.files)
    counted = count(
        [_signed_by(entry, trust) for entry in signed],
        approvals,
        trust=trust,
        now=now,
        rules=rules or TrustRules(),
        use=use,
        payload_role=payload_role,
    )
    steps.append(Step("trust", counted.summary))
    return _prove(payload, bundle_id, counted, trust, tuple(steps))


def _sizes(signatures: Mapping[str, bytes], payload_role: Role) -> dict[str, Role]:
    """Step 1. Returns each file's role, in a fixed order."""
    if len(signatures) > 2 * MAX_PER_ROLE:
        raise VerificationRefused(f"the bundle has {len(signatures)} signature files", hint=_AGAIN)
    found: dict[str, Role] = {}
    numbers: dict[Role, set[int]] = {}
    for name in sorted(signatures, key=lambda n: (n.startswith(Role.APPROVER), len(n), n)):
        match = _NAME.fullmatch(name)
        role = Role(match[1]) if match else None
        if match is None or role not in {payload_role, Role.APPROVER}:
            raise VerificationRefused(
                f"{shown(name)} is not a name for a signature of this bundle", hint=_AGAIN
            )
        limit = MAX_APPROVAL_SIGNATURE if role is Role.APPROVER else MAX_PAYLOAD_SIGNATURE
        if len(signatures[name]) > limit:
            raise VerificationRefused(f"{name} is larger than {limit} bytes", hint=_AGAIN)
        found[name] = role
        numbers.setdefault(role, set()).add(int(match[2] or 1))
    for role, used in numbers.items():
        if used != set(range(1, len(used) + 1)):
            raise VerificationRefused(
                f"a signature as {role} is missing or was renamed", hint=_AGAIN
            )
    if payload_role not in found.values():
        raise VerificationRefused(
            f"the bundle is not signed: {payload_role}.sig is missing", hint=_AGAIN
        )
    return found


def _signature(
    name: str, role: Role, data: bytes, *, trust: TrustRoot, now: datetime, crypto: Crypto
) -> _Signed:
    """Step 2."""
    try:
        parts: SignatureFile = read(data)
    except FormatError as error:
        raise VerificationRefused(f"{name}: {error.message}", hint=_AGAIN) from error
    try:
        authentic = authenticate(parts, trust.authorities, now=now, crypto=crypto)
    except VerificationRefused as error:
        raise VerificationRefused(f"{name}: {error.message}", hint=error.hint) from error
    if trust.person(authentic.identity) is None:
        raise VerificationRefused(
            f"{name}: signed by {shown(str(authentic.identity))}, whom the trust root does not name",
            hint="install a trust root that names the signer, or have somebody else sign",
        )
    when = authentic.signed_at
    if when is not None and when > now + CLOCK_SKEW:
        raise VerificationRefused(
            f"{name}: was timestamped at {when:%Y-%m-%d %H:%M}Z, after the time of this host",
            hint="set the clock of this host",
        )
    return _Signed(name, role, authentic)


def _payload_type(entry: _Signed) -> None:
    """Step 3."""
    if entry.authentic.payload_type != IN_TOTO:
        raise VerificationRefused(
            f"{entry.name}: payload type is {shown(entry.authentic.payload_type)}, not {IN_TOTO}",
            hint=_AGAIN,
        )


def _predicate(entry: _Signed) -> dict[str, Json]:
    """Step 4: the first look into the verified payload."""
    wanted = VERIFICATION_SUMMARY if entry.role is Role.APPROVER else MODEL_SIGNING
    try:
        header = read_header(entry.authentic.payload)
    except FormatError as error:
        raise VerificationRefused(f"{entry.name}: {error.message}", hint=_AGAIN) from error
    if header["predicateType"] != wanted:
        raise VerificationRefused(
            f"{entry.name}: predicate is {shown(str(header['predicateType']))}, not {wanted}",
            hint="a signature for one purpose cannot stand in for another",
        )
    return header


def _payload(
    signed: Iterable[_Signed], headers: Mapping[str, dict[str, Json]], payload_role: Role
) -> tuple[ModelStatement, BundleId]:
    """Step 5, for what is signed."""
    found: ModelStatement | None = None
    for entry in signed:
        if entry.role is not payload_role:
            continue
        try:
            statement = read_model(headers[entry.name])
        except FormatError as error:
            raise VerificationRefused(f"{entry.name}: {error.message}", hint=_AGAIN) from error
        if found is not None and dict(found.files) != dict(statement.files):
            raise VerificationRefused(f"{entry.name}: covers other files than the signature before")
        found = found or statement
    if found is None:  # step 1 saw one
        raise VerificationRefused("the bundle is not signed")
    sums = found.files.get(RelPath(SUMS))
    if sums is None:
        raise VerificationRefused(
            f"the signature does not cover {SUMS}, so the bundle has no id", hint=_AGAIN
        )
    return found, parse_bundle_id(sums)


def _approval(entry: _Signed, header: dict[str, Json], bundle_id: BundleId) -> Approval:
    """Step 5, for approvals."""
    try:
        approval = read_approval(header)
    except FormatError as error:
        raise VerificationRefused(f"{entry.name}: {error.message}", hint=_AGAIN) from error
    if approval.bundle_id != bundle_id:
        raise VerificationRefused(
            f"{entry.name}: approves the bundle {approval.bundle_id[:16]}, this is {bundle_id[:16]}",
            hint="have this very bundle approved",
        )
    return approval


def _signed_by(entry: _Signed, trust: TrustRoot) -> SignedBy:
    person = trust.person(entry.authentic.identity)
    if person is None:  # step 2 saw to it
        raise VerificationRefused(f"{entry.name}: signed by somebody unknown")
    return SignedBy(
        entry.name,
        entry.role,
        person.name,
        entry.authentic.identity,
        entry.authentic.signed_at,
        key_id=entry.authentic.key_id,
    )


def _not_revoked(trust: TrustRoot, bundle_id: BundleId, files: Mapping[RelPath, Digest]) -> None:
    """Step 6, for what is signed rather than who signed."""
    if (entry := trust.revoked("bundle", bundle_id)) is not None:
        raise VerificationRefused(
            f"the bundle is revoked since {entry.at:%Y-%m-%d}: {shown(entry.reason, 200)}",
            hint="use a newer bundle; `pratique trust status` lists what is revoked",
        )
    for path, digest in files.items():
        if (entry := trust.revoked("model", digest)) is not None:
            raise VerificationRefused(
                f"{shown(path)} is revoked since {entry.at:%Y-%m-%d}: {shown(entry.reason, 200)}",
                hint="use another model; `pratique trust status` lists what is revoked",
            )


def _prove(
    payload: ModelStatement,
    bundle_id: BundleId,
    counted: Counted,
    trust: TrustRoot,
    steps: tuple[Step, ...],
) -> VerifiedStatement:
    return mint(
        VerifiedStatement,
        approvals=counted.approvals,
        bundle_id=bundle_id,
        enclave=trust.enclave,
        expires=counted.expires,
        files=MappingProxyType(dict(payload.files)),
        ignored=payload.ignored,
        rungs=counted.rungs,
        signers=counted.signers,
        steps=steps,
        trust_fingerprint=trust.fingerprint,
        variants=counted.variants,
        void=counted.void,
    )

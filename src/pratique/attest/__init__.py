"""Attest: signing, approvals, trust, and the one place where signatures become proofs.

What others may rely on is listed here; everything else in this package is private to it.

Signing (raises SealError, exit 6, on a missing or wrong key)::

    generate_key(prefix: Path, algorithm="p256", password: bytes | None = None) -> str
    load_signer(path: Path, password_prompt: Callable[[], bytes] | None = None) -> Signer
    open_signer(options: SigningOptions, password_prompt=None) -> Signer | SignsStatements
    sign_payload(files: Iterable[tuple[RelPath, Digest]], signer: Signer, name="payload") -> bytes
    sign_approval(approval: Approval, signer: Signer) -> bytes
    signature_name(role: Role, taken: Collection[str]) -> str

Trust (raises VerificationRefused, exit 11)::

    installed_trust(home: Path) -> TrustRoot
    trust_from_directory(directory: Path, fingerprint: str | None) -> TrustRoot
    advance_time_floor(home: Path, seen: datetime) -> None

Verification (raises VerificationRefused)::

    verify_signatures(signatures: Mapping[str, bytes], *, trust: TrustRoot, now: datetime,
                      rules=TrustRules(), crypto="default", use=ANY,
                      payload_role=Role.VETTER) -> VerifiedStatement

`signatures` maps file names under `signatures/` to their bytes: `vetter.sig`, `approver.sig`,
`approver-2.sig`, … A `VerifiedStatement` has `.files` (payload-relative path → sha256, SHA256SUMS
included), `.bundle_id`, `.signers`, `.approvals`, `.rungs`, `.variants` (what all counted approvals
permit), `.expires` (when approvals fall below the threshold, or None), `.enclave`,
`.trust_fingerprint` and `.steps`.

Import functions from their modules (`pratique.attest.verify`, `.install`, `.keys`, `.sign`,
`.signers`): this one offers the values alone, so that a command loads only what it needs.
"""

from pratique.attest.values import (
    ANY,
    Approval,
    Identity,
    Method,
    Role,
    Scope,
    SignedApproval,
    SignedBy,
    Step,
)

__all__ = [
    "ANY",
    "Approval",
    "Identity",
    "Method",
    "Role",
    "Scope",
    "SignedApproval",
    "SignedBy",
    "Step",
]

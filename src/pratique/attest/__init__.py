"""Attest: signing, approvals, trust, and the one place where signatures become proofs.

What others may rely on is listed here; everything else in this package is private to it.

Signing (raises SealError, exit 6, on a missing or wrong key)::

    generate_key(prefix: Path, algorithm="p256", password: bytes | None = None) -> str
    load_signer(path: Path, password_prompt: Callable[[], bytes] | None = None) -> Signer
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
"""

from pratique.attest.install import (
    advance_time_floor,
    install,
    installed_trust,
    revoke_now,
    trust_from_directory,
)
from pratique.attest.keys import (
    Algorithm,
    Crypto,
    KeySigner,
    Signer,
    generate_key,
    load_signer,
)
from pratique.attest.sign import sign_approval, sign_payload, signature_name
from pratique.attest.trustfile import Revocation
from pratique.attest.trustroot import SERVING_GRACE, TrustRoot
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
from pratique.attest.verify import VerifiedStatement, verify_signatures

__all__ = [
    "ANY",
    "SERVING_GRACE",
    "Algorithm",
    "Approval",
    "Crypto",
    "Identity",
    "KeySigner",
    "Method",
    "Revocation",
    "Role",
    "Scope",
    "SignedApproval",
    "SignedBy",
    "Signer",
    "Step",
    "TrustRoot",
    "VerifiedStatement",
    "advance_time_floor",
    "generate_key",
    "install",
    "installed_trust",
    "load_signer",
    "revoke_now",
    "sign_approval",
    "sign_payload",
    "signature_name",
    "trust_from_directory",
    "verify_signatures",
]

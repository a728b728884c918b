"""Signing: digests in, signature files out. Never sees content, never asks anybody anything."""

from collections.abc import Collection, Iterable
from typing import Final, Protocol, runtime_checkable

from pratique.attest.approvals import write_approval
from pratique.attest.envelope import (
    IN_TOTO,
    KeyMaterial,
    Material,
    SignatureFile,
    pre_authentication,
    write,
)
from pratique.attest.keys import Signer
from pratique.attest.statement import write_model
from pratique.attest.values import Approval, Identity, Role
from pratique.core.ids import Digest, RelPath
from pratique.errors import UsageError

MAX_PER_ROLE: Final = 9


@runtime_checkable
class CarriesMaterial(Protocol):
    """A signer that puts more beside its signature than a key id: certificates, timestamps."""

    def material(self, signature: bytes) -> Material:
        """Return what goes into the file beside `signature`."""
        ...


@runtime_checkable
class SignsStatements(Protocol):
    """A signer that makes whole signature files itself: Sigstore keyless."""

    @property
    def identity(self) -> Identity:
        """What the signature will say of its maker."""
        ...

    def sign_statement(self, payload: bytes) -> bytes:
        """Return a signature file over the in-toto statement `payload`."""
        ...


def sign_payload(
    files: Iterable[tuple[RelPath, Digest]],
    signer: Signer | SignsStatements,
    name: str = "payload",
) -> bytes:
    """Return the Model Signing v1.0 signature over `files`, paths relative to `payload/`.

    Guarantees canonical bytes and a statement that our own verifier reads. Does NOT look at any
    file: the digests are the caller's.
    """
    return _seal(write_model(files, name), signer)


def sign_approval(approval: Approval, signer: Signer | SignsStatements) -> bytes:
    """Return the signature file of an approval: DSSE over a SLSA Verification Summary.

    Does NOT check that the signer may approve; the trust root says so when the bundle is verified.
    """
    return _seal(write_approval(approval), signer)


def signature_name(role: Role, taken: Collection[str]) -> str:
    """Return the next free file name for a signature of `role`.

    These are `approver.sig`, `approver-2.sig` and so on; `verify_signatures` takes no others.
    """
    for number in range(1, MAX_PER_ROLE + 1):
        name = f"{role}.sig" if number == 1 else f"{role}-{number}.sig"
        if name not in taken:
            return name
    raise UsageError(f"the bundle already bears {MAX_PER_ROLE} signatures as {role}")


def _seal(payload: bytes, signer: Signer | SignsStatements) -> bytes:
    if isinstance(signer, SignsStatements):
        return signer.sign_statement(payload)
    signature = signer.sign(pre_authentication(IN_TOTO, payload))
    material: Material = KeyMaterial(hint=signer.key_id)
    if isinstance(signer, CarriesMaterial):
        material = signer.material(signature)
    return write(SignatureFile(material, IN_TOTO, payload, signature))

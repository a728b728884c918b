"""What serving takes, and nothing else: a bundle that was verified, in this process, in the store."""

from datetime import datetime
from pathlib import Path
from typing import final

from pratique.attest.values import SignedApproval, Step
from pratique.attest.verify import VerifiedStatement
from pratique.core.bundle import BundleDocument, SealedFile
from pratique.core.ids import BundleId
from pratique.core.policy import RungName
from pratique.core.proof import Proof
from pratique.store.content import StoredContent


@final
class VerifiedBundle(Proof):
    """A bundle where it lies: signatures, roles, every byte, the commit proof. Made by `verify_bundle`.

    It says nothing of tomorrow: whoever can write to `path` can change it. Only admission copies.
    """

    __slots__ = ("document", "path", "statement", "steps")

    path: Path
    statement: VerifiedStatement
    document: BundleDocument
    steps: tuple[Step, ...]

    @property
    def bundle_id(self) -> BundleId:
        """What approvals and revocations name."""
        return self.statement.bundle_id


@final
class AdmittedBundle(Proof):
    """A bundle that may be served now. Made by `admit` and `open_admitted` alone.

    `model_dir` is a real folder of read-only regular files in the store, to be loaded in place;
    `files` have paths relative to the payload (`model/config.json`), and chunk digests only where these
    were held against the bytes. `permitted_rungs` are those
    that both the approvals and the policy permit, in the policy's order; `expires` is when the
    approvals cease to suffice, or None. `replaced` is what the name pointed at before this admission.
    """

    __slots__ = (
        "approvals",
        "bundle_id",
        "content",
        "document",
        "expires",
        "files",
        "label",
        "model_dir",
        "name",
        "permitted_rungs",
        "permitted_variants",
        "replaced",
        "statement",
    )

    bundle_id: BundleId
    name: str
    label: str
    model_dir: Path
    files: tuple[SealedFile, ...]
    document: BundleDocument
    approvals: tuple[SignedApproval, ...]
    permitted_rungs: tuple[RungName, ...]
    permitted_variants: tuple[str, ...]
    expires: datetime | None
    statement: VerifiedStatement
    content: StoredContent
    replaced: BundleId | None

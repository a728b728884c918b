"""What the gate has to judge of a payload: the model, and each copy that was converted from it.

A copy may be loaded in the model's place, so whoever approves or admits a bundle judges it too: that
it was vetted when it was sealed is the vetter's word only.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pratique.core.bundle import (
    MODEL,
    VARIANTS,
    BundleDocument,
    foreign_digests,
    foreign_roots,
    model_manifest,
    variant_manifest,
)
from pratique.core.candidate import Candidate
from pratique.core.findings import Verdict
from pratique.core.ids import Digest, shown
from pratique.core.manifest import Manifest
from pratique.errors import VerificationRefused


@dataclass(frozen=True, slots=True)
class Judged:
    """One folder for the gate, and what lies there: nothing else may be judged in its place.

    `foreign` are the manifest digests of the code of other repositories that goes with it, by pin.
    """

    candidate: Candidate
    files: Manifest
    foreign: dict[str, Digest] = field(default_factory=dict)

    def refuse_other(self, verdict: Verdict) -> None:
        """Raise if the verdict speaks of other files: RuntimeError where nobody else can write."""
        subject = verdict.subject
        if subject.digest == self.files.digest and dict(subject.foreign) == self.foreign:
            return
        if self.candidate.measured is not None:
            raise RuntimeError("the gate judged other files than the bundle's")
        raise VerificationRefused(
            f"{shown(subject.name)} changed while it was judged",
            hint="something writes to the bundle: stop it, and begin again",
        )


def to_judge(document: BundleDocument, payload: Path, *, ours: bool) -> Iterator[Judged]:
    """Yield every folder of `payload` that may be loaded, as `document`, which was verified, lists it.

    `ours`: nobody else can write there, and the digests were measured while it was written, so the
    gate need not hash it again.
    """
    folders = {MODEL: (document.name, model_manifest(document))} | {
        f"{VARIANTS}/{v.name}": (f"{document.name}-{v.name}", variant_manifest(document, v.name))
        for v in document.variants
    }
    for folder, (name, files) in folders.items():
        is_model = folder == MODEL
        candidate = Candidate(
            name=name,
            root=payload / folder,
            repo=document.source.repo,
            # No commit speaks of a copy's bytes.
            commit=document.source.commit if is_model else None,
            made_from=None if is_model else document.source.commit,
            measured=files if ours else None,
            # A copy has no code: one whose configuration names some is refused, as at sealing.
            foreign=foreign_roots(document, payload) if is_model else (),
        )
        yield Judged(candidate, files, foreign_digests(document) if is_model else {})

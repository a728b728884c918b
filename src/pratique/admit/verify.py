"""Verify a bundle where it lies, in a fixed order. Nothing is parsed before it is verified.

1. size caps and shape: names only                              (shape)
2. signatures, identities, payload types, statements, trust     (attest)
3. nothing extra, missing, linked or renamed
4. SHA-256 of every byte, and the chunk digests, in one read
5. SHA256SUMS says what the signature says
6. bundle.json says what all of the above say
7. the commit proof ties the model's files to the commit
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from pratique.admit.admitted import VerifiedBundle
from pratique.admit.checks import (
    check_commit,
    check_digests,
    check_document,
    check_sums,
    check_taken,
)
from pratique.admit.shape import Shape, look_at, refusing
from pratique.attest.trustroot import TrustRoot
from pratique.attest.values import Step
from pratique.attest.verify import VerifiedStatement, verify_signatures
from pratique.core.bundle import MODEL
from pratique.core.ids import Digest, RelPath, shown
from pratique.core.policy import Policy
from pratique.core.progress import Progress
from pratique.core.proof import mint
from pratique.errors import UsageError
from pratique.store import tree
from pratique.store.content import refuse_other_files
from pratique.store.measure import Measured, Wanted, measure, measure_all

Note = Callable[[Step], None]


def verify_bundle(
    bundle: Path,
    *,
    trust: TrustRoot,
    policy: Policy,
    now: datetime,
    progress: Progress | None = None,
    note: Note | None = None,
) -> VerifiedBundle:
    """Verify everything about `bundle`, or raise. `note` is told each step that was passed.

    Raises:
        UnreadableInput: this is no bundle.
        VerificationRefused: any check failed; the message names the file or the signature.
        StorageError: reading failed.
    """
    steps = Steps(note)
    shape = look_at(bundle)
    steps.add("shape", f"{len(shape.files)} files, {len(shape.signatures)} signatures")
    statement = signed_statement(shape, trust=trust, policy=policy, now=now)
    steps.extend(statement)
    found = measure_payload(shape, statement.files, policy, progress)
    steps.add("listing", "nothing extra, missing, linked or renamed")
    steps.add("content", f"SHA-256 of {len(found)} files, {sum(f.size for f in found)} bytes")
    check_sums(shape.payload, statement.files)
    steps.add("sums", "SHA256SUMS lists what the signature covers")
    document = check_document(shape.payload, statement.files, found, wanted_digests(policy))
    check_taken(document, now)
    steps.add("document", f"bundle.json describes these files: {document.label}")
    proof = check_commit(shape.payload, document, policy)
    steps.add(
        "commit", f"{proof.files} files tied to {proof.commit}" if proof else "no commit to prove"
    )
    return mint(
        VerifiedBundle,
        path=bundle,
        statement=statement,
        document=document,
        steps=tuple(steps.taken),
    )


def verify_part(
    bundle: Path,
    only: str,
    *,
    trust: TrustRoot,
    policy: Policy,
    now: datetime,
    note: Note | None = None,
) -> None:
    """Verify the signatures, and those files of the payload that are `only` or lie below it.

    Proves nothing about the rest of the bundle, and so returns nothing to act on.

    Raises UsageError if the signature covers no such file, and what `verify_bundle` raises.
    """
    steps = Steps(note)
    shape = look_at(bundle)
    statement = signed_statement(shape, trust=trust, policy=policy, now=now)
    steps.extend(statement)
    chosen = [path for path in statement.files if _is_under(path, only)]
    if not chosen:
        raise UsageError(
            f"the signature covers no {shown(only)}",
            hint=f"give a path as in payload/, such as {MODEL}/config.json",
        )
    refuse_other_files([p for p in shape.files if _is_under(p, only)], chosen)
    check_digests(_measure(shape.payload, chosen, policy, None), statement.files)
    steps.add("content", f"SHA-256 of {len(chosen)} of {len(statement.files)} files")


def signed_statement(
    shape: Shape, *, trust: TrustRoot, policy: Policy, now: datetime
) -> VerifiedStatement:
    """Verify the signatures of a bundle and return what they say. Looks at no content."""
    with refusing():
        return verify_signatures(
            shape.signatures, trust=trust, now=now, rules=policy.trust, crypto=policy.crypto
        )


def wanted_digests(policy: Policy) -> Wanted:
    """Which digests `policy` lets us use: approved algorithms only under `crypto = "fips"`."""
    return Wanted.SHA256 if policy.crypto == "fips" else Wanted.BOTH


def measure_payload(
    shape: Shape,
    signed: Mapping[RelPath, Digest],
    policy: Policy,
    progress: Progress | None = None,
) -> list[Measured]:
    """Hash a payload that is to be exactly `signed`.

    Raises VerificationRefused naming the first file that is extra, missing or different.
    """
    refuse_other_files(shape.files, tuple(signed))
    found = _measure(shape.payload, tuple(signed), policy, progress)
    check_digests(found, signed)
    return found


def _measure(
    payload: Path, paths: Sequence[RelPath], policy: Policy, progress: Progress | None
) -> list[Measured]:
    with refusing(), tree.opened_folder(payload) as folder:

        def work(path: RelPath, *, ahead: bool) -> Measured:
            with refusing(), tree.opened(folder, path) as descriptor:
                return measure(
                    descriptor, path, wanted_digests(policy), ahead=ahead, progress=progress
                )

        sizes = [(path, tree.size_of(folder, path)) for path in paths]
        return measure_all(sizes, work, progress=progress, what="verifying")


def _is_under(path: str, only: str) -> bool:
    return path == only or path.startswith(f"{only.rstrip('/')}/")


class Steps:
    """Collects the steps that were passed, telling `note` of each."""

    def __init__(self, note: Note | None) -> None:
        self.taken: list[Step] = []
        self._note = note

    def add(self, name: str, detail: str) -> None:
        """One step of ours was passed."""
        step = Step(name, detail)
        self.taken.append(step)
        if self._note is not None:
            self._note(step)

    def extend(self, statement: VerifiedStatement) -> None:
        """The signatures' steps were passed."""
        for step in statement.steps:
            self.add(step.name, step.detail)

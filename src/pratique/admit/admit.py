"""Admission: path + trust + policy + gate → AdmittedBundle. Read this file first.

A bundle comes from outside and is hostile until shown otherwise. In this order, and no other:

1. shape and size caps: names only, nothing opened but the signature files
2. signatures: identities, roles, thresholds, expiry, revocation, scope     → VerifiedStatement
3. the payload holds exactly the files that were signed
4. content: copied into our store while being hashed                        → StoredContent
5. from here on only stored bytes are read: SHA256SUMS, then bundle.json, against all of it
6. the commit proof: these files are that commit's
7. the gate again, on the stored bytes of all that may be loaded, under the enclave's own policy
8. the record is written: this is the moment of admission. Then the name is pointed

Any exception on the way is a refusal; what was stored by then is unreachable and swept by `gc`.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pratique.admit.admitted import AdmittedBundle
from pratique.admit.checks import check_commit, check_document, check_sums, check_taken
from pratique.admit.judged import Judged, to_judge
from pratique.admit.record import Decision, admitted_bundle, decide, new_record, tree_of
from pratique.admit.shape import look_at
from pratique.admit.verify import Note, Steps, signed_statement, wanted_digests
from pratique.attest.trustroot import TrustRoot
from pratique.core.bundle import BundleDocument
from pratique.core.candidate import Gate
from pratique.core.findings import Disposition, Verdict, VerdictState
from pratique.core.policy import Policy
from pratique.core.progress import Progress
from pratique.core.recorded import Around, unrecorded
from pratique.core.stages import Stage
from pratique.errors import ApprovalNeeded, VettingRefused
from pratique.store.cas import make_store
from pratique.store.content import refuse_other_files, store_content


@dataclass(frozen=True, slots=True)
class Terms:
    """What admission is decided by. `home` is where the store is; `now` is the time to judge at."""

    home: Path
    trust: TrustRoot
    policy: Policy
    gate: Gate
    now: datetime


@dataclass(frozen=True, slots=True)
class Naming:
    """What the bundle is to be called: its own name unless `alias`; `rollback` is why to go back."""

    alias: str | None = None
    rollback: str | None = None


def admit(
    bundle: Path,
    terms: Terms,
    naming: Naming = Naming(),
    *,
    progress: Progress | None = None,
    note: Note | None = None,
    around: Around[Decision] = unrecorded,
) -> AdmittedBundle:
    """Take `bundle` into the store. Guarantees that all eight steps were passed, or raises.

    `around` is entered immediately before the record is written, to keep an account of it.

    Raises:
        UnreadableInput: this is no bundle.
        VerificationRefused: steps 1 to 6, or the name would go back without a reason.
        VettingRefused, ApprovalNeeded: step 7.
        StorageError: the disk is full, or reading or writing failed.
    """
    trust, policy = terms.trust, terms.policy
    steps = Steps(note)

    # 1, 2, 3: believe nothing, then believe what is signed, then compare names.
    shape = look_at(bundle)
    steps.add("shape", f"{len(shape.files)} files, {len(shape.signatures)} signatures")
    statement = signed_statement(shape, trust=trust, policy=policy, now=terms.now)
    steps.extend(statement)
    refuse_other_files(shape.files, tuple(statement.files))
    steps.add("listing", "nothing extra, missing, linked or renamed")

    store = make_store(terms.home)
    with store.shared():  # while we hold this, gc takes nothing away
        # 4: the bytes that are hashed are the bytes that are kept.
        content = store_content(
            store,
            shape.payload,
            statement.files,
            statement.bundle_id,
            wanted=wanted_digests(policy),
            present=tree_of(store, statement.bundle_id),
            progress=progress,
        )
        steps.add("content", f"{len(content.files)} files hashed and stored")

        # 5, 6: what the bundle says of itself, checked against what was found.
        check_sums(content.root, statement.files)
        document = check_document(
            content.root, statement.files, content.files, wanted_digests(policy)
        )
        check_taken(document, terms.now)
        steps.add("document", f"bundle.json describes these files: {document.label}")
        proof = check_commit(content.root, document, policy)
        steps.add("commit", f"tied to commit {proof.commit}" if proof else "no commit to prove")

        # 7: judge the stored bytes by our own policy, whoever judged them before.
        for judged in to_judge(document, content.root, ours=True):
            _pass_the_gate(terms.gate, judged, document)
        steps.add("gate", f"PASSED under policy {policy.name}")

        # 8: from here on it is admitted.
        record = new_record(
            store, document, content, shape.signatures, policy=policy, now=terms.now, proof=proof
        )
        name = document.name if naming.alias is None else naming.alias
        replaced = decide(store, document, record, name, naming.rollback, around=around)
        steps.add("record", f"admitted as {name}")
    wanted = wanted_digests(policy)
    return admitted_bundle(
        name, statement, document, content, policy, wanted=wanted, replaced=replaced
    )


def _pass_the_gate(gate: Gate, judged: Judged, document: BundleDocument) -> None:
    """Judge what is stored. Raises unless the verdict is PASSED and speaks of these very files."""
    verdict = gate.judge(judged.candidate, Stage.CONTENT)
    match verdict.state:
        case VerdictState.PASSED:
            judged.refuse_other(verdict)
        case VerdictState.NEEDS_APPROVAL:
            raise ApprovalNeeded(
                f"{document.label} needs an allowance under policy {verdict.policy.name}: "
                f"{_worst(verdict)}",
                hint="add an allowance to the enclave's policy, then admit again",
            )
        case VerdictState.FAILED:
            raise VettingRefused(
                f"{document.label} was refused under policy {verdict.policy.name}: "
                f"{_worst(verdict)}",
                hint="see all findings with `pratique vet BUNDLE`",
            )


def _worst(verdict: Verdict) -> str:
    """The first finding that stands in the way, in words."""
    blocking = [finding for finding in verdict.findings if finding.blocks]
    refusing = [f for f in blocking if f.disposition is Disposition.REFUSE]
    first = (refusing or blocking)[0]
    return f"{first.path}: {first.message}" if first.path else first.message

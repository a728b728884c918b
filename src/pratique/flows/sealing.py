"""Vet again, then seal: whatever was judged before, what is signed was judged now.

The signer is asked for only after the gate has answered and the commit proof was checked again, so
that no key is in memory while hostile bytes are parsed.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Final

from pratique.admit.commit import prove_commit, prove_files
from pratique.admit.shape import MAX_SUMS_BYTES, look_at, read_unsigned
from pratique.admit.verify import wanted_digests
from pratique.attest.keys import Signer
from pratique.attest.sign import SignsStatements
from pratique.core.bundle import (
    DOCUMENT,
    PAYLOAD,
    SUFFIX,
    SUMS,
    AbsentFile,
    BundleDocument,
    is_git_file,
)
from pratique.core.candidate import Candidate, Gate
from pratique.core.findings import Verdict, VerdictState
from pratique.core.ids import Digest, GitId, RelPath, shown
from pratique.core.manifest import Manifest, parse_sha256sums
from pratique.core.policy import Policy
from pratique.core.progress import Progress
from pratique.core.recorded import Around, unrecorded
from pratique.core.snapshot import MAX_AHEAD, Proof, Snapshot, VettedSnapshot
from pratique.core.stages import Stage
from pratique.core.variants import VARIANT_NAMES, VariantName
from pratique.errors import FormatError, SealError, UsageError, VerificationRefused, VettingRefused
from pratique.evidence.report import Report, html_report
from pratique.evidence.sarif import sarif_json
from pratique.evidence.sbom import mlbom
from pratique.evidence.verdict import verdict_json
from pratique.flows.calibrating import sealed_calibration
from pratique.formats.bundle import MAX_DOCUMENT_BYTES, parse_bundle_document
from pratique.seal.intake import Taken, take_in
from pratique.seal.seal import SealedBundle, Sealing, label_path, recompute, seal
from pratique.seal.staging import private_folder, refuse_existing, refuse_inside_bundle
from pratique.seal.variants import Conversion, MadeVariant
from pratique.store.quarantine import hash_tree, read_document
from pratique.vet.roles import Role, role_of

VERIFIER: Final = "offline_verifier.py"
_EPOCH: Final = "SOURCE_DATE_EPOCH"
_NEVER_LOADED: Final = frozenset(
    {Role.FOREIGN, Role.EVENTS, Role.CACHE, Role.NOTEBOOK, Role.SCRIPT, Role.MEDIA}
)
_OTHER_WEIGHTS: Final = frozenset(
    {
        Role.TORCH,
        Role.FLAX,
        Role.KERAS,
        Role.SAVED_MODEL,
        Role.TFLITE,
        Role.ONNX,
        Role.ONNX_DATA,
    }
)
"""The same model for other runtimes, where it is here as safetensors too."""


@dataclass(frozen=True, slots=True)
class SealRequest:
    """What to seal and where to. `output` is a bundle's path, a folder, or None for here.

    `variants` are quantised copies to make and carry beside the model.
    """

    snapshot: Path
    policy: Policy
    output: Path | None = None
    variants: tuple[VariantName, ...] = ()


def vet_and_seal(
    request: SealRequest,
    gate: Gate,
    signer: Callable[[], Signer | SignsStatements],
    *,
    on_verdict: Callable[[Verdict], None],
    progress: Progress | None = None,
    around: Around[SealedBundle] = unrecorded,
) -> SealedBundle:
    """Seal a snapshot, or a bare model directory. Guarantees that the gate passed these very bytes.

    `on_verdict` is shown the verdict before it decides.

    Raises:
        VettingRefused, ApprovalNeeded: the gate's answer.
        UsageError: the target lies in a bundle.
        SealError: no usable key, the target exists, or a file changed meanwhile.
        VerificationRefused: the snapshot's commit proof does not hold.
    """
    near = _folder(request.output)
    refuse_inside_bundle(near)
    if request.output is not None and not _is_folder(request.output):
        refuse_existing(request.output.absolute())  # before minutes are spent on copying
    with private_folder(near) as folder:
        wanted, epoch = wanted_digests(request.policy), _epoch()
        # A bare directory is taken now, which is what the clock is told to say.
        taken = take_in(
            request.snapshot,
            folder,
            wanted,
            now=epoch,
            limits=request.policy.fetch,
            progress=progress,
        )
        _refuse_future(taken.snapshot, datetime.now(UTC))
        target = _target(request.output, taken.snapshot)
        refuse_existing(target)  # before they are spent on vetting; `seal` looks again
        clock = epoch or taken.snapshot.taken_at
        sealing = _sealing(request, taken, gate, on_verdict, clock=clock)
        made = _variants(sealing, request.variants, gate, on_verdict, folder)
        # The signer is asked for when everything foreign has been read.
        sealing = replace(sealing, variants=made)
        return seal(sealing, signer(), target, progress=progress, around=around)


def check_reproducible(
    request: SealRequest,
    bundle: Path,
    gate: Gate,
    *,
    on_verdict: Callable[[Verdict], None],
    progress: Progress | None = None,
) -> BundleDocument:
    """Rebuild `bundle` from the snapshot and compare, byte for byte, signatures aside.

    Raises SealError naming the first file that differs, is missing or is extra.
    """
    document = _document_of(bundle)
    wanted = wanted_digests(request.policy)
    # Nothing is signed, so nothing is copied: the bytes are judged and hashed where they lie.
    taken = take_in(request.snapshot, None, wanted, now=_time(document.taken_at), progress=progress)
    sealing = _sealing(request, taken, gate, on_verdict, clock=_time(document.created))
    names = tuple(name for name in VARIANT_NAMES if name in {v.name for v in document.variants})
    with private_folder(None) as folder:
        made = _variants(sealing, names, gate, on_verdict, folder)
        expected = recompute(replace(sealing, variants=made), progress=progress)
    found = {f.path: f.sha256 for f in hash_tree(bundle / PAYLOAD)}
    sums = parse_sha256sums(read_unsigned(bundle / PAYLOAD, SUMS, MAX_SUMS_BYTES))
    found.pop(SUMS, None)
    _compare(expected, found, "the payload")
    _compare(expected, sums, "SHA256SUMS")
    return document


def _sealing(
    request: SealRequest,
    taken: Taken,
    gate: Gate,
    on_verdict: Callable[[Verdict], None],
    *,
    clock: datetime,
) -> Sealing:
    """Prove, judge and gather evidence. Raises unless the verdict is PASSED."""
    snapshot = taken.snapshot
    absent = _absent(snapshot)
    sealed_calibration(snapshot)  # carried as it is, so refused here if it is not what it should be
    if snapshot.proof is Proof.VERIFIED:
        _prove_again(taken, absent, request.policy)
    elif snapshot.proof is Proof.NONE and request.policy.fetch.commit_proof == "required":
        raise VerificationRefused(
            f"{snapshot.label} has no commit proof, which the policy requires",
            hint="fetch it from a Hub with git access, or seal under a policy that reports it "
            '(fetch.commit_proof = "reported")',
        )
    for code in snapshot.foreign:
        objects = _git_objects(code.provenance_dir)
        prove_files(
            code.provenance_dir, objects, code.model_dir, code.manifest, commit=code.pin.commit
        )
    verdict = gate.judge(_candidate(snapshot), Stage.CONTENT)
    on_verdict(verdict)
    if verdict.state is VerdictState.FAILED:  # a gate that could not look has no digest to compare
        raise VettingRefused(
            f"{snapshot.label} was refused by the gate",
            hint="see the findings marked 'refuse'; no policy turns these into a pass",
        )
    return Sealing(
        vetted=VettedSnapshot(snapshot, verdict),
        policy=request.policy,
        clock=clock,
        evidence=_evidence(snapshot, verdict, clock),
        left_behind=unneeded(snapshot.manifest),
        absent=absent,
        taken=taken.files,
    )


def _variants(
    sealing: Sealing,
    names: tuple[VariantName, ...],
    gate: Gate,
    on_verdict: Callable[[Verdict], None],
    folder: Path,
) -> tuple[MadeVariant, ...]:
    """Make the variants below our private `folder`."""
    conversion = Conversion(
        vetted=sealing.vetted,
        policy=sealing.policy,
        gate=gate,
        left_behind=frozenset(sealing.left_behind),
        wanted=sealing.wanted,
        on_verdict=on_verdict,
    )
    wanted = [name for name in VARIANT_NAMES if name in names]  # each once, in one order
    return tuple(conversion.make(name, folder) for name in wanted)


def _candidate(snapshot: Snapshot) -> Candidate:
    return Candidate(
        name=snapshot.name,
        root=snapshot.model_dir,
        repo=snapshot.source.repo,
        commit=snapshot.source.commit,
        measured=snapshot.manifest,
        foreign=snapshot.foreign_roots,
    )


def _evidence(snapshot: Snapshot, verdict: Verdict, clock: datetime) -> Mapping[str, bytes]:
    """The documents that travel under the signature. The same input gives the same bytes."""
    source = snapshot.source
    facts = [
        ("name", snapshot.label),
        ("source", source.repo or "a local directory"),
        ("commit", source.commit or "none"),
        ("commit proof", snapshot.proof.value),
        ("taken", f"{snapshot.taken_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("policy", f"{verdict.policy.name} ({verdict.policy.digest})"),
        ("digest of all files", snapshot.manifest.digest),
        *(("code of another repository", code.pin.text) for code in snapshot.foreign),
    ]
    written = dict(verdict.evidence)
    listed = json.loads(written.get("tokenizer.json", "{}")).get("tokenizers", ())
    report = Report(
        snapshot.label, facts, snapshot.manifest.files, verdict, tokenizers=tuple(listed)
    )
    return {
        "verdict.json": verdict_json(verdict),
        "findings.sarif": sarif_json(verdict),
        "mlbom.cdx.json": mlbom(snapshot, clock),
        "report.html": html_report(report),
        # An auditor can check a ledger proof with this file and `cryptography` alone, years later.
        VERIFIER: (resources.files("pratique.ledger") / VERIFIER).read_bytes(),
        **{name: text.encode() for name, text in written.items()},
    }


def unneeded(manifest: Manifest) -> dict[RelPath, str]:
    """Files that nothing here loads, with the reason for leaving them behind.

    What a model needs to run is carried, and so are its card, licence and documentation; anything
    whose use is not known is carried too.
    """
    roles = {file.path: role_of(file.path) for file in manifest}
    safe = Role.WEIGHTS in roles.values()
    reasons: dict[RelPath, str] = {}
    for path, role in roles.items():
        if role in _NEVER_LOADED:
            reasons[path] = f"nothing loads it ({role.value})"
        elif safe and role in _OTHER_WEIGHTS:
            reasons[path] = f"the model is here as safetensors ({role.value} left behind)"
    return reasons


def _prove_again(taken: Taken, absent: tuple[AbsentFile, ...], policy: Policy) -> None:
    """The snapshot says that its proof was verified; nobody takes its word for it."""
    snapshot = taken.snapshot
    provenance, commit = snapshot.provenance_dir, snapshot.source.commit
    if provenance is None or commit is None:
        raise FormatError(
            f"{snapshot.label} claims a commit proof but has none", hint="fetch it again"
        )
    objects = {
        file.path: file.sha256 for file in taken.files[provenance] if file.path.startswith("git/")
    }
    prove_commit(
        provenance,
        objects,
        snapshot.model_dir,
        Manifest(tuple(f for f in snapshot.manifest if not is_git_file(f.path))),
        commit=commit,
        left_out=[entry.path for entry in absent],
        signing_keys=policy.fetch.commit_signing_keys,
    )


def _git_objects(provenance: Path) -> dict[RelPath, Digest]:
    return {
        file.path: file.sha256 for file in hash_tree(provenance) if file.path.startswith("git/")
    }


def _absent(snapshot: Snapshot) -> tuple[AbsentFile, ...]:
    if snapshot.provenance_dir is None:
        return ()
    document = read_document(snapshot.model_dir.parent)
    return tuple(
        AbsentFile(path=entry.path, git_id=None if entry.git_id is None else GitId(entry.git_id))
        for entry in document.left_out
    )


def _epoch() -> datetime | None:
    """SOURCE_DATE_EPOCH, if it is set. Raises UsageError if it is none, or in the future."""
    text = os.environ.get(_EPOCH)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 11:
        raise UsageError(f"{_EPOCH} is not a number of seconds: {shown(text)}", hint="unset it")
    clock = datetime.fromtimestamp(int(text), UTC)
    if clock > datetime.now(UTC) + MAX_AHEAD:
        raise UsageError(
            f"{_EPOCH} is in the future: {clock:%Y-%m-%d %H:%M}Z",
            hint="unset it, or set the clock of this host if it is behind",
        )
    return clock


def _refuse_future(snapshot: Snapshot, now: datetime) -> None:
    """`admit` would refuse it: better said where it can be fetched again."""
    if snapshot.taken_at > now + MAX_AHEAD:
        raise SealError(
            f"{snapshot.label} was taken at {snapshot.taken_at:%Y-%m-%d %H:%M}Z, and here it is "
            f"{now:%Y-%m-%d %H:%M}Z",
            hint="set the clock of this host if it is behind; else fetch it again where it is right",
        )


def _folder(output: Path | None) -> Path:
    """Where the bundle goes."""
    if output is None:
        return Path.cwd()
    return output.absolute() if _is_folder(output) else output.absolute().parent


def _is_folder(output: Path) -> bool:
    """A bundle is none, whatever it is called: nothing is put into one."""
    return output.is_dir() and output.suffix != SUFFIX and not (output / PAYLOAD).exists()


def _target(output: Path | None, snapshot: Snapshot) -> Path:
    if output is None or _is_folder(output):
        return label_path(snapshot.label, _folder(output))
    return output.absolute()


# --- comparing ----------------------------------------------------------------------------------------


def _document_of(bundle: Path) -> BundleDocument:
    shape = look_at(bundle)
    return parse_bundle_document(read_unsigned(shape.payload, DOCUMENT, MAX_DOCUMENT_BYTES))


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def _compare(
    expected: Mapping[RelPath, Digest], found: Mapping[RelPath, Digest], what: str
) -> None:
    for path in sorted({*expected, *found}):
        if expected.get(path) != found.get(path):
            raise SealError(
                f"{what} is not what sealing this snapshot gives: {shown(path)} differs",
                hint="another snapshot, policy or version of pratique was used to seal it",
            )

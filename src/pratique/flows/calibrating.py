"""Measure a vetted snapshot before it is sealed, in a confined child, and keep the figure with it.

1. The snapshot is read and judged again: only what PASSED is loaded, and a model that brings code of its
   own is not, whoever allowed it.
2. A child with no way out loads and runs it; its answer is figures, parsed as hostile.
3. The figures go to `provenance/calibration.json`. Sealing carries them under the signature, so that
   the same snapshot still gives the same bytes.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from pratique.confine import Ok, Requirement, model_lock, run_job
from pratique.core.calibration import (
    CALIBRATION,
    CalibrationDocument,
    Measurement,
)
from pratique.core.candidate import Candidate, Gate
from pratique.core.findings import Verdict
from pratique.core.load import Limits, LoadSpec, WeightFile
from pratique.core.policy import Policy
from pratique.core.rungs import Rung
from pratique.core.snapshot import Snapshot, VettedSnapshot
from pratique.core.stages import Stage
from pratique.errors import FormatError, SealError, UsageError, VerificationRefused
from pratique.fit import Demand, predict, read_machine, read_shape
from pratique.fit.measured import MOST_TIMES, is_credible
from pratique.fit.memory import kernels
from pratique.formats.calibration import encode, read_calibration
from pratique.serve.launch import worker_environment
from pratique.serve.measured import machine_kind, versions
from pratique.store import disk
from pratique.store.quarantine import open_snapshot

DEFAULT_CONTEXT: Final = 1024
DEFAULT_ROWS: Final = 4
_JOB: Final = "pratique.jobs.calibrate"
_OWN_CODE: Final = frozenset({"remote-code", "custom-generate", "foreign-code"})
_SECONDS: Final = 1800.0


class _Figures(BaseModel):
    """What the child answers."""

    model_config = ConfigDict(extra="forbid", strict=True)

    base: int
    loaded: int
    peak: int
    context: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrateRequest:
    """What to measure, and for what demand (tokens; None: 1,024 or what the model can, four rows)."""

    snapshot: Path
    policy: Policy
    context: int | None = None
    rows: int | None = None


def calibrate(
    request: CalibrateRequest,
    gate: Gate,
    *,
    on_verdict: Callable[[Verdict], None],
    on_note: Callable[[str], None] | None = None,
) -> CalibrationDocument:
    """Measure and store. Guarantees that nothing was loaded but what the gate passed just now.

    Raises:
        VettingRefused, ApprovalNeeded: the gate's answer; nothing was loaded.
        UsageError: a bare directory, which has no place for the figure.
        SealError: own code, no safetensors, or the child did not get to the end.
        ConfinementError: the lock that the policy asks for cannot be closed here.
    """
    snapshot = open_snapshot(request.snapshot)
    if snapshot.provenance_dir is None:
        raise UsageError(
            "a bare model directory has no place for a calibration",
            hint="make a snapshot of it first: pratique fetch DIR --into SNAPSHOT",
        )
    verdict = gate.judge(
        Candidate(
            name=snapshot.name,
            root=snapshot.model_dir,
            repo=snapshot.source.repo,
            commit=snapshot.source.commit,
        ),
        Stage.CONTENT,
    )
    on_verdict(verdict)
    vetted = VettedSnapshot(snapshot, verdict)
    if any(finding.check in _OWN_CODE for finding in verdict.findings):
        raise SealError(
            f"{snapshot.label} brings code of its own, which is never run for a calibration",
            hint="seal it without one; it is measured when it is first served",
        )
    document = _measured(vetted, request, on_note)
    path = snapshot.provenance_dir / CALIBRATION
    with disk.storing(str(path)):
        disk.replace_file(path, encode(document))
    return document


def sealed_calibration(snapshot: Snapshot) -> CalibrationDocument | None:
    """Read a snapshot's calibration, which will be carried. None if it has none.

    Raises FormatError for one that is malformed, of other files, or beyond all measure.
    """
    if snapshot.provenance_dir is None:
        return None
    document = read_calibration(snapshot.provenance_dir)
    if document is None:
        return None
    if document.subject != snapshot.manifest.digest:
        raise FormatError("calibration.json is of other files than the snapshot's", hint=_AGAIN)
    if not is_credible(read_shape(snapshot.model_dir), document.measured):
        raise FormatError(
            f"calibration.json claims more than {MOST_TIMES} times what such a model needs",
            hint=_AGAIN,
        )
    return document


_AGAIN: Final = "remove it from provenance/, or run `pratique calibrate` again"


def _measured(
    vetted: VettedSnapshot, request: CalibrateRequest, on_note: Callable[[str], None] | None
) -> CalibrationDocument:
    snapshot = vetted.snapshot
    shape = read_shape(snapshot.model_dir)
    context = request.context or min(shape.context or DEFAULT_CONTEXT, DEFAULT_CONTEXT)
    rows = request.rows or DEFAULT_ROWS
    demand = Demand(context=context, rows=rows, kv_tokens=context * rows)
    threads = max(1, len(os.sched_getaffinity(0)))
    machine = read_machine()
    needed = predict(shape, Rung.AUTO, demand).host_total
    if needed > machine.free:
        raise SealError(
            f"measuring needs about {needed // 2**20} MiB, {machine.free // 2**20} MiB are free",
            hint="free memory, or give a smaller --context or --parallel",
        )
    spec = LoadSpec(
        model_dir=str(snapshot.model_dir.absolute()),
        files=tuple(
            WeightFile(path=f.path, size=f.size, sha256=f.sha256) for f in snapshot.manifest
        ),
        rung=Rung.AUTO,
        limits=Limits(context=context, rows=rows, kv_tokens=demand.kv_tokens, threads=threads),
    )
    lock = model_lock(
        readable=[snapshot.model_dir],
        memory=machine.free,
        wall_seconds=_SECONDS,
        requirement=Requirement(request.policy.serve.lock),
        environment=worker_environment(threads=threads, kernels=kernels(shape)),
    )
    asked = b'{"spec":' + spec.model_dump_json().encode() + b"}"
    result = run_job(_JOB, asked, lock, max_output=4096, on_note=on_note)
    if not isinstance(result.outcome, Ok):
        raise SealError(
            f"{snapshot.label} was not measured: the confined child {result.describe()}",
            hint="seal it without a calibration; it is measured when it is first served",
        )
    document = _document(vetted, spec, demand, result.outcome.data, shape.architecture)
    if not is_credible(shape, document.measured):
        raise SealError(
            f"the child says that it needed {document.measured.peak // 2**20} MiB, more than "
            f"{MOST_TIMES} times what such a model needs",
            hint="do not carry this model; report it (SECURITY.md) if it is an honest one",
        )
    return document


def _document(
    vetted: VettedSnapshot, spec: LoadSpec, demand: Demand, answer: bytes, architecture: str
) -> CalibrationDocument:
    """Put together what is kept: the child's figures, and what this process knows itself."""
    torch, transformers = versions()
    try:
        figures = _Figures.model_validate_json(answer)
        context = min(demand.context, figures.context)
        return CalibrationDocument(
            subject=vetted.snapshot.manifest.digest,
            architecture=architecture,
            measured=Measurement(
                rung=spec.rung,
                torch=torch,
                transformers=transformers,
                machine=machine_kind(spec.limits.threads),
                threads=spec.limits.threads,
                context=context,
                rows=demand.rows,
                kv_tokens=demand.kv_tokens,
                prefill=spec.limits.prefill_tokens,
                base=figures.base,
                loaded=figures.loaded,
                peak=figures.peak,
            ),
        )
    except ValidationError as error:
        raise VerificationRefused(
            "the child that measured answered with figures that cannot be",
            hint="do not carry this model",
        ) from error

"""The gate's answer while fetching, as the error that carries it to whoever prints it."""

from pathlib import Path

from pratique.core.findings import Verdict, VerdictState
from pratique.core.stages import Stage
from pratique.errors import ApprovalNeeded, PratiqueError, VettingRefused

_WHEN = {
    Stage.LISTING: "its file list, before any file was downloaded",
    Stage.CODE_AND_CONFIG: "its code and configuration, before any weights were downloaded",
    Stage.HEADERS: "the heads of its weight files, before they were downloaded",
    Stage.TOKENIZER: "its tokenizer, before any weights were downloaded",
    Stage.CONTENT: "its content",
}


class GateRefused(VettingRefused):
    """FAILED. `kept` is the directory of the files that were read so far."""

    def __init__(
        self, message: str, *, hint: str, verdict: Verdict, stage: Stage, kept: Path
    ) -> None:
        super().__init__(message, hint=hint)
        self.verdict = verdict
        self.stage = stage
        self.kept = kept


class GateWantsApproval(ApprovalNeeded):
    """NEEDS_APPROVAL. `kept` is the directory of the files to review."""

    def __init__(
        self, message: str, *, hint: str, verdict: Verdict, stage: Stage, kept: Path
    ) -> None:
        super().__init__(message, hint=hint)
        self.verdict = verdict
        self.stage = stage
        self.kept = kept


def gate_answer(verdict: Verdict, stage: Stage, kept: Path) -> PratiqueError:
    """Return the error for a verdict that is not PASSED."""
    name = verdict.subject.repo or verdict.subject.name
    if verdict.state is VerdictState.NEEDS_APPROVAL:
        return GateWantsApproval(
            f"{name} needs an allowance{_before(stage)}",
            hint=f"read {kept} , then add the allowances to the policy and fetch again",
            verdict=verdict,
            stage=stage,
            kept=kept,
        )
    return GateRefused(
        f"{name} was refused by {_WHEN[stage]}",
        hint="see the findings marked 'refuse'; --without PATTERN leaves a file behind",
        verdict=verdict,
        stage=stage,
        kept=kept,
    )


def stops(state: VerdictState, stage: Stage) -> bool:
    """A refusal ends a fetch at once; a wish for approval when everything cheap has been asked.

    So whoever is to approve sees all findings together, with the digests that allowances must name.
    """
    match state:
        case VerdictState.PASSED:
            return False
        case VerdictState.FAILED:
            return True
        case VerdictState.NEEDS_APPROVAL:
            return stage >= Stage.HEADERS


def _before(stage: Stage) -> str:
    return "" if stage is Stage.CONTENT else "; no weights were downloaded"

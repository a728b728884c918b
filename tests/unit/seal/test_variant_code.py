"""A model with code of its own and a quantised copy: one allowance answers for the file in both."""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pytest

from pratique.confine import Confinement, JobResult, Ok
from pratique.core.candidate import Candidate
from pratique.core.findings import Disposition, Finding, Severity, Verdict
from pratique.core.ids import CommitSha
from pratique.core.policy import Allowance, Policy
from pratique.core.stages import Stage
from pratique.errors import ApprovalNeeded
from pratique.flows.approve import Terms, sign_and_attach, vet_for_approval
from pratique.flows.sealing import SealRequest, vet_and_seal
from pratique.seal import variants
from pratique.store.quarantine import hash_tree
from pratique.vet.allowing import allow
from tests.support.bundles import NOW, POLICY, OpenGate, World, make_world, write_tiny
from tests.support.commits import write_commit
from tests.unit.admit.test_admit import as_snapshot, snapshot_document
from tests.unit.seal.test_variants import FILES, weights

CODE = "modeling_tiny.py"
MODEL = {
    name: data for name, data in FILES.items() if "/" not in name and not name.startswith(".git")
} | {CODE: b"class Tiny: ...\n"}


@dataclass(frozen=True)
class AllowingGate(OpenGate):
    """Finds the model's code, and lets the policy's allowances answer for it, as the real one does."""

    policy: Policy = POLICY
    seen: list[Candidate] = field(default_factory=list)

    def judge(self, candidate: Candidate, stage: Stage) -> Verdict:
        self.seen.append(candidate)
        digest = {f.path: f.sha256 for f in hash_tree(candidate.root)}[CODE]  # type: ignore[index]
        finding = Finding(
            "remote-code", Severity.HIGH, Disposition.APPROVE, CODE, "is code", "read it", digest
        )
        found = allow([finding], self.policy, candidate, NOW.date(), complete=True)
        return OpenGate(self.policy, findings=found).judge(candidate, stage)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path / "world")


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, CommitSha]:
    def run_job(module: str, request: bytes, lock: object) -> JobResult:
        folder = Path(json.loads(request)["output_dir"])
        (folder / "model.safetensors").write_bytes(weights(b"\3"))
        return JobResult(Ok(b""), Confinement(()), "quantising", "", 0.0)

    monkeypatch.setattr(variants, "run_job", run_job)
    model = write_tiny(tmp_path / "m", MODEL)
    commit = write_commit(tmp_path / "provenance", MODEL)
    document = snapshot_document(model, taken_at="2026-01-31T12:00:00+00:00", commit=commit)
    root = as_snapshot(model, document)
    (tmp_path / "provenance/git").rename(root / "provenance/git")
    return root, commit


def policy_for(commit: CommitSha, **changes: object) -> Policy:
    said = {
        "check": "remote-code", "digest": hashlib.sha256(MODEL[CODE]).hexdigest(),
        "reason": "read it all", "owner": "ann", "expires": date(9999, 1, 1),
        "repo": "org/tiny", "commit": commit,
    }  # fmt: skip
    return POLICY.model_copy(update={"allow": (Allowance(**(said | changes)),)})  # type: ignore[arg-type]


def test_an_allowance_for_the_commit_answers_for_its_copy(
    world: World, snapshot: tuple[Path, CommitSha], tmp_path: Path
) -> None:
    directory, commit = snapshot
    policy = policy_for(commit)
    gate = AllowingGate(policy=policy)
    bundle = vet_and_seal(
        SealRequest(directory, policy, tmp_path / "m.bundle", ("nf4",)),
        gate,
        lambda: world.vetter,
        on_verdict=lambda _: None,
    ).path
    terms = Terms(policy=policy, reason="looked at it", now=NOW)
    approval = vet_for_approval(bundle, terms, gate, on_verdict=lambda _: None)
    assert [a.commit for a in approval.allowances] == [commit]
    sign_and_attach(bundle, approval, world.approver, world.home)
    admitted = world.admit(bundle, policy=policy, gate=gate)
    assert [v.name for v in admitted.document.variants] == ["nf4"]
    told = [(c.commit, c.made_from) for c in gate.seen]
    assert (
        told == [(commit, None), (None, commit)] * 3
    )  # seal, approve, admit: no commit for a copy


def test_an_allowance_for_another_commit_answers_for_neither(
    world: World, snapshot: tuple[Path, CommitSha], tmp_path: Path
) -> None:
    directory, _ = snapshot
    policy = policy_for(CommitSha("0" * 40))
    with pytest.raises(ApprovalNeeded):
        vet_and_seal(
            SealRequest(directory, policy, tmp_path / "m.bundle", ("nf4",)),
            AllowingGate(policy=policy),
            lambda: world.vetter,
            on_verdict=lambda _: None,
        )
    assert not (tmp_path / "m.bundle").exists()

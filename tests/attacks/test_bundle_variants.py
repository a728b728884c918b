"""A vetter puts something else where a converted copy belongs: approver and enclave judge it too."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pratique.confine import Confinement, JobResult, Ok
from pratique.core.candidate import Candidate
from pratique.core.findings import Disposition, Finding, Severity, Verdict
from pratique.core.stages import Stage
from pratique.errors import ApprovalNeeded, VettingRefused
from pratique.flows.sealing import SealRequest, vet_and_seal
from pratique.seal import variants
from pratique.store.cas import open_store
from pratique.store.quarantine import hash_tree
from pratique.store.records import admissions
from tests.support.bundles import POLICY, OpenGate, World, make_world, write_tiny
from tests.unit.seal.test_variants import FILES, weights


@dataclass
class Particular:
    """Passes all but the folder of the copy, of which it finds something."""

    disposition: Disposition
    seen: list[Candidate] = field(default_factory=list)

    def judge(self, candidate: Candidate, stage: Stage) -> Verdict:
        self.seen.append(candidate)
        finding = Finding("test", Severity.HIGH, self.disposition, "x", "is wrong", "fix it")
        copy = candidate.root.name == "nf4"
        return OpenGate(findings=(finding,) if copy else ()).judge(candidate, stage)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path / "world")


@pytest.fixture
def bundle(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sealed by somebody whose own gate let everything pass."""

    def run_job(module: str, request: bytes, lock: object) -> JobResult:
        folder = Path(json.loads(request)["output_dir"])
        (folder / "model.safetensors").write_bytes(weights(b"\3"))
        return JobResult(Ok(b""), Confinement(()), "quantising", "", 0.0)

    monkeypatch.setattr(variants, "run_job", run_job)
    request = SealRequest(
        write_tiny(tmp_path / "m", FILES), POLICY, tmp_path / "m.bundle", ("nf4",)
    )
    return vet_and_seal(request, OpenGate(), lambda: world.vetter, on_verdict=lambda _: None).path


@pytest.mark.parametrize(
    ("disposition", "error"),
    [(Disposition.REFUSE, VettingRefused), (Disposition.APPROVE, ApprovalNeeded)],
)
def test_admission_judges_the_copy(
    world: World, bundle: Path, disposition: Disposition, error: type[Exception]
) -> None:
    world.approve(bundle)
    with pytest.raises(error):
        world.admit(bundle, gate=Particular(disposition))
    assert list(admissions(open_store(world.home))) == []


def test_both_are_shown_with_what_was_measured(world: World, bundle: Path) -> None:
    world.approve(bundle)
    gate = Particular(Disposition.NOTE)
    admitted = world.admit(bundle, gate=gate)
    payload = admitted.model_dir.parent
    assert [c.root for c in gate.seen] == [payload / "model", payload / "variants/nf4"]
    assert [c.measured for c in gate.seen] == [hash_tree(c.root) for c in gate.seen]
    assert [c.commit for c in gate.seen] == [None, None]


def test_the_approver_judges_the_copy(
    world: World, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Particular(Disposition.REFUSE)
    monkeypatch.setattr("tests.support.bundles.OpenGate", lambda _: gate)
    with pytest.raises(VettingRefused):
        world.approve(bundle)
    assert [c.root.name for c in gate.seen] == ["model", "nf4"]
    assert [c.measured for c in gate.seen] == [None, None]  # on a medium the gate hashes for itself
    assert list((bundle / "signatures").iterdir()) == [bundle / "signatures/vetter.sig"]

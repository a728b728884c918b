"""A vetter puts something else where a converted copy belongs: approver and enclave judge it too."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import blake3
import pytest

from pratique.attest.sign import sign_payload
from pratique.confine import Confinement, JobResult, Ok
from pratique.core.bundle import sums_of
from pratique.core.candidate import Candidate
from pratique.core.findings import Disposition, Finding, Severity, Verdict
from pratique.core.stages import Stage
from pratique.core.variants import SETTINGS
from pratique.errors import ApprovalNeeded, VerificationRefused, VettingRefused
from pratique.flows.sealing import SealRequest, vet_and_seal
from pratique.seal import variants
from pratique.store.cas import open_store
from pratique.store.quarantine import hash_tree
from pratique.store.records import admissions
from tests.attacks.test_bundle_tampering import approve_blindly
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


def forge(world: World, bundle: Path, changes: dict[str, bytes | None]) -> None:
    """Change files of the copy and sign it all again, as whoever holds the vetter's key can."""
    payload = bundle / "payload"
    for name, data in changes.items():
        path = payload / "variants/nf4" / name
        path.unlink() if data is None else path.write_bytes(data)
    document = json.loads((payload / "bundle.json").read_bytes())
    paths = [p for p in hash_tree(payload) if p.path not in {"bundle.json", "SHA256SUMS"}]
    document["files"] = [
        {
            "path": f.path, "size": f.size, "sha256": f.sha256,
            "chunks": [blake3.blake3((payload / f.path).read_bytes()).hexdigest()][: f.size],
        }
        for f in paths
    ]  # fmt: skip
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    (payload / "bundle.json").write_bytes(text.encode() + b"\n")
    listed = [(f.path, f.sha256) for f in hash_tree(payload) if f.path != "SHA256SUMS"]
    (payload / "SHA256SUMS").write_bytes(sums_of(listed))
    signed = [(f.path, f.sha256) for f in hash_tree(payload)]
    (bundle / "signatures/vetter.sig").write_bytes(sign_payload(signed, world.vetter))


COPY = json.loads(FILES["config.json"]) | {"quantization_config": SETTINGS["nf4"]}


def configured(**changes: object) -> dict[str, bytes | None]:
    return {"config.json": json.dumps(COPY | changes).encode()}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tokenizer.json": b"{ }"}, "does not share the model's 'tokenizer.json'"),
        ({"tokenizer.json": None}, "does not share the model's 'tokenizer.json'"),
        ({"chat_template.jinja": b"x"}, "does not share the model's 'chat_template.jinja'"),
        ({"2_Dense/model.safetensors": b"x"}, "does not share the model's '2_Dense/model.safetensors'"),
        ({"config.json": None}, "no variants/nf4/config.json"),
        (configured(auto_map={"AutoModel": "a.B"}), "configured otherwise"),
        (configured(hidden_size=8.0), "configured otherwise"),
        (configured(architectures=[]), "configured otherwise"),
        (configured(torch_dtype="float16"), "configured otherwise"),
        (configured(dtype="float16"), "configured otherwise"),
        ({"config.json": b"[]"}, "an object belongs"),
    ],
)  # fmt: skip
def test_a_copy_that_is_run_otherwise_than_the_model_is_refused(
    world: World, bundle: Path, changes: dict[str, bytes | None], words: str
) -> None:
    forge(world, bundle, changes)
    approve_blindly(world, bundle)
    for check in (world.verify, world.approve, world.admit):
        with pytest.raises(VerificationRefused, match=words):
            check(bundle)
    assert not (world.home / "store/admissions").exists() or not list(
        admissions(open_store(world.home))
    )


def test_other_weights_of_a_copy_are_the_vetters_word(world: World, bundle: Path) -> None:
    forge(world, bundle, {"model.safetensors": weights(b"\4")} | configured())
    world.approve(bundle)
    assert world.admit(bundle).label


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

"""Variants: only weights are taken from the child, only what the gate passed is carried."""

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pratique.confine import Confinement, Failed, JobResult, Ok
from pratique.core.candidate import Candidate
from pratique.core.findings import Disposition, Verdict
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.core.variants import NOT_PROVED, SETTINGS
from pratique.errors import ApprovalNeeded, FormatError, SealError, VettingRefused
from pratique.flows.sealing import SealRequest, check_reproducible, vet_and_seal
from pratique.seal import variants
from pratique.seal.seal import SealedBundle
from tests.support.bundles import (
    POLICY,
    OpenGate,
    World,
    make_world,
    refusing_gate,
    write_tiny,
)

CONFIG = {"architectures": ["LlamaForCausalLM"], "dtype": "bfloat16", "hidden_size": 8}


def weights(fill: bytes) -> bytes:
    """A safetensors file of one tensor."""
    header = json.dumps({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(header)) + header + fill * 4


FILES = {
    "config.json": json.dumps(CONFIG).encode(),
    "model.safetensors": weights(b"\1"),
    "tokenizer.json": b"{}",
    "2_Dense/model.safetensors": weights(b"\2"),
    "notes.ipynb": b"{}",
    ".gitattributes": b"x",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("variants"))


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict]]:
    """Stand for the confined child: `write` gets its folder; requests are remembered."""

    def install(write: Callable[[Path], None], outcome: object = None) -> list[dict]:
        requests: list[dict] = []

        def run_job(module: str, request: bytes, lock: object) -> JobResult:
            asked = json.loads(request)
            requests.append(asked | {"module": module, "lock": lock})
            write(Path(asked["output_dir"]))
            return JobResult(outcome or Ok(b""), Confinement(()), "quantising", "", 0.0)  # type: ignore[arg-type]

        monkeypatch.setattr(variants, "run_job", run_job)
        return requests

    return install


def write_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(weights(b"\3"))


def seal_in(
    world: World, folder: Path, gate: object = None, files: dict[str, bytes] | None = None
) -> SealedBundle:
    model = write_tiny(folder / "model", files or FILES)
    request = SealRequest(model, POLICY, folder / "out" / "m.bundle", ("nf4",))
    return vet_and_seal(
        request, gate or OpenGate(), lambda: world.vetter, on_verdict=lambda _: None
    )  # type: ignore[arg-type]


def test_a_variant_is_vetted_bytes_and_new_weights(world, tmp_path, child):
    requests = child(write_weights)
    bundle = seal_in(world, tmp_path)
    folder = bundle.path / "payload/variants/nf4"
    assert {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} == {
        "config.json", "conversion.json", "model.safetensors", "tokenizer.json",
        "2_Dense/model.safetensors",
    }  # fmt: skip
    assert (folder / "model.safetensors").read_bytes() == weights(b"\3")
    assert (folder / "2_Dense/model.safetensors").read_bytes() == weights(b"\2")
    config = json.loads((folder / "config.json").read_text())
    assert config == CONFIG | {"quantization_config": SETTINGS["nf4"]}
    statement = json.loads((folder / "conversion.json").read_text())
    assert statement["status"] == NOT_PROVED
    assert statement["subject"] == bundle.document.subject
    listed = {f.path: f.sha256 for f in bundle.document.files}
    for kind, where in (("inputs", "model"), ("outputs", "variants/nf4"), ("unchanged", "model")):
        assert statement[kind]
        assert all(listed[f"{where}/{f['path']}"] == f["sha256"] for f in statement[kind])
    assert [v.name for v in bundle.document.variants] == ["nf4"]
    lock = requests[0]["lock"]
    assert lock.writable == (requests[0]["output_dir"],)
    assert lock.readable == (requests[0]["model_dir"],)
    assert not list((tmp_path / "out").glob(".pratique-*"))


def test_the_same_weights_give_the_same_bundle(world, tmp_path, child):
    child(write_weights)
    bundle = seal_in(world, tmp_path)
    request = SealRequest(tmp_path / "model", POLICY)
    check_reproducible(request, bundle.path, OpenGate(), on_verdict=lambda _: None)
    child(lambda folder: (folder / "model.safetensors").write_bytes(weights(b"\4")))
    with pytest.raises(SealError, match="differs"):
        check_reproducible(request, bundle.path, OpenGate(), on_verdict=lambda _: None)


HOSTILE: dict[str, Callable[[Path], object]] = {
    "config.json": lambda f: (f / "config.json").write_text("{}"),
    "modeling_x.py": lambda f: (f / "modeling_x.py").write_text("import os"),
    "conversion.json": lambda f: (f / "conversion.json").write_text("{}"),
    "sub/model.safetensors": lambda f: write_tiny(f, {"sub/model.safetensors": b"x"}),
    "adapter_model.safetensors": lambda f: (f / "adapter_model.safetensors").write_bytes(b"x"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_but_weights_is_taken_from_the_child(world, tmp_path, child, name):
    child(lambda folder: (write_weights(folder), HOSTILE[name](folder)))
    with pytest.raises(SealError, match=name):
        seal_in(world, tmp_path)
    assert not list((tmp_path / "out").iterdir())


def test_a_link_from_the_child_is_not_followed(world, tmp_path, child):
    secret = tmp_path / "secret"
    secret.write_bytes(weights(b"\5"))
    child(lambda folder: (folder / "model.safetensors").symlink_to(secret))
    with pytest.raises(FormatError, match="link"):
        seal_in(world, tmp_path)


def test_a_child_that_fails_or_writes_nothing_seals_nothing(world, tmp_path, child):
    child(write_weights, Failed("LoadRefused"))
    with pytest.raises(SealError, match=r"nf4 was not made.*LoadRefused.*quantising"):
        seal_in(world, tmp_path)
    child(lambda _: None)
    with pytest.raises(SealError, match="no weights"):
        seal_in(world, tmp_path)
    assert not list((tmp_path / "out").iterdir())


class SecondTime:
    """Passes the model, then answers as `then` does."""

    def __init__(self, then: object) -> None:
        self.then, self.asked = then, 0

    def judge(self, candidate: Candidate, stage: Stage) -> Verdict:
        self.asked += 1
        gate = OpenGate() if self.asked == 1 else self.then
        return gate.judge(candidate, stage)  # type: ignore[attr-defined, no-any-return]


class Elsewhere(OpenGate):
    """Passes other bytes than those it was shown."""

    def judge(self, candidate: Candidate, stage: Stage) -> Verdict:
        found = super().judge(candidate, stage)
        return replace(found, subject=replace(found.subject, digest="0" * 64))


@pytest.mark.parametrize(
    ("then", "error"),
    [
        (refusing_gate(), VettingRefused),
        (refusing_gate(Disposition.APPROVE), ApprovalNeeded),
        (Elsewhere(), SealError),
    ],
)
def test_the_gate_judges_the_variant_too(world, tmp_path, child, then, error):
    child(write_weights)
    gate = SecondTime(then)
    with pytest.raises(error, match="variant nf4"):
        seal_in(world, tmp_path, gate)
    assert gate.asked == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"config.json": json.dumps(CONFIG | {"quantization_config": {}}).encode()}, "already"),
        ({"model.safetensors": None}, "safetensors weights"),
        ({"conversion.json": b"{}"}, "conversion.json"),
    ],
)
def test_what_cannot_be_converted_is_said(world, tmp_path, child, change, words):
    child(write_weights)
    files = {name: data for name, data in (FILES | change).items() if data is not None}
    with pytest.raises(SealError, match=words):
        seal_in(world, tmp_path, files=files)


def test_the_dtype_is_kept_where_the_configuration_does_not_say_it(world, tmp_path, child):
    child(write_weights)
    config = {key: value for key, value in CONFIG.items() if key != "dtype"}
    bundle = seal_in(world, tmp_path, files=FILES | {"config.json": json.dumps(config).encode()})
    found = json.loads((bundle.path / "payload/variants/nf4/config.json").read_text())
    assert found["dtype"] == "float32"  # what transformers takes where nothing is floating


@pytest.mark.parametrize(
    ("approved", "served", "permitted"),
    [
        (("auto", "nf4"), ("auto", "nf4"), ("nf4",)),
        (("auto",), ("auto", "nf4"), ()),
        (("auto", "nf4"), ("auto",), ()),
    ],
)
def test_who_forbids_the_rung_forbids_the_variant(sealed_once, approved, served, permitted):
    world, bundle = sealed_once
    for old in (bundle / "signatures").glob("approver*"):
        old.unlink()
    world.approve(bundle, rungs=approved)
    values = POLICY.model_dump(by_alias=True)
    policy = Policy.model_validate(values | {"serve": values["serve"] | {"rungs": served}})
    admitted = world.admit(bundle, policy=policy, gate=OpenGate(policy))
    assert admitted.permitted_variants == permitted


@pytest.fixture
def sealed_once(world, tmp_path, child) -> tuple[World, Path]:
    """A bundle with a variant, of its own bytes."""
    child(write_weights)
    bundle = seal_in(world, tmp_path, files=FILES | {"salt": str(tmp_path).encode()})
    return world, bundle.path

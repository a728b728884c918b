"""Pickle to safetensors: by allowance only, every tensor kept, nothing else let through."""

import json
from datetime import date
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pratique.core.candidate import Candidate
from pratique.core.findings import VerdictState
from pratique.core.policy import Allowance, Policy
from pratique.errors import ApprovalNeeded, UsageError, VettingRefused
from pratique.formats.policy import load_policy
from pratique.vet import judge
from pratique.vet.converting import convert
from tests.support import models

POLICY = load_policy("strict")


def _with_torch(root: Path, state: object, name: str = "pytorch_model.bin") -> Policy:
    """A model whose weights are `state`, and a policy that allows that very file."""
    models.write_model(root, "llama")
    (root / "model.safetensors").unlink()
    torch.save(state, root / name)
    verdict = judge(Candidate("m", root), POLICY)
    entries = tuple(
        Allowance.model_validate({"check": f.check, "digest": f.digest, "reason": "reviewed here", "owner": "me", "expires": date(2999, 1, 1)})
        for f in verdict.findings if f.blocks and f.digest
    )  # fmt: skip
    return POLICY.model_copy(update={"allow": entries})


def test_weights_are_the_same_and_pass_the_gate(tmp_path: Path) -> None:
    models.write_model(tmp_path / "source", "llama")
    state = load_file(tmp_path / "source" / "model.safetensors")
    shared = torch.arange(6.0).reshape(2, 3)
    state |= {"half": torch.tensor([1.5, float("nan")], dtype=torch.bfloat16), "s1": shared, "s2": shared.t(),
              "scalar": torch.tensor(3), "flag": torch.tensor([True, False]), "empty": torch.empty(0, 4)}  # fmt: skip
    policy = _with_torch(tmp_path / "m", state)
    (done,) = convert(Candidate("m", tmp_path / "m"), policy, tmp_path / "out")
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert set(found) == set(state)
    for name, tensor in state.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name].nan_to_num(7), tensor.nan_to_num(7)), name
    statement = json.loads((tmp_path / "out" / "conversion.json").read_text())
    assert statement["files"][0]["target"]["sha256"] == done.output_sha256
    assert not (tmp_path / "out" / "pytorch_model.bin").exists()
    assert judge(Candidate("m", tmp_path / "out"), POLICY).state is not VerdictState.FAILED


def test_not_without_an_allowance(tmp_path: Path) -> None:
    _with_torch(tmp_path / "m", {"a": torch.zeros(2)})
    with pytest.raises(ApprovalNeeded):
        convert(Candidate("m", tmp_path / "m"), POLICY, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("state", [{"a": {"b": torch.zeros(1)}}, [torch.zeros(1)], {"a": 1}, {}])
def test_only_flat_mappings(state: object, tmp_path: Path) -> None:
    policy = _with_torch(tmp_path / "m", state)
    with pytest.raises(VettingRefused):
        convert(Candidate("m", tmp_path / "m"), policy, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_hostile_pickle_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    canary = models.write_pickle_repo(tmp_path / "m", canary=tmp_path / "CANARY")
    with pytest.raises(VettingRefused):
        convert(Candidate("m", tmp_path / "m"), POLICY, tmp_path / "out")
    assert not canary.exists()


def test_existing_output_and_nothing_to_do(tmp_path: Path) -> None:
    models.write_model(tmp_path / "m", "llama")
    with pytest.raises(UsageError):
        convert(Candidate("m", tmp_path / "m"), POLICY, tmp_path / "out")
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError):
        convert(Candidate("m", tmp_path / "m"), POLICY, tmp_path / "out")

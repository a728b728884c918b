"""The NaN scan sees every float type, at every place, and only where the policy asks."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pratique.core.candidate import Candidate
from pratique.core.findings import state_of
from pratique.core.policy import Policy, VetRules
from pratique.core.stages import Stage
from pratique.formats.policy import load_policy
from pratique.vet.examine import examine
from tests.support import models

PLAIN = load_policy("strict")
SCAN = PLAIN.model_copy(update={"vet": VetRules(scan_nan=True)})


def _state(root: Path, policy: Policy) -> str:
    return state_of(examine(Candidate("m", root), policy, Stage.CONTENT).findings).value


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1.0])
def test_found_in_every_type(dtype: torch.dtype, value: float, tmp_path: Path) -> None:
    models.write_model(tmp_path / "m", "llama")
    tensor = torch.zeros(300_001, dtype=dtype)
    tensor[-1] = value
    save_file(
        {"a": torch.ones(3), "b": tensor, "n": torch.full((4,), -1)},
        tmp_path / "m" / "extra.safetensors",
    )
    assert _state(tmp_path / "m", SCAN) == ("PASSED" if value == 1.0 else "FAILED")
    assert _state(tmp_path / "m", PLAIN) == "PASSED"


def test_largest_finite_numbers_pass(tmp_path: Path) -> None:
    models.write_model(tmp_path / "m", "llama")
    tensors = {
        str(d): torch.tensor([torch.finfo(d).max, torch.finfo(d).min, torch.finfo(d).tiny], dtype=d)
        for d in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    }
    save_file(tensors, tmp_path / "m" / "extra.safetensors")
    assert _state(tmp_path / "m", SCAN) == "PASSED"

"""Tables that mirror other people's code are held to it."""

import torch
import torch._weights_only_unpickler as unpickler

from pratique.formats.safetensors import DTYPE_BITS
from pratique.formats.torch_zip import SAFE_GLOBALS
from pratique.vet.checks import hub_kernels, quantisation


def test_safe_globals_are_on_torchs_own_list() -> None:
    assert set(unpickler._get_allowed_globals()) >= SAFE_GLOBALS
    assert "torch._utils._rebuild_tensor_v2" in SAFE_GLOBALS


def test_quantisation_methods_of_transformers_are_known() -> None:
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    assert set(AUTO_QUANTIZATION_CONFIG_MAPPING) <= quantisation._METHODS


def test_implementations_of_transformers_are_known() -> None:
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    for name in (
        *ALL_ATTENTION_FUNCTIONS.valid_keys(),
        *ALL_EXPERTS_FUNCTIONS.valid_keys(),
        "eager",
    ):
        assert hub_kernels._OWN.match(name), name


def test_safetensors_types(tmp_path: object) -> None:
    import safetensors.torch

    for dtype in safetensors.torch._TYPES.values():
        name = {v: k for k, v in safetensors.torch._TYPES.items()}[dtype]
        assert name in DTYPE_BITS
        assert DTYPE_BITS[name] == torch.empty(
            0, dtype=dtype
        ).element_size() * 8 or name.startswith("F4")

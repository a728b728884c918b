"""Quantised copies made at seal time: their names, their one recipe each, and where they lie.

The settings are fixed here, so that the same model and tools give the same copy, and so that the
configuration of a copy is written by whoever seals it and never taken from the child that made it.
"""

from typing import Final, Literal, get_args

VariantName = Literal["nf4", "int8"]
VARIANT_NAMES: Final[tuple[VariantName, ...]] = get_args(VariantName)

STATEMENT: Final = "conversion.json"
STATEMENT_SCHEMA: Final = "pratique.variant/v1"
NOT_PROVED: Final = "converted, not commit-proved"
METHODS: Final[dict[VariantName, str]] = {
    "nf4": "bitsandbytes 4-bit NormalFloat, double quantisation",
    "int8": "bitsandbytes 8-bit (LLM.int8)",
}
TOOLS: Final = ("torch", "transformers", "bitsandbytes", "safetensors", "accelerate")
"""Packages whose versions decide what comes out."""

SETTINGS: Final[dict[VariantName, dict[str, object]]] = {
    "nf4": {
        "quant_method": "bitsandbytes",
        "load_in_4bit": True,
        "load_in_8bit": False,
        "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True,
        "bnb_4bit_compute_dtype": "bfloat16",
        "bnb_4bit_quant_storage": "uint8",
    },
    "int8": {
        "quant_method": "bitsandbytes",
        "load_in_4bit": False,
        "load_in_8bit": True,
        "llm_int8_threshold": 6.0,
        "llm_int8_has_fp16_weight": False,
        "llm_int8_enable_fp32_cpu_offload": False,
    },
}
"""`quantization_config` of each, in the words of config.json."""


def is_top_weights(path: str) -> bool:
    """Whether a path of a repository is among the weights that a variant replaces."""
    return "/" not in path and path.endswith((".safetensors", ".safetensors.index.json"))

"""Quantisation settings name a method and numbers; classes, modules and places are refused."""

import re
from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding, Severity
from pratique.core.ids import shown
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.formats.json_strict import Json, JsonObject
from pratique.vet.check import Check, refuse
from pratique.vet.fields import configs, is_class_name, walk
from pratique.vet.repo import Entry, Repo
from pratique.vet.roles import Role

# transformers 5.23 quantizers/auto.py, and methods of other engines that it passes over with a warning.
_METHODS: Final = frozenset(
    "bitsandbytes bitsandbytes_4bit bitsandbytes_8bit gptq awq aqlm vptq quanto eetq higgs hqq "
    "compressed-tensors fbgemm_fp8 torchao gguf bitnet spqr fp8 quark fp_quant auto-round "
    "intel/auto-round mxfp4 nvfp4 mxfp8 metal fouroversix sinq gemma modelopt modelopt_fp4 exl2 exl3 "
    "marlin gptq_marlin awq_marlin int8 mlx optimum-quanto smoothquant inc w8a8_int8 w8a8_fp8 dynamic "
    "experts_int8 qqq tpu_int8 deepspeedfp petit_nvfp4 rtn ipex neuron_quant ct2".split()
)
_CLASS_KEYS: Final = re.compile(
    r"(?i)_target_|target_class|cls|_?class(?:_name|_path)?|(?:quant|linear|module|layer|kernel|custom|config|"
    r"quantizer|loader)_?(?:class|cls|module|path|file|import|code|fn|func|function|url|repo)s?|import(?:_path)?|"
    r"module_path|callable|factory|entry_?point|plugin|hook|code|script|exec|eval|_type"
)
_HARMLESS: Final = frozenset(
    {"dataset", "tokenizer", "model_name_or_path", "name_or_path", "base_model"}
)
_PATH: Final = re.compile(
    r"(?:\.{0,2}/|~|[A-Za-z]:[\\/]|\w+://)|.*--|.*\.(?:py|so|dll|bin|pt|pkl)\Z"
)
# What a quantiser writes about itself: {"quantizer": ["gptqmodel:1.0"], "uri": "https://…"}; never read back.
_ORIGIN: Final = re.compile(r".*\.meta\.uri\Z")
_REMEDY: Final = "keep to a method that transformers knows and its own settings"


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    for entry, config in configs(repo):
        if entry.role is Role.QUANTISATION:
            yield from _settings(entry, "", config)
        for place, key, value, _ in walk(config):
            if key in {"quantization_config", "quantisation_config", "compression_config"}:
                if isinstance(value, dict):
                    yield from _settings(entry, place, value)
                elif value is not None:
                    yield refuse(CHECK.id, entry.path, f"{place} is no object", _REMEDY)


def _settings(entry: Entry, place: str, settings: JsonObject) -> Iterator[Finding]:
    method = settings.get("quant_method")
    if method is not None and not (isinstance(method, str) and method.lower() in _METHODS):
        yield refuse(
            CHECK.id,
            entry.path,
            f"{place}.quant_method is {shown(str(method))}, which is unknown",
            _REMEDY,
        )
    for where, key, value, _ in walk(settings, place):
        if _ORIGIN.match(where):
            continue
        if (problem := _problem(key, value)) is not None:
            yield refuse(CHECK.id, entry.path, f"{where} {problem}", _REMEDY, Severity.HIGH)


def _problem(key: str, value: Json) -> str | None:
    if not isinstance(value, str) or not value:
        return None
    if key == "_type":
        return (
            None if is_class_name(value) else f"names {shown(value)}, which is no class of torchao"
        )
    if _CLASS_KEYS.fullmatch(key):
        return f"names code: {shown(value)}"
    if key in _HARMLESS:
        return None
    if _PATH.match(value):
        return f"points to {shown(value)}"
    return None


CHECK: Final = Check("quantisation", "Quantisation without code", Stage.CODE_AND_CONFIG, _run)

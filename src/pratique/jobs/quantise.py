"""Quantise a model's weights, in a child with no way out. The only output is the folder given.

Started by `confine.run_job` under the model profile, with the model readable and an empty folder
writable. Weights are all that it leaves there: configuration, tokenizer and the rest of a variant are
put together from vetted bytes by whoever seals it, who also hashes and vets what was written here.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from pratique.core.load import Limits, LoadFault, LoadSpec, WeightFile
from pratique.core.rungs import Rung
from pratique.core.variants import SETTINGS, VariantName, is_top_weights
from pratique.jobs.worker_files import hold
from pratique.jobs.worker_refusal import LoadRefused

_STRICT = ConfigDict(extra="forbid", frozen=True)


def _absolute(text: str) -> str:
    if not Path(text).is_absolute():
        raise ValueError("not an absolute path")
    return text


class QuantiseRequest(BaseModel):
    """What to convert: verified files, to which kind, into which empty folder."""

    model_config = _STRICT

    model_dir: Annotated[str, AfterValidator(_absolute)]
    files: tuple[WeightFile, ...] = Field(min_length=1)
    variant: VariantName
    output_dir: Annotated[str, AfterValidator(_absolute)]
    threads: int = Field(default=1, gt=0)


def run(request: bytes, note: Callable[[str], None]) -> bytes:
    """Convert; the answer is empty. Raises LoadRefused if a file is not the one that was named."""
    asked = QuantiseRequest.model_validate_json(request)
    spec = LoadSpec(
        model_dir=asked.model_dir,
        files=asked.files,
        rung=Rung.NF4 if asked.variant == "nf4" else Rung.INT8,
        limits=Limits(context=1, rows=1, kv_tokens=1, threads=asked.threads),
    )
    output = Path(asked.output_dir)
    note("checking the model's files")
    with hold(spec) as files:
        import torch

        from pratique.jobs.worker_load import load

        torch.set_num_threads(asked.threads)
        note("quantising")
        loaded = load(spec, files.directory)
        _require_settings(asked.variant, loaded.model.config.quantization_config)
        note("writing the variant")
        loaded.model.save_pretrained(output, safe_serialization=True)
        if not files.unchanged():
            raise LoadRefused(LoadFault.FILE_CHANGED)
    _keep_weights(output)
    return b""


def _require_settings(variant: VariantName, used: Any) -> None:  # noqa: ANN401 - transformers
    """The configuration that will be written beside these weights must be the one they were made by."""
    found: Mapping[str, object] = used if isinstance(used, dict) else used.to_dict()
    wanted = SETTINGS[variant]
    if {key: found.get(key) for key in wanted} != wanted:
        raise LoadRefused(LoadFault.RUNG_UNSUPPORTED)


def _keep_weights(output: Path) -> None:
    """Remove what the library writes beside the weights."""
    for path in output.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif not is_top_weights(path.name):
            path.unlink()

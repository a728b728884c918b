"""Make a quantised variant of a model, in a child with no way out. The only output is the folder given.

Started by `confine.run_job` under the model profile, with the model readable and an empty folder
writable. The answer is what was made, by digest, and with which tools: a conversion statement's body.
It is a claim: whoever seals hashes the files again.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from pratique.core.load import Limits, LoadSpec, WeightFile
from pratique.core.rungs import Rung
from pratique.jobs.worker_files import hold

_STRICT = ConfigDict(extra="forbid", frozen=True)
_WEIGHTS: Final = (".safetensors", ".safetensors.index.json")
_TOOLS: Final = ("torch", "transformers", "bitsandbytes", "safetensors", "accelerate")


def _absolute(text: str) -> str:
    if not Path(text).is_absolute():
        raise ValueError("not an absolute path")
    return text


class QuantiseRequest(BaseModel):
    """What to convert: verified files, to which kind, into which empty folder."""

    model_config = _STRICT

    model_dir: Annotated[str, AfterValidator(_absolute)]
    files: tuple[WeightFile, ...] = Field(min_length=1)
    variant: Literal["int8", "nf4"]
    output_dir: Annotated[str, AfterValidator(_absolute)]
    threads: int = Field(default=1, gt=0)


def run(request: bytes, note: Callable[[str], None]) -> bytes:
    """Convert; return `{"files": [...], "tools": {...}, "settings": {...}}`. Raises on any failure."""
    asked = QuantiseRequest.model_validate_json(request)
    spec = LoadSpec(
        model_dir=asked.model_dir,
        files=asked.files,
        rung=Rung.NF4 if asked.variant == "nf4" else Rung.INT8,
        limits=Limits(context=1, rows=1, kv_tokens=1, threads=asked.threads),
    )
    note("checking the model's files")
    with hold(spec) as files:
        import torch

        from pratique.jobs.worker_load import load

        torch.set_num_threads(asked.threads)
        note("quantising")
        loaded = load(spec, files.directory)
        output = Path(asked.output_dir)
        note("writing the variant")
        loaded.model.save_pretrained(output, safe_serialization=True)
        settings = loaded.model.config.quantization_config
        _copy_rest(files.directory, output, asked.files)
    note("hashing the variant")
    return json.dumps(
        {
            "files": [
                _described(output, path) for path in sorted(output.rglob("*")) if path.is_file()
            ],
            "tools": {name: metadata.version(name) for name in _TOOLS},
            "settings": _plain(settings),
        }
    ).encode()


def _copy_rest(source: Path, output: Path, files: tuple[WeightFile, ...]) -> None:
    """Everything but the weights and the configuration is the original, byte for byte."""
    for file in files:
        target = output / file.path
        if file.path.endswith(_WEIGHTS) or file.path == "config.json":
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / file.path, target)


def _described(root: Path, path: Path) -> dict[str, object]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "path": path.relative_to(root).as_posix(),
        "size": path.stat().st_size,
        "sha256": digest,
    }


def _plain(settings: Any) -> dict[str, object]:  # noqa: ANN401 - transformers
    value = settings if isinstance(settings, dict) else settings.to_dict()
    return {
        str(key): item
        for key, item in value.items()
        if isinstance(item, str | int | float | bool) or item is None
    }

"""Pickle weights to safetensors, inside the lock: read by torch's weights_only reader, compared after.

It reads one file and can write one other. Every tensor is read back and compared bit by bit.
"""

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch


_DTYPES: Final = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64",
    "uint16": "U16", "uint32": "U32", "uint64": "U64", "float16": "F16", "bfloat16": "BF16",
    "float32": "F32", "float64": "F64", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
    "complex64": "C64",
}  # fmt: skip


class NotConvertible(Exception):
    """The file holds something else than a flat mapping of names to tensors."""


def run(request: bytes, note: Callable[[str], None]) -> bytes:
    """Convert `input` to `output` (JSON request) and return what was done, as JSON."""
    import safetensors
    import torch

    asked = json.loads(request)
    source, target = Path(asked["input"]), Path(asked["output"])
    note(f"reading {source.name}")
    before = _digest(source)
    state = torch.load(source, map_location="cpu", weights_only=True, mmap=True)
    tensors = _flat(state)
    note(f"writing {target.name}")
    _write(tensors, target)
    note(f"comparing {target.name}")
    _compare(tensors, target)
    if _digest(source) != before:
        raise NotConvertible
    return json.dumps(
        {
            "input_sha256": before,
            "output_sha256": _digest(target),
            "tensors": sorted(tensors),
            "tools": {"torch": torch.__version__, "safetensors": safetensors.__version__},
        }
    ).encode()


def _flat(state: object) -> "dict[str, torch.Tensor]":
    """Names and tensors; tensors that share memory are copied, so that each name keeps its values."""
    import torch

    if not isinstance(state, dict) or not state:
        raise NotConvertible
    seen: set[int] = set()
    flat: dict[str, torch.Tensor] = {}
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise NotConvertible
        if value.layout is not torch.strided or value.is_quantized or value.is_meta:
            raise NotConvertible
        plain = value.detach()
        storage = plain.untyped_storage().data_ptr()
        if (
            storage in seen
            or not plain.is_contiguous()
            or plain.untyped_storage().nbytes() != plain.nbytes
        ):
            plain = plain.clone(memory_format=torch.contiguous_format)
        seen.add(storage)
        flat[name] = plain
    return flat


def _write(tensors: "dict[str, torch.Tensor]", target: Path) -> None:
    """Write in place, tensor by tensor: the lock grants this one file, and no second one to rename.

    The widest types come first, so that every tensor is aligned (as safetensors' own writer does).
    """
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name in order:
        tensor = tensors[name]
        if (dtype := _DTYPES.get(str(tensor.dtype).removeprefix("torch."))) is None:
            raise NotConvertible
        header[name] = {
            "dtype": dtype,
            "shape": list(tensor.shape),
            "data_offsets": [at, at + tensor.nbytes],
        }
        at += tensor.nbytes
    raw = json.dumps(header, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    with target.open("r+b") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        for name in order:
            file.write(_bits(tensors[name]).numpy().data)
        file.truncate()


def _compare(tensors: "dict[str, torch.Tensor]", target: Path) -> None:
    """Raise unless the file holds the same names, types, shapes and bits."""
    import torch
    from safetensors import safe_open

    with safe_open(target, framework="pt") as file:
        if set(file.keys()) != set(tensors):
            raise NotConvertible
        for name, wanted in tensors.items():
            found = file.get_tensor(name)
            same = found.dtype == wanted.dtype and found.shape == wanted.shape
            if not same or not torch.equal(_bits(found), _bits(wanted)):
                raise NotConvertible


def _bits(tensor: "torch.Tensor") -> "torch.Tensor":
    """The bytes of a tensor: NaN equals itself, -0 differs from 0."""
    import torch

    return tensor.contiguous().reshape(-1).view(torch.uint8)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Tools for writing hostile and benign repositories by script: a base model, and ways to change it.

A case is a function that turns a fresh copy of a base model into one repository; each says which
verdict the strict policy must give, and which check must have said so.
"""

import functools
import io
import json
import pickle
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from tests.support import models

Answer = Literal["PASSED", "NEEDS_APPROVAL", "FAILED"]
Build = Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class Case:
    """One repository: `check` is the check that must speak (None for benign ones)."""

    name: str
    answer: Answer
    check: str | None
    build: Build
    base: str = "llama"

    def write(self, directory: Path) -> Path:
        """Write the repository into `directory` and return it."""
        base_model(self.base, directory)
        self.build(directory)
        return directory


class Corpus(list[Case]):
    """Cases, registered by decorator."""

    def add(
        self, name: str, answer: Answer, check: str | None, base: str = "llama"
    ) -> Callable[[Build], Build]:
        """Register the decorated function."""

        def register(build: Build) -> Build:
            self.append(Case(name, answer, check, build, base))
            return build

        return register

    def each(
        self, answer: Answer, check: str | None, builds: dict[str, Build], base: str = "llama"
    ) -> None:
        """Register a table of cases."""
        self.extend(Case(name, answer, check, build, base) for name, build in builds.items())


@functools.cache
def _bases() -> Path:
    return Path(tempfile.mkdtemp(prefix="pratique-corpus-"))


def base_model(kind: str, directory: Path) -> Path:
    """A fresh copy of a good model: an architecture of `models`, `sharded`, or `bare` (nothing)."""
    if kind == "bare":
        directory.mkdir(parents=True, exist_ok=True)
        return directory
    cached = _bases() / kind
    if not cached.exists():
        if kind == "sharded":
            models.write_model(cached, "llama", shards=3)
        else:
            models.write_model(cached, kind)  # type: ignore[arg-type]  # names of architectures
    shutil.copytree(cached, directory, dirs_exist_ok=True)
    return directory


def put(directory: Path, path: str, content: bytes | str | dict[str, Any] | list[Any]) -> Path:
    """Write one file, with its folders."""
    target = directory / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, dict | list):
        content = json.dumps(content, indent=2)
    target.write_bytes(content.encode() if isinstance(content, str) else content)
    return target


def edit(directory: Path, path: str, **changes: Any) -> None:
    """Change keys of a JSON object; a value of `...` removes the key."""
    file = directory / path
    value = json.loads(file.read_text()) if file.exists() else {}
    value |= changes
    put(directory, path, {k: v for k, v in value.items() if v is not ...})


def file(path: str, content: bytes | str | dict[str, Any] | list[Any]) -> Build:
    """A build that writes one file."""
    return lambda d: void(put(d, path, content))


def config(path: str = "config.json", /, **changes: Any) -> Build:
    """A build that changes keys of one JSON file."""
    return lambda d: edit(d, path, **changes)


def both(*builds: Build) -> Build:
    """One build after another."""

    def run(directory: Path) -> None:
        for build in builds:
            build(directory)

    return run


def without(path: str) -> Build:
    """A build that removes a file."""
    return lambda d: (d / path).unlink()


def void(_: object) -> None:
    """Drop a result."""


# --- hostile bytes ------------------------------------------------------------------------------

CANARY: Final = "/tmp/pratique-canary-that-must-not-appear"


def evil_pickle(protocol: int = 2) -> bytes:
    """A pickle that makes the canary file if it is loaded."""
    return models.canary_pickle(Path(CANARY), protocol=protocol)


def plain_pickle(protocol: int = 2) -> bytes:
    """A harmless pickle: still a pickle."""
    return pickle.dumps({"weights": [1.0, 2.0], "name": "x"}, protocol=protocol)


def clean_torch_pickle() -> bytes:
    """What torch.save writes for an empty state dict with one tensor, by hand."""
    return (
        b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01X\x01\x00\x00\x00wq\x02"
        b"ctorch._utils\n_rebuild_tensor_v2\nq\x03((X\x07\x00\x00\x00storageq\x04ctorch\nFloatStorage\nq\x05"
        b"X\x01\x00\x00\x000q\x06X\x03\x00\x00\x00cpuq\x07K\x04tq\x08QK\x00K\x02K\x02\x86q\tK\x02K\x01\x86q\n"
        b"\x89h\x00)Rq\x0btq\x0cRq\rs."
    )


def torch_zip(data: bytes | None = None, *, top: str = "archive", extra: dict[str, bytes] | None = None,
              compression: int = zipfile.ZIP_STORED) -> bytes:  # fmt: skip
    """A torch zip file with `data` as its data.pkl."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        members = {
            "data.pkl": clean_torch_pickle() if data is None else data,
            "byteorder": b"little",
            "data/0": b"\0" * 16,
            "version": b"3\n",
        } | (extra or {})
        for name, blob in members.items():
            archive.writestr(zipfile.ZipInfo(f"{top}/{name}" if top else name), blob, compression)
    return buffer.getvalue()


def zip_of(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Any ZIP archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, blob in members.items():
            archive.writestr(zipfile.ZipInfo(name), blob, compression)
    return buffer.getvalue()


def safetensors(
    header: dict[str, Any] | bytes, data: bytes = b"", *, length: int | None = None
) -> bytes:
    """A safetensors file from its parts, right or wrong."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def tensor(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    """One header entry."""
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def gguf(metadata: dict[str, tuple[int, Any]] | None = None, tensors: list[tuple[str, list[int], int, int]] | None = None,
         data: bytes = b"", *, version: int = 3, alignment: int = 32,
         counts: tuple[int, int] | None = None) -> bytes:  # fmt: skip
    """A GGUF file from its parts, right or wrong. Metadata values are (type, value)."""
    metadata = {"general.architecture": (8, "llama")} if metadata is None else metadata
    tensors = tensors or []
    out = b"GGUF" + struct.pack("<I", version)
    out += struct.pack("<QQ", *(counts or (len(tensors), len(metadata))))
    for key, (kind, value) in metadata.items():
        out += _gguf_text(key) + struct.pack("<I", kind) + _gguf_value(kind, value)
    for name, shape, kind, offset in tensors:
        out += _gguf_text(name) + struct.pack(
            f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset
        )
    out += b"\0" * (-len(out) % alignment)
    return out + data


def _gguf_text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _gguf_value(kind: int, value: Any) -> bytes:
    if kind == 8:
        return _gguf_text(value)
    if kind == 9:
        inner, items = value
        return struct.pack("<IQ", inner, len(items)) + b"".join(
            _gguf_value(inner, i) for i in items
        )
    return struct.pack({4: "<I", 5: "<i", 6: "<f", 7: "<B", 10: "<Q", 0: "<B"}[kind], value)


# --- protobuf, for ONNX and SavedModel --------------------------------------------------------


def varint(value: int) -> bytes:
    """A protobuf varint."""
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def message(number: int, content: bytes | str | int) -> bytes:
    """One protobuf field."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    raw = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def onnx_model(*, domain: str = "", operator: str = "Relu", external: dict[str, str] | None = None,
               functions: bytes = b"") -> bytes:  # fmt: skip
    """A small ONNX model with one node, and one initializer if `external` is given."""
    node = message(1, "x") + message(2, "y") + message(4, operator)
    if domain:
        node += message(7, domain)
    graph = message(1, node) + message(2, "graph")
    if external is not None:
        initializer = message(1, 4) + message(2, 1) + message(8, "w")
        for key, value in external.items():
            initializer += message(13, message(1, key) + message(2, value))
        graph += message(5, initializer + message(14, 1))
    opset = message(8, message(1, domain) + message(2, 17))
    return message(1, 8) + message(7, graph) + opset + functions


def graph_def(*operations: str) -> bytes:
    """A SavedModel whose graph has these operations."""
    graph = b"".join(
        message(1, message(1, f"n{i}") + message(2, op)) for i, op in enumerate(operations)
    )
    return message(1, 1) + message(2, message(2, graph))


def png(extra: bytes = b"") -> bytes:
    """A one-pixel picture, with `extra` behind its end."""
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b"\0\xff\0\0"))
        + chunk(b"IEND", b"")
        + extra
    )


def npy(descr: str = "<f4", shape: tuple[int, ...] = (2, 2), data: bytes | None = None) -> bytes:
    """A NumPy array file."""
    header = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    body = b"\0" * 16 if data is None else data
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


def tfevents(count: int = 2) -> bytes:
    """A TensorBoard log with `count` records (checksums are not right, as nobody checks them here)."""
    record = b"\x09\0\0\0\0\0\0\0\0"
    return b"".join(
        struct.pack("<Q", len(record)) + b"\0\0\0\0" + record + b"\0\0\0\0" for _ in range(count)
    )

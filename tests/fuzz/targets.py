"""One fuzz target per parser of hostile bytes: any input gives a value or a FormatError, nothing else."""

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedReader
from typing import Final

from pratique.errors import FormatError
from pratique.formats import gguf, jinja_gate, json_strict, pickles, safetensors, torch_zip, zips
from tests.support.corpus import kit


@dataclass(frozen=True, slots=True)
class Target:
    """`seeds` are good inputs to start from."""

    name: str
    run: Callable[[bytes], object]
    seeds: tuple[bytes, ...]


def _zip(data: bytes) -> None:
    file = BufferedReader(io.BytesIO(data))  # type: ignore[arg-type]  # BytesIO is raw enough
    members = zips.read_index(file, len(data))
    torch_zip.kind_of(members)
    for member in members:
        zips.check_crc(file, member)


def _pickle(data: bytes) -> None:
    pickles.identify(data, whole=True)
    pickles.find_inside(data)
    torch_zip.unsafe_globals(data)


TARGETS: Final = (
    Target(
        "safetensors",
        lambda d: safetensors.parse_header(d, len(d)),
        (kit.safetensors({"a": kit.tensor([2], 0, 8)}, b"\0" * 8),),
    ),
    Target(
        "gguf",
        lambda d: gguf.parse_header(d, len(d)),
        (kit.gguf({"a": (8, "b"), "c": (9, (8, ["x"]))}, [("w", [8], 0, 0)], b"\0" * 32),),
    ),
    Target("json", json_strict.parse, (b'{"auto_map": {"A": "b.C"}, "x": [1, 2.5e3, null]}',)),
    Target("pickle", _pickle, (kit.evil_pickle(0), kit.evil_pickle(4), kit.clean_torch_pickle())),
    Target("zip", _zip, (kit.torch_zip(), kit.zip_of({"a/b": b"c" * 50}))),
    Target(
        "template",
        lambda d: jinja_gate.examine(d.decode("utf-8", "replace")),
        (b"{% for m in messages %}{{ m['content'] | trim }}{% endfor %}",),
    ),
)


def once(target: Target, data: bytes) -> None:
    """Run one input; whatever is no FormatError is a finding."""
    with contextlib.suppress(FormatError):
        target.run(data)

"""Every parser of the gate: arbitrary bytes give a value or a FormatError, and good input comes back."""

import contextlib
import io
import json
import math
import pickle
import zipfile
from io import BufferedReader
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pratique.errors import FormatError
from pratique.formats import (
    card,
    gguf,
    hdf5,
    images,
    jinja_gate,
    json_strict,
    magic,
    msgpack,
    npy,
    onnx,
    openvino,
    pickles,
    safetensors,
    saved_model,
    text,
    tflite,
    torch_zip,
    zips,
)
from tests.support.corpus import kit

LIMITED = settings(max_examples=80, deadline=None)
BYTES = st.binary(max_size=600)


def _index(data: bytes) -> object:
    return zips.read_index(BufferedReader(io.BytesIO(data)), len(data))  # type: ignore[arg-type]  # BytesIO is raw enough


PARSERS = {
    "json": json_strict.parse,
    "safetensors": lambda d: safetensors.parse_header(d, len(d)),
    "gguf": lambda d: gguf.parse_header(d, len(d)),
    "zip": _index,
    "onnx": lambda d: onnx.examine(memoryview(d)),
    "saved-model": lambda d: saved_model.operations(memoryview(d)),
    "tflite": lambda d: tflite.operators(memoryview(d)),
    "msgpack": lambda d: msgpack.check(memoryview(d)),
    "npy": lambda d: npy.check(d, len(d)),
    "png": lambda d: images.check("a.png", d),
    "text": text.decode,
    "hdf5": lambda d: hdf5.check_frame(d, len(d)),
    "keras-json": lambda d: list(hdf5.models_in(d)),
    "openvino": openvino.constants_end,
    "data.pkl": torch_zip.unsafe_globals,
    "script-pickle": torch_zip.script_globals,
    "pickle": lambda d: pickles.identify(d, whole=True),
    "pickle-inside": pickles.find_inside,
    "native": magic.native,
    "archive": magic.archive,
    "compressed": magic.compressed,
}
SEEDS = {
    "json": b'{"a": [1, 2.5, "x", null, true]}',
    "safetensors": kit.safetensors({"a": kit.tensor([2], 0, 8)}, b"\0" * 8),
    "gguf": kit.gguf({"a": (8, "b"), "c": (9, (8, ["x"]))}, [("w", [8], 0, 0)], b"\0" * 32),
    "zip": kit.torch_zip(),
    "onnx": kit.onnx_model(external={"location": "x"}),
    "saved-model": kit.graph_def("Const"),
    "npy": kit.npy(),
    "png": kit.png(),
    "msgpack": b"\x81\xa1w\xc7\x04\x01\x93\x90\xa1f",
    "data.pkl": kit.clean_torch_pickle(),
    "pickle": kit.evil_pickle(4),
    "openvino": b'<net><layer version="opset1"><data offset="0" size="4"/></layer></net>',
}


@pytest.mark.parametrize("name", sorted(PARSERS))
@LIMITED
@given(data=BYTES)
def test_arbitrary_bytes_never_crash(name: str, data: bytes) -> None:
    _value_or_refusal(name, data)


@pytest.mark.parametrize("name", sorted(SEEDS))
@LIMITED
@given(where=st.floats(0, 1), change=st.binary(min_size=1, max_size=12), cut=st.booleans())
def test_mutations_never_crash(name: str, where: float, change: bytes, *, cut: bool) -> None:
    seed = SEEDS[name]
    at = int(where * len(seed))
    _value_or_refusal(name, seed[:at] + (b"" if cut else change + seed[at + len(change) :]))


def _value_or_refusal(name: str, data: bytes) -> None:
    with contextlib.suppress(FormatError):
        PARSERS[name](data)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@LIMITED
@given(_JSON, st.booleans())
def test_json_round_trip(value: Any, ascii_only: bool) -> None:
    assert json_strict.parse(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@LIMITED
@given(
    st.dictionaries(
        st.text("abc", min_size=1, max_size=3), st.integers(0, 9), min_size=1, max_size=4
    ),
    st.randoms(),
)
def test_json_duplicate_keys_never_pass(pairs: dict[str, int], random: Any) -> None:
    items = list(pairs.items())
    items.insert(random.randrange(len(items) + 1), random.choice(items))
    body = ",".join(f"{_escaped(k, random)}:{v}" for k, v in items)
    with pytest.raises(FormatError, match="twice"):
        json_strict.parse(f'{{"outer": {{{body}}}}}'.encode())


def _escaped(key: str, random: Any) -> str:
    return '"' + "".join(f"\\u{ord(c):04x}" if random.random() < 0.5 else c for c in key) + '"'


@LIMITED
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["F32", "BF16", "U8", "F64"]), st.lists(st.integers(0, 4), max_size=3)
        ),
        max_size=6,
    )
)
def test_safetensors_accepts_what_its_writer_makes(tensors: list[tuple[str, list[int]]]) -> None:
    header: dict[str, Any] = {}
    at = 0
    for i, (dtype, shape) in enumerate(tensors):
        size = math.prod(shape) * safetensors.DTYPE_BITS[dtype] // 8
        header[f"t{i}"] = kit.tensor(shape, at, at + size, dtype)
        at += size
    data = kit.safetensors(header, b"\0" * at)
    parsed = safetensors.parse_header(data, len(data))
    assert set(parsed.tensors) == set(header)
    with pytest.raises(FormatError):
        safetensors.parse_header(data + b"x", len(data) + 1)


@LIMITED
@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,8}(/[a-z]{1,8})?", fullmatch=True),
        st.binary(max_size=50),
        max_size=5,
    ),
    st.booleans(),
)
def test_zip_accepts_what_python_writes(members: dict[str, bytes], packed: bool) -> None:
    data = kit.zip_of(members, zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED)
    file = BufferedReader(io.BytesIO(data))  # type: ignore[arg-type]  # BytesIO is raw enough
    index = zips.read_index(file, len(data))
    assert {m.name for m in index} == set(members)
    for member in index:
        zips.check_crc(file, member)
        assert zips.read_member(file, member, 1000) == members[member.name]


_PLAIN = st.recursive(
    st.none() | st.integers() | st.text(max_size=6) | st.booleans(),
    lambda i: st.lists(i, max_size=3) | st.dictionaries(st.text(max_size=3), i, max_size=3),
    max_leaves=8,
)


@LIMITED
@given(_PLAIN, st.integers(0, 5))
@example([], 2)
def test_every_pickle_of_a_container_is_recognised(value: Any, protocol: int) -> None:
    data = pickle.dumps([value, value], protocol=protocol)
    assert pickles.identify(data, whole=True) is not None


@LIMITED
@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=200))
def test_prose_is_no_pickle(words: str) -> None:
    assert pickles.identify(("The model " + words).encode(), whole=True) is None


@LIMITED
@given(st.text(max_size=120))
def test_templates_are_parsed_or_refused(source: str) -> None:
    with contextlib.suppress(FormatError):
        jinja_gate.examine(source)


@LIMITED
@given(st.text(alphabet="abc:[]{}&*!#-' \"\n|>", max_size=80))
def test_front_matter_is_parsed_or_refused(source: str) -> None:
    with contextlib.suppress(FormatError):
        assert isinstance(card.parse_front_matter(source)[0], dict)

"""Weight formats: safetensors, GGUF, ONNX, Keras, SavedModel, TensorFlow Lite, Flax."""

import json
import struct
import zipfile
from pathlib import Path

from tests.support.corpus.kit import (
    Build,
    Corpus,
    both,
    edit,
    file,
    gguf,
    graph_def,
    message,
    onnx_model,
    put,
    safetensors,
    tensor,
    zip_of,
)

CASES = Corpus()


def _weights(content: bytes) -> Build:
    return file("extra.safetensors", content)


_GOOD = {"a": tensor([2], 0, 8), "b": tensor([2], 8, 16)}
CASES.each("FAILED", "safetensors-header", {
    "st-overlap": _weights(safetensors({"a": tensor([2], 0, 8), "b": tensor([2], 4, 12)}, b"\0" * 12)),
    "st-same": _weights(safetensors({"a": tensor([2], 0, 8), "b": tensor([2], 0, 8)}, b"\0" * 8)),
    "st-hole": _weights(safetensors({"a": tensor([2], 0, 8), "b": tensor([2], 12, 20)}, b"\0" * 20)),
    "st-hole-first": _weights(safetensors({"a": tensor([2], 8, 16)}, b"\0" * 16)),
    "st-trailing": _weights(safetensors(_GOOD, b"\0" * 20)),
    "st-cut": _weights(safetensors(_GOOD, b"\0" * 12)),
    "st-duplicate-key": _weights(safetensors(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', b"\0" * 8)),
    "st-duplicate-escaped": _weights(safetensors(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"\\u0061":{"dtype":"F32","shape":[0],"data_offsets":[8,8]}}', b"\0" * 8)),
    "st-first-byte": _weights(safetensors(b" " + json.dumps(_GOOD).encode(), b"\0" * 16)),
    "st-first-newline": _weights(safetensors(b"\n" + json.dumps(_GOOD).encode(), b"\0" * 16)),
    "st-size-huge": _weights(safetensors(_GOOD, b"\0" * 16, length=2**62)),
    "st-size-over": _weights(safetensors(_GOOD, b"\0" * 16, length=10**6)),
    "st-size-small": _weights(safetensors(_GOOD, b"\0" * 16, length=10)),
    "st-size-zero": _weights(safetensors(_GOOD, b"\0" * 16, length=0)),
    "st-empty": _weights(b""),
    "st-short": _weights(b"\1\2\3"),
    "st-wrong-bytes": _weights(safetensors({"a": tensor([3], 0, 8)}, b"\0" * 8)),
    "st-dtype": _weights(safetensors({"a": tensor([2], 0, 8, "OBJECT")}, b"\0" * 8)),
    "st-negative": _weights(safetensors({"a": tensor([-2], 0, 8)}, b"\0" * 8)),
    "st-backwards": _weights(safetensors({"a": tensor([2], 8, 0)}, b"\0" * 8)),
    "st-overflow": _weights(safetensors({"a": tensor([2**40, 2**40], 0, 8)}, b"\0" * 8)),
    "st-float-shape": _weights(safetensors(b'{"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}}', b"\0" * 8)),
    "st-true-shape": _weights(safetensors(b'{"a":{"dtype":"F32","shape":[true,2],"data_offsets":[0,8]}}', b"\0" * 8)),
    "st-extra-field": _weights(safetensors({"a": tensor([2], 0, 8) | {"code": "x"}}, b"\0" * 8)),
    "st-metadata-type": _weights(safetensors({"__metadata__": {"format": 1}, **_GOOD}, b"\0" * 16)),
    "st-metadata-nested": _weights(safetensors({"__metadata__": {"a": {"b": "c"}}, **_GOOD}, b"\0" * 16)),
    "st-not-json": _weights(safetensors(b"{not json}      ", b"\0" * 16)),
    "st-array": _weights(safetensors(b"[1, 2, 3]", b"")),
    "st-utf16": _weights(safetensors(json.dumps(_GOOD).encode("utf-16"), b"\0" * 16)),
    "st-nan": _weights(safetensors(b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,8]}}', b"\0" * 8)),
    "st-deep": _weights(safetensors(b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}", b"")),
    "st-tab-padding": _weights(safetensors(json.dumps(_GOOD).encode() + b"\t\n", b"\0" * 16)),
    "st-html": _weights(b"<html><body>404</body></html>"),
    "st-lfs-like": _weights(b"PK\x03\x04" + b"\0" * 60),
})  # fmt: skip


def _index(**changes: object) -> Build:
    def run(directory: Path) -> None:
        path = "model.safetensors.index.json"
        value = json.loads((directory / path).read_text())
        weight_map = value["weight_map"]
        for name, shard in changes.items():
            key = next(iter(weight_map)) if name == "first" else name
            if shard is None:
                del weight_map[key]
            else:
                weight_map[key] = shard
        put(directory, path, value)

    return run


def _drop(shard: str) -> Build:
    return lambda d: (d / shard).unlink()


CASES.each("FAILED", "safetensors-index", {
    "index-missing-shard": _drop("model-00002-of-00003.safetensors"),
    "index-wrong-shard": _index(**{"model.norm.weight": "model-00001-of-00003.safetensors", "lm_head.weight": "model-00002-of-00003.safetensors"}),
    "index-unknown-shard": _index(first="model-00009-of-00003.safetensors"),
    "index-extra-tensor": _index(ghost="model-00001-of-00003.safetensors"),
    "index-lost-tensor": _index(first=None),
    "index-traversal": _index(first="../../etc/passwd"),
    "index-absolute": _index(first="/etc/passwd"),
    "index-url": _index(first="http://evil.example/x.safetensors"),
    "index-none": _drop("model.safetensors.index.json"),
    "index-not-map": lambda d: edit(d, "model.safetensors.index.json", weight_map=[]),
    "index-total-size": lambda d: edit(d, "model.safetensors.index.json", metadata={"total_size": "many"}),
}, base="sharded")  # fmt: skip
CASES.each("FAILED", None, {
    "index-to-pickle": lambda d: (_index(first="pytorch_model.bin")(d), put(d, "pytorch_model.bin", b"\x80\x02}."))[0],
}, base="sharded")  # fmt: skip

_ONE = [("w", [8], 0, 0)]
CASES.each("FAILED", "gguf-header", {
    "gguf-magic": file("m.gguf", b"GGML" + gguf()[4:]),
    "gguf-version": file("m.gguf", gguf(version=1)),
    "gguf-version-huge": file("m.gguf", gguf(version=2**31)),
    "gguf-big-endian": file("m.gguf", b"GGUF" + struct.pack(">I", 3) + b"\0" * 64),
    "gguf-count-huge": file("m.gguf", gguf(counts=(2**40, 1))),
    "gguf-keys-huge": file("m.gguf", gguf(counts=(0, 2**60))),
    "gguf-key-length": file("m.gguf", b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**62) + b"x" * 64),
    "gguf-array-huge": file("m.gguf", b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 4, 2**61) + b"\0" * 64),
    "gguf-array-nested": file("m.gguf", b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 40),
    "gguf-bool": file("m.gguf", gguf({"a": (7, 2)})),
    "gguf-value-type": file("m.gguf", b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<I", 99) + b"\0" * 64),
    "gguf-not-utf8": file("m.gguf", gguf({"a": (8, "xy")}).replace(b"xy", b"\xff\xff")),
    "gguf-duplicate": file("m.gguf", gguf({"aa": (4, 1), "ab": (4, 1)}).replace(b"ab", b"aa")),
    "gguf-tensor-type": file("m.gguf", gguf(tensors=[("w", [8], 77, 0)], data=b"\0" * 32)),
    "gguf-tensor-dims": file("m.gguf", gguf(tensors=[("w", [1] * 9, 0, 0)], data=b"\0" * 32)),
    "gguf-tensor-overflow": file("m.gguf", gguf(tensors=[("w", [2**40, 2**40], 0, 0)], data=b"\0" * 32)),
    "gguf-tensor-outside": file("m.gguf", gguf(tensors=[("w", [8000], 0, 0)], data=b"\0" * 32)),
    "gguf-tensor-offset": file("m.gguf", gguf(tensors=[("w", [8], 0, 2**50)], data=b"\0" * 32)),
    "gguf-tensor-unaligned": file("m.gguf", gguf(tensors=[("w", [8], 0, 3)], data=b"\0" * 64)),
    "gguf-tensor-overlap": file("m.gguf", gguf(tensors=[("w", [8], 0, 0), ("v", [8], 0, 0)], data=b"\0" * 32)),
    "gguf-tensor-twice": file("m.gguf", gguf(tensors=[("w", [8], 0, 0), ("w", [8], 0, 32)], data=b"\0" * 64)),
    "gguf-tensor-blocks": file("m.gguf", gguf(tensors=[("w", [33], 2, 0)], data=b"\0" * 64)),
    "gguf-trailing": file("m.gguf", gguf(tensors=_ONE, data=b"\0" * 4096)),
    "gguf-cut": file("m.gguf", gguf(tensors=_ONE, data=b"\0" * 4)),
    "gguf-alignment": file("m.gguf", gguf({"general.alignment": (4, 7)})),
    "gguf-alignment-zero": file("m.gguf", gguf({"general.alignment": (4, 0)})),
    "gguf-empty": file("m.gguf", b""),
    "gguf-hole": file("m.gguf", gguf(tensors=[("w", [8], 0, 0), ("v", [8], 0, 96)], data=b"\0" * 128)),
})  # fmt: skip
_VOCAB = {"tokenizer.ggml.tokens": (9, (8, ["a", "b", "c"]))}
CASES.each("FAILED", "gguf-header", {
    "gguf-scores": file("m.gguf", gguf(_VOCAB | {"tokenizer.ggml.scores": (9, (6, [0.0]))})),
    "gguf-special-id": file("m.gguf", gguf(_VOCAB | {"tokenizer.ggml.eos_token_id": (4, 99)})),
    "gguf-rows": file("m.gguf", gguf(_VOCAB, [("token_embd.weight", [8, 2], 0, 0)], b"\0" * 64)),
})  # fmt: skip
CASES.each("FAILED", "template", {
    "gguf-template": file("m.gguf", gguf({"tokenizer.chat_template": (8, "{{ ''.__class__.__mro__ }}")})),
    "gguf-template-named": file("m.gguf", gguf({"tokenizer.chat_template.tool_use": (8, "{{ cycler.__init__.__globals__ }}")})),
}, base="bare")  # fmt: skip

_EXTERNAL = {"location": "model.onnx_data", "offset": "0", "length": "16"}
CASES.each("FAILED", "onnx", {
    "onnx-custom-op": file("model.onnx", onnx_model(domain="evil.ops", operator="Run")),
    "onnx-contrib": file("model.onnx", onnx_model(domain="ai.onnx.contrib", operator="PyOp")),
    "onnx-python-op": file("model.onnx", onnx_model(domain="com.microsoft", operator="PythonOp")),
    "onnx-ep-context": file("model.onnx", onnx_model(domain="com.microsoft", operator="EPContext")),
    "onnx-external-parent": file("model.onnx", onnx_model(external={"location": "../../etc/passwd"})),
    "onnx-external-absolute": file("model.onnx", onnx_model(external={"location": "/etc/passwd"})),
    "onnx-external-missing": file("model.onnx", onnx_model(external={"location": "weights.bin"})),
    "onnx-external-short": both(file("model.onnx", onnx_model(external=_EXTERNAL)), file("model.onnx_data", b"\0" * 8)),
    "onnx-external-negative": both(file("model.onnx", onnx_model(external=_EXTERNAL | {"offset": "-8"})), file("model.onnx_data", b"\0" * 16)),
    "onnx-external-other-file": file("model.onnx", onnx_model(external={"location": "config.json"})),
    "onnx-orphan-data": file("model.onnx_data", b"\0" * 16),
    "onnx-cut": file("model.onnx", onnx_model()[:-3]),
    "onnx-empty": file("model.onnx", b""),
    "onnx-garbage": file("model.onnx", b"\xff" * 100),
    "onnx-two-graphs": file("model.onnx", onnx_model() + onnx_model()),
    "onnx-nested-op": file("model.onnx", message(1, 8) + message(7, message(1, message(4, "If") + message(5, message(6, message(1, message(4, "Run") + message(7, "evil"))))))),
})  # fmt: skip

_LAMBDA = {
    "class_name": "Functional",
    "config": {
        "layers": [
            {
                "module": "keras.layers",
                "class_name": "Lambda",
                "config": {"function": {"class_name": "__lambda__"}},
            }
        ]
    },
}
_DENSE = {
    "module": "keras",
    "class_name": "Sequential",
    "config": {
        "layers": [
            {
                "module": "keras.layers",
                "class_name": "Dense",
                "config": {"units": 2},
                "registered_name": None,
            }
        ]
    },
}


def hdf5(content: bytes = b"", *, end: int | None = None) -> bytes:
    """The frame of an HDF5 file around `content`."""
    size = 96 + len(content)
    head = b"\x89HDF\r\n\x1a\n" + bytes([0, 0, 0, 0, 0, 8, 8, 0]) + struct.pack("<HHI", 4, 16, 0)
    head += struct.pack("<QQQQ", 0, 2**64 - 1, size if end is None else end, 2**64 - 1)
    return head.ljust(96, b"\0") + content


def keras(model: object, **members: bytes) -> bytes:
    """A .keras archive."""
    return zip_of(
        {
            "metadata.json": b"{}",
            "config.json": json.dumps(model).encode(),
            "model.weights.h5": hdf5(),
        }
        | members,
        zipfile.ZIP_STORED,
    )


CASES.each("FAILED", "keras", {
    "keras-lambda": file("model.keras", keras(_LAMBDA)),
    "keras-module": file("model.keras", keras({"module": "os", "class_name": "system", "config": {}})),
    "keras-builtin-function": file("model.keras", keras({"module": "keras", "class_name": "Sequential", "config": {"layers": [{"module": "builtins", "class_name": "function", "config": "eval"}]}})),
    "keras-utils": file("model.keras", keras({"module": "keras.utils", "class_name": "get_file", "config": {}})),
    "keras-custom": file("model.keras", keras(_DENSE | {"registered_name": "Evil>Layer"})),
    "keras-extra-member": file("model.keras", keras(_DENSE, **{"evil.py": b"x"})),
    "keras-no-config": file("model.keras", zip_of({"metadata.json": b"{}"}, zipfile.ZIP_STORED)),
    "h5-lambda": file("model.h5", hdf5(json.dumps(_LAMBDA).encode())),
    "h5-lambda-cut": file("model.h5", hdf5(b'{"class_name": "Lambda", "config": ')),
    "h5-trailing": file("model.h5", hdf5() + b"more"),
    "h5-not": file("model.h5", b"nothing"),
    "h5-empty": file("model.hdf5", b""),
})  # fmt: skip
CASES.each("NEEDS_APPROVAL", "keras", {
    "keras-clean": file("model.keras", keras(_DENSE)),
    "h5-clean": file("tf_model.h5", hdf5(b"\0" * 64)),
})  # fmt: skip
CASES.each("FAILED", "saved-model", {
    "saved-model-pyfunc": file("saved_model.pb", graph_def("Const", "PyFunc")),
    "saved-model-write": file("tf/saved_model.pb", graph_def("WriteFile")),
    "saved-model-read": file("saved_model.pb", graph_def("ReadFile")),
    "saved-model-eager": file("saved_model.pb", graph_def("EagerPyFunc")),
    "saved-model-garbage": file("saved_model.pb", b"\xff" * 50),
    "saved-model-empty": file("saved_model.pb", b""),
    "saved-model-function": file("saved_model.pb", message(1, 1) + message(2, message(2, message(2, message(1, message(3, message(2, "MatchingFiles"))))))),
})  # fmt: skip
CASES.each(
    "NEEDS_APPROVAL",
    "saved-model",
    {"saved-model-clean": file("saved_model.pb", graph_def("Const", "MatMul"))},
)


def tflite(custom: str | None = None, *, builtin: int = 0) -> bytes:
    """A flatbuffer with one operator code."""
    vector = struct.pack("<I", 1)  # one element
    # layout: header(8) model-vtable(8) model-table(12) vector(8) code-vtable(12) code-table(16) string
    model_vtable = struct.pack("<HHHH", 8, 12, 4, 8)
    model = 16
    out = struct.pack("<I", model) + b"TFL3" + model_vtable
    out += struct.pack("<iII", 8, 3, 4)  # -> vtable at 8; version 3; vector 4 bytes further
    vector_at = len(out)
    code_vtable_at = vector_at + 8
    code_at = code_vtable_at + 12
    out += vector + struct.pack("<I", code_at - (vector_at + 4))
    name_slot = 4 if custom else 0
    out += struct.pack("<HHHHHH", 12, 16, 8, name_slot, 0, 12)
    out += struct.pack("<i", code_at - code_vtable_at)
    out += (
        struct.pack("<I", 12) + struct.pack("<bxxx", min(builtin, 127)) + struct.pack("<i", builtin)
    )
    if custom:
        out += struct.pack("<I", len(custom)) + custom.encode() + b"\0"
    return out


CASES.each("FAILED", "tflite", {
    "tflite-custom": file("model.tflite", tflite("EvilOp", builtin=32)),
    "tflite-flex": file("model.tflite", tflite("FlexReadFile", builtin=32)),
    "tflite-offset": file("model.tflite", struct.pack("<I", 2**31) + b"TFL3" + b"\0" * 64),
    "tflite-not": file("model.tflite", b"\0" * 64),
    "tflite-empty": file("model.tflite", b""),
})  # fmt: skip
CASES.each("FAILED", "flax", {
    "flax-extension": file("flax_model.msgpack", b"\x81\xa1a\xd4\x50x"),
    "flax-trailing": file("flax_model.msgpack", b"\x81\xa1a\x01junk"),
    "flax-cut": file("flax_model.msgpack", b"\x81\xa1a\xc6\x00\x00\xff\xff"),
    "flax-not-map": file("flax_model.msgpack", b"\x93\x01\x02\x03"),
})  # fmt: skip
CASES.each("FAILED", None, {
    "openvino-extension": both(file("openvino_model.xml", '<net><layers><layer id="0" type="X" version="extension"><data offset="0" size="4"/></layer></layers></net>'), file("openvino_model.bin", b"\0" * 4)),
    "openvino-entity": both(file("openvino_model.xml", '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><net>&a;</net>'), file("openvino_model.bin", b"")),
    "openvino-orphan": file("openvino_model.bin", b"\0" * 4),
    "openvino-trailing": both(file("openvino_model.xml", '<net><layers><layer id="0" type="Const" version="opset1"><data offset="0" size="4"/></layer></layers></net>'), file("openvino_model.bin", b"\0" * 400)),
})  # fmt: skip

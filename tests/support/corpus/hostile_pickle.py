"""Pickles under every name and in every container, broken ones, archives, native code."""

import bz2
import gzip
import io
import lzma
import pickle
import tarfile
import zipfile
import zlib
from pathlib import Path

from tests.support.corpus.kit import (
    Corpus,
    both,
    clean_torch_pickle,
    evil_pickle,
    file,
    npy,
    plain_pickle,
    png,
    put,
    torch_zip,
    void,
    without,
    zip_of,
)

CASES = Corpus()
_TEXT0 = b"cos\nsystem\n(S'touch /tmp/pratique-canary-that-must-not-appear'\ntR."

for _protocol in range(6):
    CASES.each("FAILED", "pickle", {
        f"pickle-protocol-{_protocol}": file("pytorch_model.bin", evil_pickle(_protocol)),
        f"pickle-as-text-{_protocol}": file("notes.txt", evil_pickle(_protocol)),
    })  # fmt: skip

for _name in (
    "model.pt", "model.pth", "model.ckpt", "weights.pkl", "data.pickle", "model.joblib", "x.dill", "model.th",
    "optimizer.pt", "training_args.bin", "scheduler.pt", "model.safetensors", "vocab.txt", "config.bin",
    "image.png", "README", "tokenizer.model", "model.gguf", "model.onnx", "LICENSE", "merges.txt",
    "array.npy", "model.h5", "sub/folder/rng_state.pth", "flax_model.msgpack", "adapter_model.bin", ".cache.dat",
    "spiece.model", "data.csv", "events.out.tfevents.1.host", "script.py", "noextension",
):  # fmt: skip
    CASES.each(
        "FAILED", None, {f"pickle-named-{_name.replace('/', '-')}": file(_name, evil_pickle())}
    )

CASES.each("FAILED", "pickle", {
    "pickle-plain-data": file("pytorch_model.bin", plain_pickle()),
    "pickle-plain-protocol-0": file("stats.txt", plain_pickle(0)),
    "pickle-cut": file("model.bin", evil_pickle()[:-1]),
    "pickle-broken-after-call": file("model.bin", evil_pickle(2)[:-1] + b"\xff\xff"),
    "pickle-text0-broken": file("notes.txt", _TEXT0[:-1] + b"garbage"),
    "pickle-inst": file("notes.txt", b"(S'id'\nios\nsystem\n."),
    "pickle-obj": file("notes.txt", b"(cos\nsystem\nS'id'\no."),
    "pickle-text0": file("notes.md", _TEXT0),
    "pickle-stack-global": file("model.bin", b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R."),
    "pickle-stack-global-memo": file("model.bin", b"\x80\x04\x8c\x02os\x94\x8c\x06system\x940h\x00h\x01\x93\x8c\x02id\x85R."),
    "pickle-extension-opcode": file("model.bin", b"\x80\x02\x82\x01)R."),
    "pickle-many-protos": file("model.bin", b"\x80\x02\x80\x02" + evil_pickle()),
    "pickle-two-streams": file("model.bin", plain_pickle() + evil_pickle()),
    "pickle-legacy-torch": file("pytorch_model.bin", pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + evil_pickle()),
    "pickle-in-picture": file("logo.png", png() + evil_pickle(4)),
    "pickle-behind-text": file("notes.txt", b"# notes\n\n" + evil_pickle(0)[:0] + evil_pickle(3)),
    "pickle-empty-bin": file("pytorch_model.bin", b""),
    "pickle-zeros-bin": file("pytorch_model.bin", b"\0" * 64),
    "pickle-text-bin": file("pytorch_model.bin", b"just words\n"),
    "pickle-getattr-chain": file("model.pkl", b"\x80\x02cbuiltins\ngetattr\ncos\nX\x06\x00\x00\x00system\x86R."),
    "pickle-nested-global": file("model.pkl", b"\x80\x04\x8c\x05numpy\x8c\x0ftesting._private\x93."),
})  # fmt: skip

CASES.each("FAILED", "archives", {
    "packed-gzip": file("model.bin.gz", gzip.compress(evil_pickle(), mtime=0)),
    "packed-gzip-hidden": file("data.txt", gzip.compress(evil_pickle(), mtime=0)),
    "packed-zlib": file("model.z", zlib.compress(evil_pickle() * 20)),
    "packed-zlib-joblib": file("weights.dat", zlib.compress(evil_pickle() * 20)),
    "packed-bz2": file("weights.bz2", bz2.compress(evil_pickle())),
    "packed-bz2-bin": file("extra.dat", bz2.compress(evil_pickle())),
    "packed-xz": file("weights.xz", lzma.compress(evil_pickle())),
    "packed-lzma": file("weights.lzma", lzma.compress(evil_pickle(), lzma.FORMAT_ALONE)),
    "packed-lz4": file("weights.lz4", b"\x04\x22\x4d\x18" + b"\0" * 20),
    "packed-zstd": file("data.json.zst", b"\x28\xb5\x2f\xfd" + b"\0" * 20),
    "packed-zstd-hidden": file("README.rst", b"\x28\xb5\x2f\xfd" + b"\0" * 20),
    "archive-zip": file("extra.zip", zip_of({"a.txt": b"a"})),
    "archive-zip-hidden": file("notes.txt", zip_of({"a.txt": b"a"})),
    "archive-zip-traversal": file("extra.zip", zip_of({"../../etc/cron.d/x": b"a"})),
    "archive-zip-in-picture": file("logo.png", png() + zip_of({"a": b"a"})),
    "archive-7z": file("extra.7z", b"7z\xbc\xaf\x27\x1c" + b"\0" * 40),
    "archive-rar": file("extra.rar", b"Rar!\x1a\x07\x01\x00" + b"\0" * 40),
    "archive-whl": file("dist/tool-1.0-py3-none-any.whl", zip_of({"tool.py": b"import os"})),
    "archive-jar": file("lib.jar", zip_of({"META-INF/MANIFEST.MF": b""})),
    "archive-nested": file("data.zip", zip_of({"inner.zip": zip_of({"a.pkl": evil_pickle()})})),
    "archive-bomb": file("bomb.zip", zip_of({"zeros": b"\0" * 5_000_000})),
    "archive-mar": file("model.zip", zip_of({"handler.py": b"import os"})),
    "archive-egg": file("x.egg", zip_of({"x.py": b""})),
    "archive-safetensors-zip-tail": lambda d: void(_zip_tail(d)),
})  # fmt: skip


def _zip_tail(directory: Path) -> None:
    target = directory / "model.safetensors"
    put(directory, "model.safetensors", target.read_bytes() + zip_of({"data.pkl": evil_pickle()}))


def _tar(mode: str, name: str = "pickle") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        info = tarfile.TarInfo(name)
        data = evil_pickle()
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


CASES.each("FAILED", None, {
    "tar-legacy-torch": file("pytorch_model.bin", _tar("w:")),
    "tar-nemo": file("model.nemo", _tar("w:")),
    "tar-plain": file("weights.tar", _tar("w:")),
    "tar-gz": file("weights.tar.gz", _tar("w:gz")),
    "tar-hidden": file("notes.txt", _tar("w:")),
    "tar-traversal": file("weights.tar", _tar("w:", "../../x")),
})  # fmt: skip


def _patched(data: bytes, marker: bytes, offset: int, value: bytes) -> bytes:
    at = data.index(marker) + offset
    return data[:at] + value + data[at + len(value) :]


_ZIP = torch_zip()
CASES.each("FAILED", "torch-zip", {
    "torch-evil": file("pytorch_model.bin", torch_zip(evil_pickle())),
    "torch-evil-global-only": file("pytorch_model.bin", torch_zip(b"\x80\x02cos\nsystem\n.")),
    "torch-training-args": file("training_args.bin", torch_zip(b"\x80\x02ctransformers.training_args\nTrainingArguments\n)\x81.")),
    "torch-crc": file("pytorch_model.bin", _ZIP.replace(b"little", b"liltte")),
    "torch-flag-encrypted": file("pytorch_model.bin", _patched(_ZIP, b"PK\x01\x02", 8, b"\x01")),
    "torch-local-flag": file("pytorch_model.bin", _patched(_ZIP, b"PK\x03\x04", 6, b"\x01")),
    "torch-local-name": file("pytorch_model.bin", _ZIP.replace(b"archive/data.pkl", b"archive/dqta.pkl", 1)),
    "torch-deflated": file("pytorch_model.bin", torch_zip(compression=zipfile.ZIP_DEFLATED)),
    "torch-odd-member": file("pytorch_model.bin", torch_zip(extra={"evil.py": b"import os"})),
    "torch-two-pickles": file("pytorch_model.bin", torch_zip(extra={"other.pkl": evil_pickle()})),
    "torch-traversal": file("pytorch_model.bin", torch_zip(extra={"../../x": b""})),
    "torch-no-folder": file("pytorch_model.bin", torch_zip(top="")),
    "torch-no-pickle": file("pytorch_model.bin", zip_of({"archive/version": b"3"}, zipfile.ZIP_STORED)),
    "torch-junk-before": file("pytorch_model.bin", _ZIP[:30] + _ZIP),
    "torch-junk-behind": file("pytorch_model.bin", _ZIP + b"junk"),
    "torch-comment": file("pytorch_model.bin", _ZIP[:-2] + b"\x04\x00junk"),
    "torch-cut": file("pytorch_model.bin", _ZIP[:-30]),
    "torch-pickle-cut": file("pytorch_model.bin", torch_zip(clean_torch_pickle()[:-1])),
    "torch-pickle-tail": file("pytorch_model.bin", torch_zip(clean_torch_pickle() + evil_pickle())),
    "torch-pickle-protocol-4": file("pytorch_model.bin", torch_zip(plain_pickle(4))),
    "torch-numpy-global": file("rng_state.pth", torch_zip(b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n.")),
    "torch-builtin-eval": file("model.pt", torch_zip(b"\x80\x02c__builtin__\neval\nX\x01\x00\x00\x001\x85R.")),
    "torchscript-evil-pickle": file("model.pt", torch_zip(evil_pickle(), extra={"constants.pkl": b"\x80\x02).", "code/__torch__.py": b""})),
    "torchscript-cut-pickle": file("model.pt", torch_zip(b"\x80\x02}", extra={"constants.pkl": b"\x80\x02).", "code/__torch__.py": b""})),
    "torch-zip-two-directories": file("model.bin", _ZIP + _ZIP),
})  # fmt: skip

CASES.each("NEEDS_APPROVAL", "torch-zip", {
    "torch-clean": file("pytorch_model.bin", _ZIP),
    "torch-clean-alone": both(file("pytorch_model.bin", _ZIP), without("model.safetensors")),
    "torch-clean-adapter": file("adapter_model.bin", _ZIP),
    "torchscript": file("traced_model.pt", torch_zip(b"\x80\x02c__torch__\nM\n)\x81.", extra={"constants.pkl": b"\x80\x02).", "code/__torch__.py": b"class M(Module):\n  pass\n"})),
})  # fmt: skip

CASES.each("FAILED", "arrays", {
    "npy-object": file("extra.npy", npy("|O", (1,), evil_pickle())),
    "npy-object-hidden": file("extra.npy", npy("[('a', '|O')]".strip("'"), (1,), evil_pickle())),
    "npy-wrong-size": file("extra.npy", npy(data=b"\0" * 20)),
    "npy-other-name": file("extra.txt", npy("|O", (1,), evil_pickle())),
    "npz-object": file("extra.npz", zip_of({"a.npy": npy("|O", (1,), evil_pickle())}, zipfile.ZIP_STORED)),
    "npz-foreign": file("extra.npz", zip_of({"a.npy": npy(), "b.pkl": evil_pickle()}, zipfile.ZIP_STORED)),
    "npy-header-code": file("extra.npy", b"\x93NUMPY\x01\x00\x20\x00" + b"__import__('os').system('id')    "),
})  # fmt: skip

CASES.each("FAILED", "native-code", {
    "native-elf": file("libhelper.so", b"\x7fELF\x02\x01\x01" + b"\0" * 60),
    "native-elf-hidden": file("data.txt", b"\x7fELF\x02\x01\x01" + b"\0" * 60),
    "native-elf-bin": file("pytorch_model.bin", b"\x7fELF\x02\x01\x01" + b"\0" * 60),
    "native-pe": file("setup.exe", b"MZ" + b"\0" * 58 + b"\x40\0\0\0" + b"PE\0\0" + b"\0" * 40),
    "native-pe-hidden": file("notes.md", b"MZ" + b"\0" * 58 + b"\x40\0\0\0" + b"PE\0\0" + b"\0" * 40),
    "native-macho": file("lib.dylib", b"\xcf\xfa\xed\xfe" + b"\0" * 60),
    "native-macho-fat": file("tool", b"\xca\xfe\xba\xbe" + b"\0" * 60),
    "native-wasm": file("model.wasm", b"\0asm\x01\0\0\0"),
    "native-class": file("Main.class", b"\xca\xfe\xba\xbe\0\0\0\x34"),
    "native-pyc": file("__pycache__/modeling.cpython-311.pyc", b"\xa7\x0d\x0d\x0a" + b"\0" * 40),
    "native-pyc-hidden": file("cache.dat", b"\xa7\x0d\x0d\x0a" + b"\0" * 40),
    "native-static": file("libx.a", b"!<arch>\n" + b"x" * 60),
    "native-so-version": file("libx.so.1", b"\x7fELF\x02\x01\x01" + b"\0" * 60),
    "native-bitcode": file("x.bc", b"BC\xc0\xde" + b"\0" * 20),
    "native-tensorrt": file("model.engine", b"ftrt" + b"\0" * 60),
})  # fmt: skip

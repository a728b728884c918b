"""torch zip files: which of the two kinds it is, and whether its pickle stays within the safe list.

A weights zip (`torch.save`) is clean when every opcode of `data.pkl` is one that torch's weights_only
reader knows and every global is on that reader's own list (torch 2.13, torch/_weights_only_unpickler.py).
A TorchScript zip is a program.
"""

import pickletools
import re
from collections.abc import Iterable
from types import MappingProxyType
from typing import Final, Literal

from pratique.core.ids import shown
from pratique.errors import FormatError
from pratique.formats.zips import DEFLATED, Member

MAX_PICKLE: Final = 16 * 2**20
Kind = Literal["weights", "torchscript"]

_BY_MODULE: Final = {
    "_codecs": "encode",
    "builtins": "bytearray complex set",
    "collections": "Counter OrderedDict",
    "torch": "BFloat16Storage BFloat16Tensor BoolStorage BoolTensor ByteStorage ByteTensor CharStorage CharTensor ComplexDoubleStorage ComplexFloatStorage DoubleStorage DoubleTensor FloatStorage FloatTensor HalfStorage HalfTensor IntStorage IntTensor LongStorage LongTensor QInt32Storage QInt8Storage QUInt2x4Storage QUInt4x2Storage QUInt8Storage ShortStorage ShortTensor Size Tensor bfloat16 bits16 bits1x8 bits2x4 bits4x2 bits8 bool complex128 complex32 complex64 device float16 float32 float4_e2m1fn_x2 float64 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu int1 int16 int2 int3 int32 int4 int5 int6 int64 int7 int8 per_channel_affine per_channel_affine_float_qparams per_channel_symmetric per_tensor_affine per_tensor_symmetric qint32 qint8 quint2x4 quint4x2 quint8 uint1 uint16 uint2 uint3 uint32 uint4 uint5 uint6 uint64 uint7 uint8",
    "torch._tensor": "_rebuild_from_type_v2",
    "torch._utils": "_rebuild_device_tensor_from_cpu_tensor _rebuild_device_tensor_from_numpy _rebuild_meta_tensor_no_storage _rebuild_nested_tensor _rebuild_parameter _rebuild_parameter_with_state _rebuild_qtensor _rebuild_sparse_tensor _rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_wrapper_subclass",
    "torch.cuda": "BFloat16Storage BFloat16Tensor BoolStorage BoolTensor ByteStorage ByteTensor CharStorage CharTensor ComplexDoubleStorage ComplexFloatStorage DoubleStorage DoubleTensor FloatStorage FloatTensor HalfStorage HalfTensor IntStorage IntTensor LongStorage LongTensor ShortStorage ShortTensor",
    "torch.cuda.sparse": "BFloat16Tensor ByteTensor CharTensor DoubleTensor FloatTensor HalfTensor IntTensor LongTensor ShortTensor",
    "torch.nn.parameter": "Parameter",
    "torch.serialization": "_get_layout",
    "torch.sparse": "BFloat16Tensor ByteTensor CharTensor DoubleTensor FloatTensor HalfTensor IntTensor LongTensor ShortTensor",
    "torch.storage": "TypedStorage UntypedStorage",
}  # fmt: skip
SAFE_GLOBALS: Final = frozenset(
    f"{module}.{name}" for module, names in _BY_MODULE.items() for name in names.split()
)
_PYTHON2: Final = MappingProxyType({"__builtin__": "builtins"})

_PLAIN_OPCODES: Final = frozenset(b")]}\x8f(aesubRtNQ\x81\x85\x86\x87\x88\x89")
_FIXED_OPCODES: Final = MappingProxyType(
    {ord("J"): 4, ord("K"): 1, ord("M"): 2, ord("G"): 8, ord("h"): 1, ord("j"): 4, ord("q"): 1, ord("r"): 4}
)  # fmt: skip
_COUNTED_OPCODES: Final = MappingProxyType({ord("X"): 4, ord("U"): 1, 0x8A: 1})
_GLOBAL: Final = ord("c")
_STOP: Final = ord(".")
_FIXED_NAMES: Final = frozenset(
    {"data.pkl", "version", ".format_version", ".storage_alignment", "byteorder", ".data/serialization_id"}
)  # fmt: skip
_STORAGE: Final = re.compile(r"data/\d{1,9}\Z")
_SCRIPT: Final = re.compile(
    r"(?:constants\.pkl|(?:code|extra|constants|tensors|attributes|traced_inputs)/.+|bytecode\.pkl|traced_inputs\.pkl|mobile_debug_handles\.pkl)\Z"
)

_SCRIPT_GLOBAL: Final = re.compile(
    r"__torch__(?:\.\w+)+\Z|torch\.jit\._pickle\.\w+\Z|torch\.jit\._pickle\Z"
)


def kind_of(members: Iterable[Member]) -> Kind:
    """Say what the archive is. Raises FormatError for names that neither kind has."""
    names: list[str] = []
    tops: set[str] = set()
    for member in members:
        top, slash, rest = member.name.partition("/")
        if not slash or not rest:
            raise FormatError(f"member {shown(member.name)} is not in the archive's folder")
        tops.add(top)
        names.append(rest)
        if member.method == DEFLATED and not rest.startswith("code/"):
            raise FormatError(f"member {shown(member.name)} is compressed; torch stores its data")
    if len(tops) != 1:
        raise FormatError("has more than one folder, or none")
    script = any(_SCRIPT.match(name) for name in names)
    for name in names:
        known = name in _FIXED_NAMES or _STORAGE.match(name) or (script and _SCRIPT.match(name))
        if not known:
            raise FormatError(f"has the member {shown(name)}, which torch does not write")
    if "data.pkl" not in names:
        raise FormatError("has no data.pkl")
    return "torchscript" if script else "weights"


def unsafe_globals(data: bytes, *, whole: bool = True) -> tuple[str, ...]:
    """Return the globals in a `data.pkl` that are not on torch's list, in order.

    `whole`: False if `data` may be only its beginning. Raises FormatError for opcodes that the
    weights_only reader does not know, a missing end, or bytes behind it.
    """
    if len(data) > MAX_PICKLE:
        raise FormatError(f"data.pkl is larger than {MAX_PICKLE // 2**20} MiB")
    if data[:2] != b"\x80\x02":
        raise FormatError("data.pkl is not a protocol 2 pickle")
    found: dict[str, None] = {}
    at = 2
    try:
        while data[at] != _STOP:
            at, name = _step(data, at)
            if name is not None and name not in SAFE_GLOBALS:
                found[name] = None
    except (IndexError, ValueError) as error:
        if whole:
            raise FormatError("data.pkl is cut short") from error
        return tuple(found)
    if whole and at + 1 != len(data):
        raise FormatError("data.pkl has bytes behind its end")
    return tuple(found)


def _step(data: bytes, at: int) -> tuple[int, str | None]:
    """Read one opcode; return where the next begins, and the global that this one imports."""
    code = data[at]
    at += 1
    if code in _PLAIN_OPCODES:
        return at, None
    if code in _FIXED_OPCODES:
        return at + _FIXED_OPCODES[code], None
    if code in _COUNTED_OPCODES:
        return at + _counted(data, at, _COUNTED_OPCODES[code]), None
    if code != _GLOBAL:
        raise FormatError(f"data.pkl has the opcode {code:#04x}, which plain weights lack")
    middle = data.index(b"\n", at)
    stop = data.index(b"\n", middle + 1)
    return stop + 1, _name(data[at:middle], data[middle + 1 : stop])


def _counted(data: bytes, at: int, width: int) -> int:
    return width + int.from_bytes(data[at : at + width], "little")


def _name(module: bytes, name: bytes) -> str:
    try:
        text = module.decode("ascii")
        return f"{_PYTHON2.get(text, text)}.{name.decode('ascii')}"
    except UnicodeDecodeError as error:
        raise FormatError("data.pkl imports a name that is not ASCII") from error


def script_globals(data: bytes) -> tuple[str, ...]:
    """Return the globals of a TorchScript pickle that TorchScript does not write, in order.

    Raises FormatError if the stream breaks.
    """
    found: dict[str, None] = {}
    last = ""
    try:
        for opcode, argument, _ in pickletools.genops(data):
            last = opcode.name
            if last == "GLOBAL":
                module, _, name = str(argument).partition(" ")
                if (
                    not _SCRIPT_GLOBAL.match(f"{module}.{name}")
                    and f"{module}.{name}" not in SAFE_GLOBALS
                ):
                    found[f"{module}.{name}"] = None
            elif last in {"INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4"}:
                found[last] = None
    except (ValueError, IndexError, EOFError, OverflowError) as error:
        raise FormatError("has a pickle that breaks off") from error
    if last != "STOP":
        raise FormatError("has a pickle without an end")
    return tuple(found)

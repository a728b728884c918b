"""ONNX models: which operators they need and which files they open. Walked on the wire, never run.

(onnx.proto3; external data may name any path: CVE-2022-25882, CVE-2024-27318, CVE-2024-5187)
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from pratique.errors import FormatError
from pratique.formats import protobuf

_MAX_DEPTH: Final = 16
_MAX_NODES: Final = 2_000_000
# onnx.proto3 field numbers
_MODEL = {"graph": 7, "opset": 8, "functions": 25, "training": 20}
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_NODE_ATTRIBUTE, _NODE_OP, _NODE_DOMAIN = 5, 4, 7
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 6, 10, 11
_TENSOR_EXTERNAL, _TENSOR_LOCATION = 13, 14
_KNOWN_MODEL_FIELDS: Final = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26})


@dataclass(frozen=True, slots=True)
class External:
    """Tensor data outside the model: `offset` and `length` in bytes, None if not said."""

    location: str
    offset: int
    length: int | None


@dataclass(slots=True)
class OnnxFacts:
    """What a model needs. `operators`: (domain, name); `functions`: domains that it defines itself."""

    operators: set[tuple[str, str]] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    externals: set[External] = field(default_factory=set)
    graphs: int = 0
    nodes: int = 0


def examine(data: memoryview) -> OnnxFacts:
    """Walk a whole model. Raises FormatError unless it is one, with exactly one graph."""
    facts = OnnxFacts()
    version = False
    for number, kind, value in protobuf.fields(data):
        if number not in _KNOWN_MODEL_FIELDS:
            raise FormatError(f"has the field {number}, which no ONNX model has")
        version = version or (number == 1 and kind == protobuf.VARINT)
        if not isinstance(value, memoryview):
            continue
        if number == _MODEL["graph"]:
            facts.graphs += 1
            _graph(value, facts, 0)
        elif number == _MODEL["functions"]:
            _function(value, facts)
        elif number == _MODEL["training"]:
            raise FormatError("has training graphs")
    if not version or facts.graphs != 1:
        raise FormatError("is no ONNX model: it has no version, or not one graph")
    return facts


def _graph(data: memoryview, facts: OnnxFacts, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise FormatError(f"has graphs nested deeper than {_MAX_DEPTH}")
    for number, _, value in protobuf.fields(data):
        if not isinstance(value, memoryview):
            continue
        if number == _GRAPH_NODE:
            _node(value, facts, depth)
        elif number == _GRAPH_INITIALIZER:
            _tensor(value, facts)
        elif number == _GRAPH_SPARSE:
            for part in (1, 2):
                for tensor in protobuf.messages(value, part):
                    _tensor(tensor, facts)


def _node(data: memoryview, facts: OnnxFacts, depth: int) -> None:
    facts.nodes += 1
    if facts.nodes > _MAX_NODES:
        raise FormatError(f"has more than {_MAX_NODES} nodes")
    operator = domain = ""
    for number, _, value in protobuf.fields(data):
        if not isinstance(value, memoryview):
            continue
        if number == _NODE_OP:
            operator = protobuf.text(value)
        elif number == _NODE_DOMAIN:
            domain = protobuf.text(value)
        elif number == _NODE_ATTRIBUTE:
            _attribute(value, facts, depth)
    facts.operators.add((domain, operator))


def _attribute(data: memoryview, facts: OnnxFacts, depth: int) -> None:
    for number, _, value in protobuf.fields(data):
        if not isinstance(value, memoryview):
            continue
        if number in {_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS}:
            _tensor(value, facts)
        elif number in {_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS}:
            _graph(value, facts, depth + 1)


def _function(data: memoryview, facts: OnnxFacts) -> None:
    for number, _, value in protobuf.fields(data):
        if not isinstance(value, memoryview):
            continue
        if number == 10:
            facts.functions.add(protobuf.text(value))
        elif number == 7:
            _node(value, facts, 1)


def _tensor(data: memoryview, facts: OnnxFacts) -> None:
    entries: dict[str, str] = {}
    outside = False
    for number, _, value in protobuf.fields(data):
        if number == _TENSOR_LOCATION and value == 1:
            outside = True
        elif number == _TENSOR_EXTERNAL and isinstance(value, memoryview):
            outside = True
            key, text = _pair(value)
            if key in entries:
                raise FormatError(f"gives the {key} of external data twice")
            entries[key] = text
    if outside:
        facts.externals.add(_external(entries))


def _pair(data: memoryview) -> tuple[str, str]:
    parts = {number: protobuf.text(v) for number, v in _texts(data)}
    return parts.get(1, ""), parts.get(2, "")


def _texts(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    for number, _, value in protobuf.fields(data):
        if isinstance(value, memoryview):
            yield number, value


def _external(entries: dict[str, str]) -> External:
    try:
        offset = int(entries.get("offset", "0"))
        length = int(entries["length"]) if "length" in entries else None
    except ValueError as error:
        raise FormatError("has external data at a place that is no number") from error
    if offset < 0 or (length is not None and length < 0):
        raise FormatError("has external data at a negative place")
    return External(entries.get("location", ""), offset, length)

"""TensorFlow SavedModels: the names of all operations in a graph. Walked on the wire, never run."""

from typing import Final

from pratique.errors import FormatError
from pratique.formats import protobuf

_MAX_NODES: Final = 4_000_000


def operations(data: memoryview) -> frozenset[str]:
    """Return the operations of `saved_model.pb` (or a bare GraphDef). Raises FormatError."""
    found: set[str] = set()
    graphs = 0
    for meta_graph in protobuf.messages(data, 2):
        for graph in protobuf.messages(meta_graph, 2):
            graphs += 1
            _graph(graph, found)
    if not graphs:
        raise FormatError("is no SavedModel: it has no graph")
    return frozenset(found)


def _graph(data: memoryview, found: set[str]) -> None:
    for number, _, value in protobuf.fields(data):
        if not isinstance(value, memoryview):
            continue
        if number == 1:
            _node(value, found)
        elif number == 2:
            for function in protobuf.messages(value, 1):
                for node in protobuf.messages(function, 3):
                    _node(node, found)


def _node(data: memoryview, found: set[str]) -> None:
    for operation in protobuf.messages(data, 2):
        found.add(protobuf.text(operation))
        if len(found) > _MAX_NODES:
            raise FormatError("has too many operations")

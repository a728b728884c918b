"""Keras models by their description: layers of Keras only, none that carries code.

(CVE-2024-3660, CVE-2025-1550, CVE-2025-9905, CVE-2025-9906: Lambda layers, and configurations that
name any module and function)
"""

from collections.abc import Iterator
from typing import Final

from pratique.errors import FormatError

_MODULES: Final = (
    "keras",
    "tf_keras",
    "tensorflow.keras",
    "tensorflow.python.keras",
    "keras_hub",
    "keras_nlp",
)
_CODE: Final = frozenset({"Lambda", "TFOpLambda", "SlicingOpLambda", "function", "__lambda__", "TFSMLayer",
                          "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "PyFunc"})  # fmt: skip
_MAX_PARTS: Final = 2_000_000


def check(model: object) -> None:
    """Check a parsed description. Raises FormatError naming what it would run or import."""
    for node in _objects(model):
        name = node.get("class_name")
        if isinstance(name, str) and name.rsplit(">", 1)[-1] in _CODE:
            raise FormatError(f"has a {name!r}, which carries code")
        module = node.get("module")
        if isinstance(module, str) and "class_name" in node and not _is_keras(module):
            raise FormatError(f"imports {module[:60]!r}")
        registered = node.get("registered_name")
        if (
            isinstance(registered, str)
            and ">" in registered
            and not registered.startswith(("keras", "Keras"))
        ):
            raise FormatError(f"needs the custom object {registered[:60]!r}")


def _is_keras(module: str) -> bool:
    if module == "builtins":
        return True
    inside = any(module == m or module.startswith(f"{m}.") for m in _MODULES)
    return inside and not any(p in module for p in (".utils", ".saving", "file_utils", "get_file"))


def _objects(value: object) -> Iterator[dict[str, object]]:
    pending = [value]
    for _ in range(_MAX_PARTS):
        if not pending:
            return
        item = pending.pop()
        if isinstance(item, dict):
            yield item
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
    raise FormatError("has too many parts")

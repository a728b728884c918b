"""Python source as text: parsed, never imported or run; which files its relative imports may load."""

import ast
import posixpath
import warnings
from collections.abc import Iterator
from typing import Final

from pratique.errors import FormatError
from pratique.formats import text

MAX_SOURCE: Final = 4 * 2**20


def parse(source: bytes) -> ast.Module:
    """Return the syntax tree. Raises FormatError for what no reviewer and no interpreter could read."""
    if len(source) > MAX_SOURCE:
        raise FormatError(f"is larger than {MAX_SOURCE >> 20} MiB")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text.decode(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise FormatError(f"is not Python that can be read ({type(error).__name__})") from error


def imported_files(tree: ast.Module, path: str) -> Iterator[str]:
    """Yield where the modules that the file at `path` imports relatively can lie.

    `from .pkg import name` may load pkg/name.py as well as pkg/__init__.py: all are named. A loader
    that looks for text, not for syntax, takes `pkg.name.py`; so that is named too.
    """
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        folder = path
        for _ in range(node.level):
            folder = posixpath.dirname(folder)
        modules = [".".join(filter(None, (node.module, alias.name))) for alias in node.names]
        for module in dict.fromkeys((node.module or "", *modules)):
            yield from _places(folder, module)


def _places(folder: str, module: str) -> Iterator[str]:
    if not module:  # a package itself; at the top there is none, whoever loads it makes its own
        if folder:
            yield posixpath.join(folder, "__init__.py")
        return
    stem = module.replace(".", "/")
    for name in dict.fromkeys((f"{module}.py", f"{stem}.py", f"{stem}/__init__.py")):
        yield posixpath.join(folder, name)

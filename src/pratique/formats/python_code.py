"""Python source as text: parsed, never imported or run; which files its relative imports may load."""

import ast
import codecs
import io
import posixpath
import tokenize
import warnings
from collections.abc import Iterator
from typing import Final

from pratique.core.ids import shown
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
            tree = ast.parse(text.decode(source))
        encoding = _declared_encoding(source)
    except (SyntaxError, LookupError, ValueError, RecursionError, MemoryError) as error:
        raise FormatError(f"is not Python that can be read ({type(error).__name__})") from error
    if encoding != "utf-8":
        raise FormatError(f"is declared to be {shown(encoding)}: it shows other code than it runs")
    return tree


def _declared_encoding(source: bytes) -> str:
    """What the interpreter decodes it as: `# coding: utf-7` makes code of what reads as a comment."""
    lines = source.replace(b"\r\n", b"\n").replace(b"\r", b"\n")  # as the interpreter counts them
    found, _ = tokenize.detect_encoding(io.BytesIO(lines).readline)
    name = codecs.lookup(found).name
    same = name == "utf-8-sig" or (name in {"ascii", "iso8859-1"} and source.isascii())
    return "utf-8" if same else name


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

"""Reads Python source as a reviewer would want it summed up. Parsed (ast), never imported or run."""

import ast
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pratique.errors import FormatError
from pratique.formats import text
from pratique.vet.repo import Repo

_MAX_SOURCE: Final = 4 * 2**20
_MAX_SHOWN: Final = 24


@dataclass(frozen=True, slots=True)
class CodeFacts:
    """What one source file imports and calls, by name.

    `local`: what it may import from the repository, as (folders up, dotted name).
    """

    imports: tuple[str, ...]
    calls: tuple[str, ...]
    local: tuple[tuple[int, str], ...]
    top_level_calls: tuple[str, ...]


def read_code(repo: Repo, path: str) -> CodeFacts:
    """Return the facts of a Python file. Raises FormatError for what no reviewer could read."""
    source = text.decode(repo.read(path, _MAX_SOURCE))
    if (char := text.hidden_in(source)) is not None:
        raise FormatError(
            f"holds the hidden character {text.name_of(char)}: it shows other code than it runs"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise FormatError(f"is not Python that can be read ({type(error).__name__})") from error
    return CodeFacts(
        imports=_shown(_imports(tree)),
        calls=_shown(_calls(ast.walk(tree))),
        local=tuple(dict.fromkeys(_local(tree))),
        top_level_calls=_shown(_calls(n for s in tree.body for n in _own(s))),
    )


def _shown(names: list[str]) -> tuple[str, ...]:
    unique = sorted(set(names))
    return tuple(unique[:_MAX_SHOWN]) + (("…",) if len(unique) > _MAX_SHOWN else ())


def _imports(tree: ast.Module) -> list[str]:
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.append("." * node.level + (node.module or ""))
    return found


def _local(tree: ast.Module) -> list[tuple[int, str]]:
    """(folders up, dotted name) of every module that a relative import may load.

    `from .pkg import name` may load pkg/name.py as well as pkg/__init__.py: both are named.
    """
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            modules = [".".join(filter(None, (node.module, a.name))) for a in node.names]
            found.extend((node.level - 1, m) for m in (node.module or "", *modules))
    return found


def _own(statement: ast.stmt) -> list[ast.AST]:
    """Nodes that run when the module is imported: not the bodies of functions and classes."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return [n for d in statement.decorator_list for n in ast.walk(d)]
    if isinstance(statement, ast.ClassDef):
        return [n for s in statement.body for n in _own(s)]
    return list(ast.walk(statement))


def _calls(nodes: Iterable[ast.AST]) -> list[str]:
    return [n for node in nodes if isinstance(node, ast.Call) and (n := _dotted(node.func))]


def _dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        parts.append(node.id)
    return ".".join(reversed(parts))

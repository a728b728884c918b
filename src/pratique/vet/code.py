"""Reads Python source as a reviewer would want it summed up. Parsed (ast), never imported or run."""

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pratique.errors import FormatError
from pratique.formats import python_code, text
from pratique.vet.repo import Repo

_MAX_SHOWN: Final = 24


@dataclass(frozen=True, slots=True)
class CodeFacts:
    """What one source file imports and calls, by name.

    `local`: the files of the repository that it may import.
    """

    imports: tuple[str, ...]
    calls: tuple[str, ...]
    local: tuple[str, ...]
    top_level_calls: tuple[str, ...]


def read_code(repo: Repo, path: str) -> CodeFacts:
    """Return the facts of a Python file. Raises FormatError for what no reviewer could read."""
    data = repo.read(path, python_code.MAX_SOURCE)
    if (char := text.hidden_in(text.decode(data))) is not None:
        raise FormatError(
            f"holds the hidden character {text.name_of(char)}: it shows other code than it runs"
        )
    tree = python_code.parse(data)
    return CodeFacts(
        imports=_shown(_imports(tree)),
        calls=_shown(_calls(ast.walk(tree))),
        local=tuple(dict.fromkeys(python_code.imported_files(tree, path))),
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

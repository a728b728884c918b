"""Code that a model brings runs only if somebody answers for every byte of it, here and now.

Reached is what `auto_map` names in any configuration of the model, what that imports from beside it,
and `custom_generate/`. Each such file needs an allowance, by check and digest, in every approval that
counts *and* in the enclave's own policy, not expired in either. One file without one, and nothing of
the model is loaded: the library's class of the same name is not what was vetted.
"""

import ast
import hashlib
import posixpath
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from pratique.admit.admitted import AdmittedBundle
from pratique.core.bundle import BundleSource
from pratique.core.ids import shown
from pratique.core.policy import Allowance, Policy
from pratique.errors import ApprovalNeeded, FormatError, ServeError, VerificationRefused
from pratique.formats import json_strict, text
from pratique.formats.json_strict import Json

REMOTE_CODE: Final = "remote-code"
CUSTOM_GENERATE: Final = "custom-generate"
_MODEL: Final = "model/"
_MOST_SOURCE: Final = 4 * 2**20
_CONFIGURATION: Final = "config"
"""Part of the name of every file in which the library looks for code: config.json, config.4.0.json,
tokenizer_config.json, generation_config.json, preprocessor_config.json."""


@dataclass(frozen=True, slots=True)
class CodeFile:
    """One code file that loading would run: `path` below the model's folder, `check` that found it."""

    check: str
    path: str
    digest: str


class _Files:
    """The model's files, each read once and only as what was admitted."""

    def __init__(self, admitted: AdmittedBundle) -> None:
        self._root: Path = admitted.model_dir
        self._label = admitted.label
        self.digests = {
            file.path.removeprefix(_MODEL): str(file.sha256)
            for file in admitted.files
            if file.path.startswith(_MODEL)
        }

    def read(self, path: str) -> bytes:
        """Return an admitted file's bytes. Raises VerificationRefused if they are others."""
        try:
            data = (self._root / path).read_bytes()
        except OSError as error:
            raise self._changed(path) from error
        if hashlib.sha256(data).hexdigest() != self.digests[path]:
            raise self._changed(path)
        return data

    def _changed(self, path: str) -> VerificationRefused:
        return VerificationRefused(
            f"{self._label}: {shown(path)} is not what was admitted", hint="run `pratique fsck`"
        )


def code_reached(admitted: AdmittedBundle) -> tuple[CodeFile, ...]:
    """Return every code file that loading `admitted` with its own code would run; () if none is.

    Raises ServeError where that cannot be said: code of another repository, a file that is not there
    or cannot be read, a configuration that is not strict JSON.
    """
    files = _Files(admitted)
    roots = list(_named(files, admitted.label))
    if not roots:
        return ()
    found = {path: CodeFile(REMOTE_CODE, path, files.digests[path]) for path in roots}
    for path in files.digests:
        if path.endswith(".py") and "custom_generate" in path.split("/")[:-1]:
            found.setdefault(path, CodeFile(CUSTOM_GENERATE, path, files.digests[path]))
    pending = list(found)
    while pending:
        path = pending.pop()
        for other in _beside(files, path, admitted.label):
            if other not in found:
                found[other] = CodeFile(found[path].check, other, files.digests[other])
                pending.append(other)
    return tuple(found[path] for path in sorted(found))


def require_allowed(
    code: Iterable[CodeFile], admitted: AdmittedBundle, *, policy: Policy, today: date
) -> None:
    """Return only if approvals and policy allow every file of `code`. Raises ApprovalNeeded."""
    source = admitted.document.source
    accepted = [(signed.signer.file, signed.approval.allowances) for signed in admitted.approvals]
    places = [(f"policy {policy.name}", policy.allow), *accepted]
    for file in code:
        for place, allowances in places:
            if not any(_answers(entry, file, source, today) for entry in allowances):
                raise ApprovalNeeded(
                    f"{admitted.label} needs code of its own, and {shown(place)} has no allowance "
                    f"for {shown(file.path)}",
                    hint=f"an [[allow]] of check {file.check} must name its digest {file.digest}, "
                    "in the policy and in the approval",
                )
        if not accepted:
            raise ApprovalNeeded(
                f"{admitted.label} needs code of its own, and no approval allows it",
                hint="have it approved under a policy that allows its code files",
            )


def _answers(entry: Allowance, file: CodeFile, source: BundleSource, today: date) -> bool:
    return (
        entry.check == file.check
        and entry.digest == file.digest
        and entry.expires >= today
        and entry.repo in {None, source.repo}
        and entry.commit in {None, source.commit}
        and entry.path in {None, file.path}
    )


def _named(files: _Files, label: str) -> Iterator[str]:
    """Yield the files that some `auto_map` names."""
    for path in sorted(files.digests):
        if not path.endswith(".json") or _CONFIGURATION not in posixpath.basename(path):
            continue
        try:
            value = json_strict.parse(files.read(path), json_strict.CONFIGURATION)
        except FormatError as error:
            raise ServeError(f"{label}: {shown(path)}: {error.message}") from error
        for reference in _references(value):
            if not isinstance(reference, str) or "--" in reference:
                raise ServeError(
                    f"{label}: {shown(path)} takes code from another repository, or from nowhere",
                    hint="use a model whose code is in its own repository",
                )
            yield from _existing(files, posixpath.dirname(path), reference, label)


def _existing(files: _Files, folder: str, reference: str, label: str) -> list[str]:
    module = reference.rpartition(".")[0]
    found = [path for path in _places(folder, module) if path in files.digests]
    if not found:
        raise ServeError(
            f"{label} names {shown(reference)}, whose file is not in the bundle",
            hint="fetch and seal the model with its code",
        )
    return found


def _references(value: Json) -> Iterator[Json]:
    """Yield what stands below every `auto_map`, at any depth."""
    pending: list[tuple[Json, bool]] = [(value, False)]
    while pending:
        item, inside = pending.pop()
        if isinstance(item, dict):
            pending += [(child, inside or key == "auto_map") for key, child in item.items()]
        elif isinstance(item, list):
            pending += [(child, inside) for child in item]
        elif inside and item is not None:
            yield item


def _beside(files: _Files, path: str, label: str) -> Iterator[str]:
    """Yield the bundle's files that the code at `path` imports relatively."""
    try:
        source = files.read(path)
        if len(source) > _MOST_SOURCE:
            raise FormatError("is too long")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text.decode(source))
    except (FormatError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ServeError(f"{label}: {shown(path)} is not Python that can be read") from error
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        folder = posixpath.dirname(path)
        for _ in range(node.level - 1):
            folder = posixpath.dirname(folder)
        modules = [".".join(filter(None, (node.module, alias.name))) for alias in node.names]
        for module in (node.module or "", *modules):
            yield from (p for p in _places(folder, module) if p in files.digests)


def _places(folder: str, module: str) -> tuple[str, ...]:
    """Where a module can lie: as the library and as Python look for it."""
    if not module:
        return ()
    stem = module.replace(".", "/")
    names = (f"{module}.py", f"{stem}.py", f"{stem}/__init__.py")
    return tuple(dict.fromkeys(posixpath.join(folder, name) for name in names))

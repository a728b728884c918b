"""Code that a model brings runs only if somebody answers for every byte of it, here and now.

Reached is what `auto_map` names in any configuration of the model or of a permitted copy, what that
imports from beside it, and `custom_generate/`. Code of another repository is reached only where the bundle carries it, and
then the pin of that repository counts like a file. Each of these needs an allowance, by check and
digest, in every approval that counts *and* in the enclave's own policy, not expired in either. One
without one, and nothing of the model is loaded: the library's class of the same name is not what was
vetted.
"""

import hashlib
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from pratique.admit.admitted import AdmittedBundle
from pratique.core.bundle import MODEL, VARIANTS, BundleSource, foreign_roots
from pratique.core.foreign import FOREIGN, FOREIGN_CODE, Pin, shown_path
from pratique.core.ids import RepoId, shown
from pratique.core.policy import Allowance, Policy
from pratique.errors import ApprovalNeeded, FormatError, ServeError, VerificationRefused
from pratique.formats import json_strict, python_code
from pratique.formats.auto_map import is_foreign, parse_foreign, references

REMOTE_CODE: Final = "remote-code"
CUSTOM_GENERATE: Final = "custom-generate"
_CONFIGURATION: Final = "config"
"""Part of the name of every file in which the library looks for code: config.json, config.4.0.json,
tokenizer_config.json, generation_config.json, preprocessor_config.json."""


@dataclass(frozen=True, slots=True)
class CodeFile:
    """One thing that loading would run: a code file, or the pin that lets files of another repository in.

    `path` is as findings and allowances show it, `check` the one that found it. `repo` is the
    repository whose name the configuration gives for it, if it gives one, and `file` its path there;
    "" for a pin.
    """

    check: str
    path: str
    digest: str
    repo: RepoId | None = None
    file: str = ""


class _Files:
    """The files below one folder of the payload, each read once and only as what was admitted."""

    def __init__(self, admitted: AdmittedBundle, folder: str, root: Path) -> None:
        self._root = root
        self._label = admitted.label
        self.digests = {
            file.path.removeprefix(f"{folder}/"): str(file.sha256)
            for file in admitted.files
            if file.path.startswith(f"{folder}/")
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
    """Return everything that loading `admitted` with its own code would run; () if nothing is.

    Raises ServeError where that cannot be said: code of another repository that is not in the bundle,
    a file that is not there or cannot be read, a configuration that is not strict JSON.
    """
    found = set(_of_folder(admitted, MODEL))
    for name in admitted.permitted_variants:  # each may be loaded in the model's place
        found |= _of_folder(admitted, f"{VARIANTS}/{name}")
    return tuple(sorted(found, key=lambda file: (file.path, file.digest, file.repo or "")))


def _of_folder(admitted: AdmittedBundle, folder: str) -> set[CodeFile]:
    """What loading the model, or one of its copies, would run."""
    files = _Files(admitted, folder, admitted.model_dir.parent / folder)
    named = _named(files, admitted)
    roots = dict.fromkeys(named.here, REMOTE_CODE)
    if roots or named.elsewhere:
        custom = (p for p in files.digests if "custom_generate" in p.split("/")[:-1])
        roots |= {p: CUSTOM_GENERATE for p in custom if p.endswith(".py") and p not in roots}
    # Code that is looked for under the model's own name is the model's, never a copy's.
    own = admitted.document.source.repo if named.by_own_name and folder == MODEL else None
    found = {
        CodeFile(check, path, files.digests[path], own, path)
        for path, check in _reached(files, roots, admitted.label).items()
    }
    for pin, modules in named.elsewhere.items():
        found.update(_of_another(admitted, pin, modules))
    return found


def _of_another(admitted: AdmittedBundle, pin: Pin, modules: Iterable[str]) -> Iterator[CodeFile]:
    folder = f"{FOREIGN}/{pin.label}"
    files = _Files(admitted, folder, admitted.model_dir.parent / folder)
    for module in modules:
        if module not in files.digests:
            raise ServeError(
                f"{admitted.label} names {shown(module)} of {pin.repo}, which is not in the bundle",
                hint="fetch and seal the model with its code",
            )
    yield CodeFile(FOREIGN_CODE, pin.text, pin.digest, pin.repo)
    for path, check in _reached(files, dict.fromkeys(modules, REMOTE_CODE), admitted.label).items():
        shown_as = shown_path(pin.repo, path)
        yield CodeFile(check, shown_as, files.digests[path], pin.repo, path)


def _reached(files: _Files, roots: dict[str, str], label: str) -> dict[str, str]:
    """The roots and all that they import from beside them, each with the check that found its root."""
    found = dict(roots)
    pending = list(found)
    while pending:
        path = pending.pop()
        for other in _beside(files, path, label):
            if other not in found:
                found[other] = found[path]
                pending.append(other)
    return found


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
                    hint=f"an [[allow]] of check {file.check} must say {_says(file)}, in the policy "
                    "and in the approval",
                )
        if not accepted:
            raise ApprovalNeeded(
                f"{admitted.label} needs code of its own, and no approval allows it",
                hint="have it approved under a policy that allows its code files",
            )


def _says(file: CodeFile) -> str:
    pinned = file.check == FOREIGN_CODE
    key, value = ("foreign", file.path) if pinned else ("digest", file.digest)
    return f'{key} = "{value}"'


def _answers(entry: Allowance, file: CodeFile, source: BundleSource, today: date) -> bool:
    return (
        entry.check == file.check
        and entry.digest == file.digest
        and entry.expires >= today
        and entry.repo in {None, source.repo}
        and entry.commit in {None, source.commit}
        and entry.path in {None, file.path}
    )


@dataclass(frozen=True, slots=True)
class _Named:
    """What configurations name: files here, files of pins, and whether files here by our own name."""

    here: dict[str, None]
    elsewhere: dict[Pin, dict[str, None]]
    by_own_name: bool


def _named(files: _Files, admitted: AdmittedBundle) -> _Named:
    pins = {root.pin.repo: root.pin for root in foreign_roots(admitted.document, Path())}
    here: dict[str, None] = {}
    elsewhere: dict[Pin, dict[str, None]] = {}
    by_own_name = False
    for path, reference in _references(files, admitted.label):
        if not is_foreign(reference):
            here |= dict.fromkeys(
                _existing(files, posixpath.dirname(path), reference, admitted.label)
            )
            continue
        try:
            target = parse_foreign(reference)
        except FormatError as error:
            raise ServeError(f"{admitted.label}: {shown(path)}: {error.message}") from error
        if target.repo == admitted.document.source.repo:
            by_own_name = True
            here |= dict.fromkeys(
                _existing(files, "", reference.partition("--")[2], admitted.label)
            )
        elif target.repo in pins:
            elsewhere.setdefault(pins[target.repo], {})[target.file] = None
        else:
            raise ServeError(
                f"{admitted.label}: {shown(path)} takes code from {target.repo}, which the bundle "
                "does not carry",
                hint="have it fetched and sealed under a policy that pins that repository",
            )
    return _Named(here, elsewhere, by_own_name)


def _references(files: _Files, label: str) -> Iterator[tuple[str, str]]:
    """Yield (configuration, reference) for all that some `auto_map` says."""
    for path in sorted(files.digests):
        if not path.endswith(".json") or _CONFIGURATION not in posixpath.basename(path):
            continue
        try:
            value = json_strict.parse(files.read(path), json_strict.CONFIGURATION)
        except FormatError as error:
            raise ServeError(f"{label}: {shown(path)}: {error.message}") from error
        for reference in references(value):
            if not isinstance(reference, str):
                raise ServeError(
                    f"{label}: {shown(path)} takes code from nowhere",
                    hint="use a model whose code is in its own repository",
                )
            yield path, reference


def _existing(files: _Files, folder: str, reference: str, label: str) -> list[str]:
    module = reference.rpartition(".")[0]
    found = [path for path in _places(folder, module) if path in files.digests]
    if not found:
        raise ServeError(
            f"{label} names {shown(reference)}, whose file is not in the bundle",
            hint="fetch and seal the model with its code",
        )
    return found


def _beside(files: _Files, path: str, label: str) -> Iterator[str]:
    """Yield the files that the code at `path` imports relatively, as far as they are there."""
    try:
        tree = python_code.parse(files.read(path))
    except FormatError as error:
        raise ServeError(f"{label}: {shown(path)} is not Python that can be read") from error
    yield from (p for p in python_code.imported_files(tree, path) if p in files.digests)


def _places(folder: str, module: str) -> tuple[str, ...]:
    """Where a module can lie: as the library and as Python look for it."""
    if not module:
        return ()
    stem = module.replace(".", "/")
    names = (f"{module}.py", f"{stem}.py", f"{stem}/__init__.py")
    return tuple(dict.fromkeys(posixpath.join(folder, name) for name in names))

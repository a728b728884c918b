"""Adapters: the base they pull in needs somebody to answer for it, and nothing may be imported.

PEFT loads `base_model_name_or_path` from wherever it points and imports `auto_mapping.parent_library`
and `megatron_core` by name.
"""

import hashlib
from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding, Severity
from pratique.core.ids import Digest, parse_repo_id, shown
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.formats.json_strict import JsonObject
from pratique.vet.check import Check, approve, refuse
from pratique.vet.fields import configs, is_class_name
from pratique.vet.repo import Entry, Repo
from pratique.vet.roles import Role

_REMEDY: Final = "name the base model as ORG/NAME, and pin it with `revision`"
_CODE: Final = "remove the entry; adapters of the library need none"


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    for entry, config in configs(repo, Role.ADAPTER):
        yield from _imports(entry, config)
        base = config.get("base_model_name_or_path")
        if base in (None, ""):
            continue
        if not isinstance(base, str) or not _is_repo(base):
            yield refuse(
                CHECK.id,
                entry.path,
                f"takes its base from {shown(str(base))}, which is no repository",
                _REMEDY,
            )
            continue
        revision = config.get("revision")
        pinned = (
            f" at {shown(revision)}"
            if isinstance(revision, str) and revision
            else ", at no pinned revision"
        )
        value = f"{base}@{revision or ''}"
        yield approve(
            CHECK.id,
            entry.path,
            f"is an adapter for {shown(base)}{pinned}: what runs is mostly that model",
            "vet and carry the base model as well, and allow this pairing by digest",
            digest=Digest(hashlib.sha256(value.encode()).hexdigest()),
        )


def _is_repo(text: str) -> bool:
    try:
        parse_repo_id(text)
    except FormatError:
        return False
    return True


def _imports(entry: Entry, config: JsonObject) -> Iterator[Finding]:
    mapping = config.get("auto_mapping")
    if isinstance(mapping, dict):
        library, cls = mapping.get("parent_library"), mapping.get("base_model_class")
        if library is not None and not (
            isinstance(library, str)
            and all(is_class_name(p) for p in library.split("."))
            and library.split(".")[0] in {"transformers", "diffusers", "peft"}
        ):
            yield _imported(entry, "auto_mapping.parent_library", str(library))
        if cls is not None and not (isinstance(cls, str) and is_class_name(cls)):
            yield _imported(entry, "auto_mapping.base_model_class", str(cls))
    elif mapping is not None:
        yield _imported(entry, "auto_mapping", str(mapping))
    core = config.get("megatron_core")
    if core not in (None, "", "megatron.core"):
        yield _imported(entry, "megatron_core", str(core))
    for key in ("custom_modules", "_custom_modules", "adapter_class", "module_path"):
        if config.get(key):
            yield _imported(entry, key, str(config[key]))


def _imported(entry: Entry, place: str, value: str) -> Finding:
    return refuse(
        CHECK.id, entry.path, f"{place} makes PEFT import {shown(value)}", _CODE, Severity.CRITICAL
    )


CHECK: Final = Check("adapter-base", "Adapters and what they stand on", Stage.CODE_AND_CONFIG, _run)

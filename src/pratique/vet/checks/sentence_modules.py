"""sentence-transformers: modules of the library, or this repository's own by allowance; no other import.

`modules.json`, `router_config.json` and the fields that hold a dotted class name (activation functions)
all end in an import; each must name a standard class.
"""

import re
from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding, Severity
from pratique.core.ids import path_problem, shown
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.formats.json_strict import Json
from pratique.vet.check import Check, note, refuse
from pratique.vet.checks.remote_code import local_reference, review
from pratique.vet.fields import CONFIG_ROLES, configs, walk
from pratique.vet.repo import Entry, Repo
from pratique.vet.roles import Role

_STANDARD: Final = re.compile(
    r"sentence_transformers(?:\.[a-z_]\w*)*(?:\.[A-Za-z_]\w*)*\.[A-Z]\w*\Z"
)
_LAYER: Final = re.compile(
    r"torch\.nn(?:\.modules(?:\.[a-z_]+)?)?\.[A-Z]\w*\Z|sentence_transformers\.util\.[a-z_]+\Z"
)
_LAYER_KEYS: Final = frozenset(
    {"activation_function", "activation_fn", "sbert_ce_default_activation_function", "loss_fct"}
)
_WITH_WEIGHTS: Final = frozenset(
    {"Transformer", "Dense", "LayerNorm", "CNN", "LSTM", "CLIPModel", "StaticEmbedding",
     "WordEmbeddings", "WeightedLayerPooling", "SparseAutoEncoder", "SparseStaticEmbedding"}
)  # fmt: skip
_REMEDY: Final = "use a standard module of sentence-transformers"


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    reached: dict[str, str] = {}
    for entry in repo.with_role(Role.SENTENCE):
        try:
            document = repo.json(entry.path)
        except FormatError:
            continue
        if entry.name == "modules.json":
            yield from _modules(repo, entry, document, reached)
        elif isinstance(document, dict) and entry.name == "router_config.json":
            yield from _types(repo, entry, document.get("types"), reached)
    for entry, config in configs(repo, *CONFIG_ROLES):
        for place, key, value, holder in walk(config):
            if key == "tokenizer_name_or_path" and entry.role is Role.SENTENCE and value:
                yield refuse(
                    CHECK.id,
                    entry.path,
                    f"{place} takes the tokenizer from {shown(str(value))}",
                    "keep the tokenizer in this repository, and remove the entry",
                    Severity.HIGH,
                )
            elif key == "module_type" or (key == "type" and _is_module_type(value, holder)):
                yield from _type(repo, entry, place, value, reached)
            elif (key in _LAYER_KEYS and not _is_layer(value)) or (
                key == "tokenizer_class" and _is_dotted(value) and not _STANDARD.match(str(value))
            ):
                yield _imports(entry, place, str(value))
    yield from review(CHECK.id, repo, reached)


def _is_dotted(value: Json) -> bool:
    return isinstance(value, str) and "." in value


def _is_layer(value: Json) -> bool:
    """Activation names without a dot are looked up in the library's own table."""
    return not _is_dotted(value) or bool(_LAYER.match(str(value)))


def _is_module_type(value: Json, holder: dict[str, Json]) -> bool:
    return isinstance(value, str) and "." in value and "path" in holder


def _imports(entry: Entry, place: str, value: str) -> Finding:
    return refuse(
        CHECK.id,
        entry.path,
        f"{place} makes the loader import {shown(value)}",
        _REMEDY,
        Severity.CRITICAL,
    )


def _modules(
    repo: Repo, entry: Entry, document: Json, reached: dict[str, str]
) -> Iterator[Finding]:
    modules = document if isinstance(document, list) else []
    for i, module in enumerate(modules):
        if not isinstance(module, dict):
            yield refuse(CHECK.id, entry.path, f"module {i} is no object", _REMEDY)
            continue
        yield from _type(repo, entry, f"[{i}].type", module.get("type"), reached)
        path = module.get("path", "")
        if not isinstance(path, str) or (path and path_problem(path.rstrip("/")) is not None):
            yield refuse(CHECK.id, entry.path, f"module {i} lies at {shown(str(path))}", _REMEDY)
        elif path and not repo.has_folder(path) and _has_weights(module.get("type")):
            yield refuse(
                CHECK.id,
                entry.path,
                f"module {i} has no folder {shown(path)}, but its class has weights",
                "take the whole repository: without these weights the model is another one",
            )
        elif path and not repo.has_folder(path):
            yield note(
                CHECK.id,
                entry.path,
                f"module {i} has no folder {shown(path)}: it has no parameters",
            )


def _has_weights(cls: Json) -> bool:
    """Whether a standard module cannot be without files. Pooling and Normalize can."""
    return str(cls).rpartition(".")[2] in _WITH_WEIGHTS


def _types(repo: Repo, entry: Entry, types: Json, reached: dict[str, str]) -> Iterator[Finding]:
    if isinstance(types, dict):
        for name, value in types.items():
            yield from _type(repo, entry, f"types.{name}", value, reached)


def _type(
    repo: Repo, entry: Entry, place: str, value: Json, reached: dict[str, str]
) -> Iterator[Finding]:
    if not isinstance(value, str):
        yield refuse(CHECK.id, entry.path, f"{place} is no class", _REMEDY)
    elif _STANDARD.match(value):
        return
    elif "--" in value or "/" in value:
        yield _imports(entry, place, value)
    else:
        module = value.rpartition(".")[0]
        if repo.has(f"{module.replace('.', '/')}.py"):
            yield from local_reference(
                CHECK.id, repo, entry, f"{entry.path}: {place}", value, reached=reached
            )
        else:
            yield _imports(entry, place, value)


CHECK: Final = Check(
    "sentence-modules", "Standard sentence-transformers modules", Stage.CODE_AND_CONFIG, _run
)

"""Pipelines: `custom_pipelines` and diffusers components that name code outside the libraries."""

from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding, Severity
from pratique.core.ids import shown
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.formats.json_strict import Json, JsonObject
from pratique.vet.check import Check, refuse
from pratique.vet.checks.remote_code import local_reference, review
from pratique.vet.fields import beside, configs, is_class_name, walk
from pratique.vet.repo import Entry, Repo
from pratique.vet.roles import Role

_REMEDY: Final = "use a pipeline of the library, or vendor the code into the repository"
_LIBRARIES: Final = frozenset(
    {"diffusers", "transformers", "onnxruntime", "optimum", "stable_diffusion", "onnx", "flax", "null"}
)  # fmt: skip


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    reached: dict[str, str] = {}
    for entry, config in configs(repo):
        for place, key, value, _ in walk(config):
            if key == "custom_pipelines":
                yield from _custom(repo, entry, place, value, reached)
            elif key == "custom_pipeline" and isinstance(value, str):
                yield _elsewhere(entry, place, value)
    for entry, index in configs(repo, Role.PIPELINE):
        if entry.name == "model_index.json":
            yield from _components(repo, entry, index, reached)
    yield from review(CHECK.id, repo, reached)


def _elsewhere(entry: Entry, place: str, value: str) -> Finding:
    return refuse(
        CHECK.id,
        entry.path,
        f"{place} takes pipeline code from elsewhere: {shown(value)}",
        _REMEDY,
        Severity.CRITICAL,
    )


def _custom(
    repo: Repo, entry: Entry, place: str, value: Json, reached: dict[str, str]
) -> Iterator[Finding]:
    if not isinstance(value, dict):
        yield refuse(CHECK.id, entry.path, f"{place} is not an object", _REMEDY)
        return
    for task, spec in value.items():
        impl = spec.get("impl") if isinstance(spec, dict) else spec
        where = f"{place}.{task}"
        if not isinstance(impl, str):
            yield refuse(CHECK.id, entry.path, f"{where} names no implementation", _REMEDY)
        elif "--" in impl or "/" in impl:
            yield _elsewhere(entry, where, impl)
        else:
            yield from local_reference(
                CHECK.id, repo, entry, f"{entry.path}: {where}", impl, reached=reached
            )


def _components(
    repo: Repo, entry: Entry, index: JsonObject, reached: dict[str, str]
) -> Iterator[Finding]:
    for name, value in index.items():
        if not isinstance(value, list):
            if name == "_class_name" and not (isinstance(value, str) and is_class_name(value)):
                yield refuse(CHECK.id, entry.path, f"_class_name is {shown(str(value))}", _REMEDY)
            continue
        if len(value) != 2:
            continue
        module, cls = value
        known = isinstance(module, str) and module in _LIBRARIES
        if module is None or cls is None or known:
            if cls is not None and not (isinstance(cls, str) and is_class_name(cls)):
                yield refuse(CHECK.id, entry.path, f"{name} names {shown(str(cls))}", _REMEDY)
            continue
        if not isinstance(module, str) or not isinstance(cls, str):
            continue
        path = _component_file(repo, entry, name, module)
        if path is not None:
            reached.setdefault(path, f"{entry.path}: {name}")
        elif not (
            is_class_name(module) and module.islower() and is_class_name(cls) and _known(module)
        ):
            yield _elsewhere(entry, name, f"{module}.{cls}")


def _component_file(repo: Repo, entry: Entry, name: str, module: str) -> str | None:
    for path in (beside(entry, f"{name}/{module}.py"), beside(entry, f"{module}.py")):
        if repo.has(path):
            return path
    return None


def _known(module: str) -> bool:
    """Modules inside diffusers' own pipelines package (`pipelines.MODULE`)."""
    return module in {
        "stable_diffusion", "stable_diffusion_xl", "latent_diffusion", "paint_by_example", "unclip",
        "deepfloyd_if", "audioldm", "audioldm2", "kandinsky", "shap_e", "spectrogram_diffusion",
        "unidiffuser", "versatile_diffusion", "wuerstchen", "ip_adapter", "alt_diffusion", "flux",
    }  # fmt: skip


CHECK: Final = Check(
    "custom-pipeline", "Pipeline code by allowance only", Stage.CODE_AND_CONFIG, _run
)

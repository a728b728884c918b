"""Fields that a loader opens as files, or fetches, point nowhere but into this repository."""

import re
from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding, Severity
from pratique.core.ids import path_problem, shown
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.formats.json_strict import Json
from pratique.vet.check import Check, refuse
from pratique.vet.fields import configs, is_class_name, walk
from pratique.vet.repo import Entry, Repo
from pratique.vet.roles import Role

_REMEDY: Final = "remove the entry; files are found by their own names"
# Written by older savers and read by nobody (tokenization_utils_base.py pops it unread).
_UNREAD: Final = frozenset(
    {"special_tokens_map_file", "added_tokens_file", "tokenizer_config_file"}
)
_FILE_KEY: Final = re.compile(
    r"(?:.*_)?(?:file|files|files_name|filename|path|paths|dir|directory|uri|url)\Z"
)
# In a model's configuration only these are opened by somebody; training records are full of paths.
_OPENED: Final = re.compile(
    r"(?:.*_)?(?:file|files|filename)\Z|(?:index|passages|checkpoint|weights|adapter)_path\Z"
)
_METADATA: Final = frozenset(
    {"name_or_path", "_name_or_path", "model_name_or_path", "base_model_name_or_path", "teacher_name_or_path",
     "tokenizer_name_or_path", "license_file", "url", "homepage", "repo_url", "license_url", "pretrained_cfg",
     "output_dir", "logging_dir", "log_dir", "cache_dir", "save_dir", "results_dir", "data_dir", "path", "source_url"}
)  # fmt: skip
_LOADED_ELSEWHERE: Final = frozenset(
    {"audio_tokenizer_name_or_path", "audio_tokenizer_path", "vision_tower_path", "mm_vision_tower_path",
     "index_path", "passages_path", "retriever_name_or_path", "encoder_name_or_path", "decoder_name_or_path",
     "generator_name_or_path", "question_encoder_name_or_path", "repo_or_path", "speaker_embeddings_path"}
)  # fmt: skip
_OUTSIDE: Final = re.compile(
    r"(?i)(?:[/~\\]|[a-z]:[\\/]|.*\.\.(?:[/\\]|\Z)|[a-z][a-z0-9+.-]*://|\$|%[a-z]+%|file:|data:)"
)
_OLD_CACHE: Final = re.compile(r"(?:.*[/\\])?\.?cache[/\\](?:huggingface|torch)[/\\][\w./\\-]*\Z")
_TIMM_SOURCES: Final = re.compile(r"(?i)(?:hf[-_]hub|local[-_]dir|file|https?):")
_MODEL_TYPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*\Z")


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    for entry, config in configs(repo):
        for place, key, value, _ in walk(config):
            problem = _problem(entry, key, value)
            if problem is not None:
                yield refuse(CHECK.id, entry.path, f"{place} {problem}", _REMEDY, Severity.HIGH)


def _problem(entry: Entry, key: str, value: Json) -> str | None:
    if key in _CLASS_KEYS:
        return _class_problem(key, value)
    if (
        key in {"architecture", "backbone"}
        and isinstance(value, str)
        and _TIMM_SOURCES.match(value)
    ):
        return f"fetches its network from {shown(value)}"
    if key in _LOADED_ELSEWHERE:
        return f"loads from {shown(str(value))}" if isinstance(value, str) and value else None
    if (
        not isinstance(value, str | list)
        or key in _UNREAD | _METADATA
        or key.endswith("name_or_path")
    ):
        return None
    if not (_OPENED if entry.role is Role.CONFIG else _FILE_KEY).match(key):
        return None
    for item in value if isinstance(value, list) else [value]:
        if (
            isinstance(item, str)
            and item
            and (problem := _file_problem(entry, key, item)) is not None
        ):
            return problem
    return None


def _file_problem(entry: Entry, key: str, item: str) -> str | None:
    # Old savers left the path of their own cache here; loaders put the repository's file in its place
    # (CWE-22 fix in tokenization_utils_base.py).
    if (
        entry.role is Role.TOKENIZER_CONFIG
        and key in {"tokenizer_file", "vocab_file", "merges_file"}
        and _OLD_CACHE.match(item)
        and ".." not in item
    ):
        return None
    if _OUTSIDE.match(item):
        return f"points outside of the repository: {shown(item)}"
    if path_problem(item.removeprefix("./")) is not None:
        return f"holds {shown(item)}, which is no file name"
    return None


_CLASS_KEYS: Final = frozenset({"model_type", "architectures", "tokenizer_class", "processor_class",
                                "image_processor_type", "feature_extractor_type", "video_processor_type",
                                "audio_tokenizer_class"})  # fmt: skip


def _is_class(key: str, item: str) -> bool:
    """A bare class name; word tokenizers of sentence-transformers are dotted (`sentence-modules`)."""
    return is_class_name(item) or (
        key == "tokenizer_class" and is_class_name(item.replace(".", "_"))
    )


def _class_problem(key: str, value: Json) -> str | None:
    for item in value if isinstance(value, list) else [value]:
        if item is None:
            continue
        pattern_holds = isinstance(item, str) and (
            not item or (_MODEL_TYPE.match(item) if key == "model_type" else _is_class(key, item))
        )
        if not pattern_holds:
            return f"is {shown(str(item))}, which is no name of the library"
    return None


CHECK: Final = Check("config-paths", "Configuration stays inside", Stage.CODE_AND_CONFIG, _run)

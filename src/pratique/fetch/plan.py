"""Which files are looked at first: those that can refuse a repository for the fewest bytes.

The rule: before the gate has seen code and configuration, at most `EARLY_BYTES` are downloaded; no
weight file is asked for whole before every earlier stage has passed.
"""

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from pratique.core.stages import Stage
from pratique.fetch.listing import Wanted

EARLY_BYTES: Final = 640 << 10
_EARLY_FILE: Final = 256 << 10
_WHOLE_HEAD: Final = 64 << 20

_TOKENIZER: Final = re.compile(
    r"(?i)(?:^|/)(?:tokenizer\.json|vocab[^/]*|merges[^/]*|[^/]*\.tiktoken|[^/]*\.spm|"
    r"[^/]*(?:sentencepiece|spiece|tokenizer)[^/]*\.(?:model|bpe|vocab)|[^/]*\.bpe\.model|"
    r"added_tokens\.json|tekken\.json|bpe\.codes|dict\.txt)\Z"
)
_INDEX: Final = re.compile(r"(?i)\.index\.json\Z")
_TEXT: Final = re.compile(
    r"(?i)\.(?:json|jsonl|py|md|txt|jinja|jinja2|ya?ml|toml|cfg|ini|rst|sh|ipynb|csv|tsv)\Z"
)
_PLAIN: Final = re.compile(r"(?i)(?:^|/)(?:licen[cs]e|notice|copying|readme|use_policy)[^/]*\Z")
_FIRST: Final = (
    re.compile(r"(?i)(?:^|/)(?:config|adapter_config|modules|model_index|configuration)\.json\Z"),
    re.compile(r"(?i)\.py\Z"),
    re.compile(r"(?i)(?:_config|config_[^/]*|params)\.json\Z"),
    re.compile(r"(?i)(?:^|/)(?:readme\.md|licen[cs]e[^/]*)\Z"),
)


def stages(files: Iterable[Wanted]) -> Mapping[Stage, Sequence[Wanted]]:
    """Say at which stage each file is downloaded whole."""
    plan: dict[Stage, list[Wanted]] = {stage: [] for stage in Stage}
    left = EARLY_BYTES
    for file in sorted(files, key=_urgency):
        stage = _stage(file)
        if stage is Stage.CODE_AND_CONFIG:
            if file.size <= min(left, _EARLY_FILE):
                left -= file.size
            else:
                stage = Stage.TOKENIZER
        plan[stage].append(file)
    return plan


def _urgency(file: Wanted) -> tuple[int, int, str]:
    for rank, pattern in enumerate(_FIRST):
        if pattern.search(file.path):
            return rank, file.size, file.path
    return len(_FIRST), file.size, file.path


def _stage(file: Wanted) -> Stage:
    if file.size > _WHOLE_HEAD:
        return Stage.CONTENT
    if _TOKENIZER.search(file.path):
        return Stage.TOKENIZER
    if _INDEX.search(file.path):
        return Stage.HEADERS
    if _TEXT.search(file.path) or _PLAIN.search(file.path):
        return Stage.CODE_AND_CONFIG
    return Stage.CONTENT


def selector(only: Sequence[str], without: Sequence[str]) -> Callable[[str], bool]:
    """Return whether a path is wanted. Patterns as in a shell; `*` also stands for slashes.

    An empty `only` wants everything. Case counts.
    """

    def wanted(path: str) -> bool:
        if only and not any(fnmatch.fnmatchcase(path, pattern) for pattern in only):
            return False
        return not any(fnmatch.fnmatchcase(path, pattern) for pattern in without)

    return wanted

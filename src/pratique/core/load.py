"""What a model worker is told to load: which bytes, how, and within which limits.

The worker loads nothing that is not named here with its digest, and never asks a network.
"""

import enum
from pathlib import PurePosixPath
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from pratique.core.foreign import MAX_FOREIGN
from pratique.core.ids import RepoId, parse_digest, parse_relpath, parse_repo_id
from pratique.core.rungs import Rung

CHUNK_BYTES: Final = 64 * 2**20
"""Length of the pieces that `WeightFile.chunks` digests; the last may be shorter."""

_STRICT = ConfigDict(extra="forbid", frozen=True)


class Task(enum.StrEnum):
    """What a model is served for. `AUTO`: what its configuration says."""

    AUTO = "auto"
    GENERATE = "generate"
    EMBED = "embed"
    CLASSIFY = "classify"
    TAG = "tag"
    """Token classification: a label per span."""


class LoadFault(enum.StrEnum):
    """Why a worker could not load. The worker says one of these and nothing else."""

    FILE_MISSING = "file_missing"
    FILE_CHANGED = "file_changed"
    NEEDS_REMOTE_CODE = "needs_remote_code"
    UNKNOWN_ARCHITECTURE = "unknown_architecture"
    NO_TOKENIZER = "no_tokenizer"
    NO_TASK = "no_task"
    WEIGHTS_DISAGREE = "weights_disagree"
    """The weights and the configuration do not describe the same model."""
    TOKENIZER_DIFFERS = "tokenizer_differs"
    """The loaded tokenizer is not, id for id, the one that was sealed."""
    NO_SEALED_COPY = "no_sealed_copy"
    """This kernel or container lets no sealed copy be made or reached."""
    OUT_OF_MEMORY = "out_of_memory"
    RUNG_UNSUPPORTED = "rung_unsupported"
    BAD_REQUEST = "bad_request"
    INTERNAL = "internal"


def _absolute(text: str) -> str:
    if not PurePosixPath(text).is_absolute() or "\0" in text:
        raise ValueError("not an absolute path")
    return text


class WeightFile(BaseModel):
    """One file of the model: `size` in bytes, `sha256` of all of it.

    `chunks` are BLAKE3 digests (hex) of each `CHUNK_BYTES` piece; where they are given they are what
    is checked, because they come under the same signature and can be checked on all cores.
    """

    model_config = _STRICT

    path: Annotated[str, AfterValidator(parse_relpath)]
    size: int = Field(ge=0)
    sha256: Annotated[str, AfterValidator(parse_digest)]
    chunks: tuple[Annotated[str, AfterValidator(parse_digest)], ...] = ()


class Limits(BaseModel):
    """What the worker may use. Tokens are positions of the model's context."""

    model_config = _STRICT

    context: int = Field(gt=0, description="longest prompt plus answer, in tokens")
    rows: int = Field(gt=0, le=4096, description="sequences that run together")
    kv_tokens: int = Field(gt=0, description="cache cells for all sequences together")
    prefill_tokens: int = Field(default=512, gt=0, description="prompt tokens computed per turn")
    waiting: int = Field(default=4096, gt=0, description="requests the worker will hold back")
    threads: int = Field(default=1, gt=0, le=1024)


class NamedCode(BaseModel):
    """Code that the model's configuration names as `repo`'s: `files` below `directory`, by digest."""

    model_config = _STRICT

    repo: Annotated[RepoId, AfterValidator(parse_repo_id)]
    directory: Annotated[str, AfterValidator(_absolute)]
    files: tuple[WeightFile, ...] = Field(min_length=1, max_length=1000)


class LoadSpec(BaseModel):
    """One attempt on one rung.

    `model_dir` is an absolute path as the worker sees it. `device_memory` caps what `device_map`
    may place on each device ("0", "cpu"), in bytes. `remote_code` is true only where every code file
    among `files` has its allowance. `named_code` is what is run of other repositories, likewise.
    """

    model_config = _STRICT

    model_dir: Annotated[str, AfterValidator(_absolute)]
    files: tuple[WeightFile, ...] = Field(min_length=1, max_length=100_000)
    rung: Rung
    limits: Limits
    task: Task = Task.AUTO
    device: str = Field(default="cpu", pattern=r"^(cpu|cuda:[0-9]{1,2})$")
    device_memory: dict[str, int] = Field(default_factory=dict)
    remote_code: bool = False
    named_code: tuple[NamedCode, ...] = Field(default=(), max_length=MAX_FOREIGN + 1)
    packed: bool = Field(
        default=False, description="lay matrices out for this processor once they are loaded"
    )
    sealed_copy: bool = Field(
        default=False, description="load from sealed memory instead of the store's files"
    )

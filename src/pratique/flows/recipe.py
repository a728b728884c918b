"""Recipes and locks: what to carry, and which bytes that was when somebody last looked.

A recipe (`bundles/NAME.toml`) is written by a person, a lock (`NAME.lock.json`) by `pratique lock`.
A build takes nothing that the lock does not name with its digest.
"""

import hashlib
import importlib.util
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from pratique.core.ids import (
    parse_alias,
    parse_commit,
    parse_digest,
    parse_git_id,
    parse_relpath,
    parse_repo_id,
    shown,
)
from pratique.core.manifest import Manifest
from pratique.core.variants import VariantName
from pratique.errors import FormatError, UnreadableInput
from pratique.formats import json_strict

_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)
_MAX_BYTES: Final = 64 << 20


def _relative(text: str) -> str:
    if PurePosixPath(text).is_absolute() or ".." in PurePosixPath(text).parts:
        raise ValueError("must be below the recipe's own directory, or the package's")
    return text


class Recipe(BaseModel):
    """One `NAME.toml`, `schema = "pratique.recipe/v1"`.

    Exactly one source: a repository (`repo`, `revision`), a `directory` beside the recipe, or a
    `package` that is installed in this Python, with the `directory` in it.
    """

    model_config = _STRICT

    schema_: Literal["pratique.recipe/v1"] = Field(alias="schema")
    description: str = ""
    repo: Annotated[str, AfterValidator(parse_repo_id)] | None = None
    revision: str = Field(default="main", min_length=1, max_length=256)
    package: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    directory: Annotated[str, AfterValidator(_relative)] | None = None
    name: Annotated[str, AfterValidator(parse_alias)] | None = None
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    policy: str = Field(default="strict", description="name, or a file beside the recipe")
    variants: tuple[VariantName, ...] = Field(
        default=(), description="quantised copies to make when sealing"
    )
    platform: str = Field(default="", description="reserved for the runtime bundle: must be empty")
    approvals: int = Field(default=1, ge=0, le=16, description="how many approvals are wanted")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.repo is None) == (self.directory is None):
            raise ValueError("a recipe names either a repo or a directory")
        if self.package is not None and self.directory is None:
            raise ValueError("a package needs the directory in it")
        return self

    @model_validator(mode="after")
    def _nothing_in_vain(self) -> Self:
        """What would have no effect is refused: nobody should rely on it."""
        if self.platform:
            raise ValueError("platform: this version makes no runtime bundle; leave it out")
        if self.repo is None and "revision" in self.model_fields_set:
            raise ValueError("revision: a directory has none")
        if self.repo is not None and self.name is not None:
            raise ValueError("name: a repository has its own")
        return self


class LockedFile(BaseModel):
    """One file as it must be. `git_id` where the source is a commit."""

    model_config = _STRICT

    path: Annotated[str, AfterValidator(parse_relpath)]
    size: int = Field(ge=0)
    sha256: Annotated[str, AfterValidator(parse_digest)]
    git_id: Annotated[str, AfterValidator(parse_git_id)] | None = None


class Lock(BaseModel):
    """One `NAME.lock.json`, `schema = "pratique.lock/v1"`."""

    model_config = _STRICT

    schema_: Literal["pratique.lock/v1"] = Field(alias="schema")
    repo: Annotated[str, AfterValidator(parse_repo_id)] | None = None
    revision: str | None = None
    commit: Annotated[str, AfterValidator(parse_commit)] | None = None
    manifest: Annotated[str, AfterValidator(parse_digest)]
    files: tuple[LockedFile, ...]


@dataclass(frozen=True, slots=True)
class RecipeFile:
    """A recipe and where it lies."""

    path: Path
    recipe: Recipe

    @property
    def lock_path(self) -> Path:
        """`NAME.lock.json` beside `NAME.toml`."""
        return self.path.with_name(self.path.name.removesuffix(".toml") + ".lock.json")

    @property
    def policy(self) -> str:
        """What `load_policy` takes: a name, or a path made absolute."""
        text = self.recipe.policy
        return str(self.path.parent / text) if text.endswith(".toml") else text

    def source_directory(self) -> Path:
        """The directory of a local source. Raises UnreadableInput if it is not there."""
        inside = self.recipe.directory or ""
        base = self.path.parent
        if self.recipe.package is not None:
            base = _package_directory(self.recipe.package)
        directory = base / inside
        if not directory.is_dir():
            raise UnreadableInput(
                f"{self.path.name}: {shown(str(directory), 200)} is not a directory",
                hint="check `directory` in the recipe",
            )
        return directory


def _package_directory(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not places:
        raise UnreadableInput(
            f"the Python package {package} is not installed", hint=f"install {package}, and repeat"
        )
    return Path(places[0])


def read_recipe(path: Path) -> RecipeFile:
    """Read a recipe. Raises UnreadableInput, FormatError."""
    data = _read(path, "recipe")
    try:
        value = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise FormatError(f"{path.name} is not TOML: {error}", hint="see docs/fetch.md") from error
    try:
        return RecipeFile(path.absolute(), Recipe.model_validate(_tuples(value)))
    except ValidationError as error:
        raise FormatError(f"{path.name}: {_said(error)}", hint="see docs/fetch.md") from error


def read_lock(recipe: RecipeFile) -> Lock:
    """Read a recipe's lock. Raises UnreadableInput if there is none, FormatError."""
    path = recipe.lock_path
    if not path.exists():
        raise UnreadableInput(
            f"{recipe.path.name} has no lock, so nothing says which bytes are meant",
            hint=f"run `pratique lock {recipe.path}` and review {path.name}",
        )
    data = _read(path, "lock")
    again = "run `pratique lock` again"
    try:
        json_strict.parse_object(data)
        return Lock.model_validate_json(data)
    except FormatError as error:
        raise FormatError(f"{path.name} {error.message}", hint=again) from error
    except ValidationError as error:
        raise FormatError(f"{path.name}: {_said(error)}", hint=again) from error


def lock_bytes(lock: Lock) -> bytes:
    """A lock as it is written: sorted, one form, made for diffs."""
    value = lock.model_dump(by_alias=True, mode="json", exclude_none=True)
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True) + "\n").encode()


def manifest_digest(files: Iterable[LockedFile]) -> str:
    """What the manifest of exactly these files has as its digest."""
    lines = sorted((file.path.encode(), file.sha256) for file in files)
    sums = b"".join(f"{sha256}  ".encode() + path + b"\n" for path, sha256 in lines)
    return hashlib.sha256(sums).hexdigest()


def drift(before: Lock, after: Lock) -> tuple[str, ...]:
    """What moved from one lock to another, a line for the commit and one for each file."""
    lines: list[str] = []
    if before.commit != after.commit:
        lines.append(f"commit   {before.commit} -> {after.commit}")
    old = {file.path: file for file in before.files}
    new = {file.path: file for file in after.files}
    for path in sorted(old.keys() | new.keys()):
        if path not in new:
            lines.append(f"removed  {shown(path, 200)}")
        elif path not in old:
            lines.append(f"added    {shown(path, 200)}")
        elif (old[path].size, old[path].sha256) != (new[path].size, new[path].sha256):
            lines.append(
                f"changed  {shown(path, 200)}  {old[path].sha256[:16]} -> {new[path].sha256[:16]}"
            )
    return tuple(lines)


def differs_from_lock(lock: Lock, manifest: Manifest) -> tuple[str, ...]:
    """Paths on which a manifest is not what the lock says."""
    locked = {file.path: (file.size, file.sha256) for file in lock.files}
    found: Mapping[str, tuple[int, str]] = {f.path: (f.size, f.sha256) for f in manifest}
    return tuple(
        path for path in sorted(locked.keys() | found.keys()) if locked.get(path) != found.get(path)
    )


def _read(path: Path, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UnreadableInput(
            f"cannot read the {what} {shown(str(path), 200)}: {error.strerror}",
            hint="check the path",
        ) from error
    if len(data) > _MAX_BYTES:
        raise FormatError(f"the {what} {path.name} is larger than {_MAX_BYTES >> 20} MiB")
    return data


def _said(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, p['loc'])) or 'recipe'}: {p['msg']}" for p in problems)


def _tuples(value: object) -> object:
    """TOML's arrays as tuples: strict models take nothing else."""
    if isinstance(value, dict):
        return {key: _tuples(child) for key, child in value.items()}
    return tuple(_tuples(child) for child in value) if isinstance(value, list) else value

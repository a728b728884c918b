"""Policy files: TOML in, `Policy` out, every error with its line.

Built-in policies are found by name; everything else is a path. Nothing is looked up anywhere else.
"""

import re
import tomllib
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from pratique.core.ids import shown
from pratique.core.policy import Policy
from pratique.errors import PolicyError

DEFAULT_POLICY: Final = "strict"
_MAX_BYTES: Final = 4 * 2**20
_HEADER: Final = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.\"-]+)\s*\]\]?")
_KEY: Final = re.compile(r"\s*([A-Za-z0-9_-]+|\"[^\"]*\")\s*=")


def load_policy(name_or_path: str | Path = DEFAULT_POLICY) -> Policy:
    """Return a policy: built-in by name (`strict`, `standard`), else from a file.

    Raises PolicyError, with line numbers, if it cannot be read or says something unknown.
    """
    name = str(name_or_path)
    if name in built_in_names():
        return parse_policy(_built_in(name), f"built-in policy {name}")
    path = Path(name)
    if "/" not in name and path.suffix != ".toml" and not path.exists():
        raise PolicyError(
            f"there is no policy called {shown(name)}",
            hint=f"use {', '.join(built_in_names())}, or give the path of a .toml file",
        )
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise PolicyError(
            f"cannot read the policy {name}: {error.strerror}", hint="check the path"
        ) from error
    if len(data) > _MAX_BYTES:
        raise PolicyError(f"the policy {name} is larger than {_MAX_BYTES // 2**20} MiB")
    return parse_policy(data, name)


def parse_policy(data: bytes, name: str) -> Policy:
    """Parse a policy's bytes. Raises PolicyError listing every error as `NAME:LINE: what`."""
    try:
        text = data.decode("utf-8")
        document = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise PolicyError(f"{name}: is not TOML: {error}", hint="see docs/policies.md") from error
    try:
        return Policy.model_validate(_tuples(document))
    except ValidationError as error:
        lines = text.splitlines()
        said = [
            f"{name}:{_line_of(lines, problem['loc'])}: {_place(problem['loc'])}{problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False)
        ]
        raise PolicyError(
            "; ".join(said), hint="see docs/policies.md, policies/schema.json"
        ) from error


def built_in_names() -> tuple[str, ...]:
    """Names of the policies that come with the tool, the default first."""
    found = sorted(
        p.name.removesuffix(".toml") for p in _folder().iterdir() if p.name.endswith(".toml")
    )
    return (DEFAULT_POLICY, *(name for name in found if name != DEFAULT_POLICY))


def policy_schema() -> dict[str, Any]:
    """JSON Schema of a policy file, for editors."""
    schema = Policy.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def data_folder(name: str) -> Traversable:
    """A folder of data files: inside the installed package, else in the source tree."""
    packaged = resources.files("pratique") / "_data" / name
    if packaged.is_dir():
        return packaged
    return Path(__file__).resolve().parents[3] / name


def _folder() -> Traversable:
    return data_folder("policies")


def _built_in(name: str) -> bytes:
    return (_folder() / f"{name}.toml").read_bytes()


def _tuples(value: object) -> object:
    """TOML's arrays as tuples: strict models take nothing else."""
    if isinstance(value, dict):
        return {key: _tuples(child) for key, child in value.items()}
    if isinstance(value, list):
        return tuple(_tuples(child) for child in value)
    return value


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) + ": " if location else ""


def _line_of(lines: list[str], location: tuple[int | str, ...]) -> int:
    """The line where the thing at `location` is set; the nearest table header, or 1, if it is not."""
    best, best_depth = 1, 0
    table: tuple[int | str, ...] = ()
    counts: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if match := _HEADER.match(line):
            name = match[2].strip('"')
            if match[1] == "[[":
                counts[name] = counts.get(name, -1) + 1
                table = (name, counts[name])
            else:
                table = tuple(part.strip('"') for part in name.split("."))
            here = table
        elif match := _KEY.match(line):
            here = (*table, match[1].strip('"'))
        else:
            continue
        depth = len(here)
        if location[:depth] == here and depth > best_depth:
            best, best_depth = number, depth
    return best

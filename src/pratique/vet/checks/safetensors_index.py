"""An index and its shards tell the same story: every tensor once, in the shard that it names."""

import re
from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding
from pratique.core.ids import path_problem, shown
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.formats.json_strict import JsonObject
from pratique.vet.check import Check, refuse
from pratique.vet.fields import beside, configs
from pratique.vet.repo import Entry, NotHere, Repo
from pratique.vet.roles import Role

_REMEDY: Final = "save the model again with save_pretrained, so that index and shards agree"
_SHARD: Final = re.compile(r"(?P<stem>.+)-(?P<n>\d{5})-of-(?P<m>\d{5})\.safetensors\Z")


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    indexed: set[str] = set()
    for entry, index in configs(repo, Role.INDEX):
        weight_map = index.get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            yield refuse(CHECK.id, entry.path, "has no weight_map", _REMEDY)
            continue
        yield from _against_shards(repo, entry, weight_map, indexed)
        if ".safetensors." in entry.name:
            yield from _total_size(entry, index)
    yield from _complete_sets(repo, indexed)


def _against_shards(
    repo: Repo, entry: Entry, weight_map: JsonObject, indexed: set[str]
) -> Iterator[Finding]:
    shards: dict[str, set[str]] = {}
    for tensor, shard in weight_map.items():
        if not isinstance(shard, str) or path_problem(shard) is not None:
            yield refuse(
                CHECK.id,
                entry.path,
                f"sends tensor {shown(tensor)} to {shown(str(shard))}",
                _REMEDY,
            )
            return
        shards.setdefault(shard, set()).add(tensor)
    for shard, tensors in shards.items():
        path = beside(entry, shard)
        indexed.add(path)
        if not repo.has(path):
            yield refuse(
                CHECK.id, entry.path, f"names the shard {shown(shard)}, which is not here", _REMEDY
            )
        elif repo.role(path) is Role.WEIGHTS:
            yield from _one_shard(repo, entry, path, tensors)


def _one_shard(repo: Repo, entry: Entry, path: str, tensors: set[str]) -> Iterator[Finding]:
    try:
        inside = set(repo.safetensors(path).tensors)
    except (NotHere, FormatError):
        return
    if missing := sorted(tensors - inside):
        yield refuse(
            CHECK.id,
            entry.path,
            f"promises {shown(missing[0])} in {shown(path)}, which has no such tensor",
            _REMEDY,
        )
    if extra := sorted(inside - tensors):
        yield refuse(
            CHECK.id,
            path,
            f"holds {shown(extra[0])}, which the index puts elsewhere or omits",
            _REMEDY,
        )


def _total_size(entry: Entry, index: JsonObject) -> Iterator[Finding]:
    metadata = index.get("metadata")
    if not isinstance(metadata, dict) or "total_size" not in metadata:
        return
    total = metadata["total_size"]
    if isinstance(total, bool) or not isinstance(total, int | float) or total < 0:
        yield refuse(CHECK.id, entry.path, f"has the total_size {shown(str(total))}", _REMEDY)


def _complete_sets(repo: Repo, indexed: set[str]) -> Iterator[Finding]:
    """Numbered shards without an index, or with a number missing, load as something else."""
    groups: dict[tuple[str, str, int], set[int]] = {}
    # While a fetch has not brought an index yet, nobody can say what it names.
    all_read = all(repo.here(entry.path) for entry in repo.with_role(Role.INDEX))
    for entry in repo.with_role(Role.WEIGHTS):
        if match := _SHARD.match(entry.name):
            key = (entry.folder, match["stem"], int(match["m"]))
            groups.setdefault(key, set()).add(int(match["n"]))
            if entry.path not in indexed and all_read and repo.stage >= Stage.CODE_AND_CONFIG:
                yield refuse(CHECK.id, entry.path, "is a shard that no index names", _REMEDY)
    for (folder, stem, count), numbers in groups.items():
        missing = sorted(set(range(1, count + 1)) - numbers)[:1] if count <= 10_000 else [0]
        if missing or max(numbers) > count:
            where = f"{folder}/{stem}" if folder else stem
            yield refuse(
                CHECK.id, where, f"lacks shard {missing[0] if missing else '?'} of {count}", _REMEDY
            )


CHECK: Final = Check("safetensors-index", "Index and shards agree", Stage.CODE_AND_CONFIG, _run)

"""Attention and expert implementations: the library's own pass, Hub kernels by allowance, else refused.

A kernel is native code that transformers fetches from the Hub when a configuration names
`ORG/NAME[@REV][:FUNCTION]` as an implementation (integrations/hub_kernels.py).
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding, Severity
from pratique.core.ids import Digest, shown
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.formats.json_strict import Json
from pratique.vet.check import Check, approve, refuse
from pratique.vet.fields import configs, walk
from pratique.vet.repo import Entry, Repo

_KEY: Final = re.compile(r"_?(?:attn|attention|experts?|moe)_implementation(?:_internal)?\Z")
_SWITCHES: Final = frozenset(
    {"use_kernels", "allow_all_kernels", "_kernels", "kernel_config", "hub_kernels"}
)
_OWN: Final = re.compile(
    r"(?:paged\|)?(?:eager(?:_paged)?|sdpa(?:_paged)?|flash_attention_[234]|flash_paged|flex_attention|"
    r"xformers|batched_mm|grouped_mm|deepgemm|sonicmoe|cutlass|megablocks|default|auto|native|flash|triton)\Z"
)
_KERNEL: Final = re.compile(
    r"(?:paged\|)?[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(?:@[\w.-]+)?(?::\w+)?\Z"
)
_PATH: Final = re.compile(r"(?:[./~\\]|[A-Za-z]:[\\/]|\w+://)")
_REMEDY: Final = "use an implementation of the library (sdpa, eager, flash_attention_2, …)"


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    for entry, config in configs(repo):
        for place, key, value, _ in walk(config):
            if _KEY.match(key):
                for name in _names(value):
                    yield from _named(entry, place, name)
            elif key in _SWITCHES and value not in (None, False, "", {}, []):
                for name in _names(value) or (str(value),):
                    yield _local(entry, place, name) or _kernel(entry, place, name)


def _names(value: Json) -> tuple[Json, ...]:
    if isinstance(value, dict):
        return tuple(v for child in value.values() for v in _names(child))
    if isinstance(value, list):
        return tuple(v for child in value for v in _names(child))
    return (value,)


def _named(entry: Entry, place: str, name: Json) -> Iterator[Finding]:
    if name is None or (isinstance(name, str) and _OWN.match(name)):
        return
    if isinstance(name, str) and _KERNEL.match(name):
        yield _kernel(entry, place, name)
    else:
        yield refuse(
            CHECK.id,
            entry.path,
            f"{place} names the unknown implementation {shown(str(name))}",
            _REMEDY,
            Severity.HIGH,
        )


def _local(entry: Entry, place: str, name: Json) -> Finding | None:
    """A kernel from a path of the serving machine: nobody can review or pin what lies there."""
    if not isinstance(name, str) or not _PATH.match(name):
        return None
    return refuse(
        CHECK.id,
        entry.path,
        f"{place} loads native code from the path {shown(name)}",
        _REMEDY,
        Severity.CRITICAL,
    )


def _kernel(entry: Entry, place: str, name: Json) -> Finding:
    return approve(
        CHECK.id,
        entry.path,
        f"{place} takes native code from the Hub: {shown(str(name))}",
        f"review the kernel and allow it by digest, or {_REMEDY}",
        digest=Digest(hashlib.sha256(f"{place}={name}".encode()).hexdigest()),
        severity=Severity.HIGH,
    )


CHECK: Final = Check("hub-kernels", "Hub kernels by allowance only", Stage.CODE_AND_CONFIG, _run)

"""A pickle is a program. It is refused under any name and in any container but a clean torch zip.

Recognised by its opcodes, from the head: a refused pickle is never read to its end. Legacy torch
files (a bare pickle) and tar files are refused for the same reason.
"""

import re
from collections.abc import Iterator
from typing import Final

from pratique.core.findings import Finding, Severity
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.formats import pickles, raw_array, zips
from pratique.vet import onnx_data
from pratique.vet.check import Check, note, refuse
from pratique.vet.repo import HEAD, MIB, Entry, Repo
from pratique.vet.roles import Role

_REMEDY: Final = "publish the weights as safetensors; nothing that unpickles is let in"
# What transformers, PEFT, diffusers, sentence-transformers and trainers load under these endings.
_LOADED: Final = re.compile(
    r"(?i)(?:pytorch_|diffusion_|adapter_|flax_|tf_|sparse_|non_lora_)?(?:pytorch_)?model|adapter|consolidated|training_args|optimizer|"
    r"scheduler|rng_state|scaler|checkpoint|weights|embeds|learned_embeds|pytorch_lora|mm_projector|spk_dict"
)
_MAX_SEARCHED: Final = 16 * MIB
# Their own strict parsers account for every byte, or read no further than text.
_NOT_SEARCHED: Final = frozenset(
    {Role.WEIGHTS, Role.GGUF, Role.ONNX, Role.ONNX_DATA, Role.FOREIGN, Role.TORCH}
)


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    del policy
    for entry in repo.files:
        head = repo.head(entry.path, HEAD)
        if not head:
            if entry.role is Role.TORCH and repo.here(entry.path):
                yield refuse(CHECK.id, entry.path, "is empty where weights belong", _REMEDY)
            continue
        sign = pickles.identify(head, whole=len(head) == entry.size)
        if sign is not None:
            yield _refused(entry, sign)
        elif entry.role is Role.TORCH and onnx_data.may_be_named(repo, entry.path):
            continue  # raw tensors of an ONNX model: the `onnx` check holds it to their extent
        elif entry.role is Role.TORCH and _is_raw_array(entry, head):
            yield note(CHECK.id, entry.path, "is a raw array of numbers that no loader reads")
        elif entry.role is Role.TORCH and not head.startswith(zips.LOCAL_MAGIC):
            yield refuse(
                CHECK.id,
                entry.path,
                "is no torch zip file; nothing else is read under this name",
                _REMEDY,
            )
        elif (
            entry.role not in _NOT_SEARCHED
            and repo.here(entry.path)
            and entry.size <= _MAX_SEARCHED
        ):
            yield from _inside(repo, entry)


def _is_raw_array(entry: Entry, head: bytes) -> bool:
    """Plain numbers under a name that no loader looks for."""
    return (
        entry.name.endswith((".bin", ".dat"))
        and not _LOADED.match(entry.name)
        and raw_array.element_size(head, entry.size) is not None
    )


def _refused(entry: Entry, sign: pickles.PickleSign) -> Finding:
    names = f" ({', '.join(sign.names[:3])})" if sign.names else ""
    return refuse(
        CHECK.id, entry.path, f"is a pickle: it {sign.reason}{names}", _REMEDY, Severity.CRITICAL
    )


def _inside(repo: Repo, entry: Entry) -> Iterator[Finding]:
    found = pickles.find_inside(repo.read(entry.path, _MAX_SEARCHED))
    if found is not None:
        offset, sign = found
        yield refuse(
            CHECK.id,
            entry.path,
            f"{sign.reason} {sign.names[0]} at byte {offset}",
            "remove it; no ordinary file of this kind holds one",
            Severity.CRITICAL,
        )


CHECK: Final = Check("pickle", "No pickles, under any name", Stage.HEADERS, _run)

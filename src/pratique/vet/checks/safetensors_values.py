"""Weights without NaN or infinity, where the policy asks for it (`vet.scan_nan`)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from pratique.core.findings import Finding
from pratique.core.ids import shown
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.errors import FormatError
from pratique.formats.safetensors import TensorInfo
from pratique.vet.check import Check, refuse
from pratique.vet.repo import Entry, Repo
from pratique.vet.roles import Role

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BLOCK: Final = 2**18  # stays in the cache
# dtype -> (bytes per element, mask of the exponent): all exponent bits set means NaN or infinity.
_EXPONENTS: Final = {
    "F16": (2, 0x7C00),
    "BF16": (2, 0x7F80),
    "F32": (4, 0x7F800000),
    "F64": (8, 0x7FF0 << 48),
}


def _run(repo: Repo, policy: Policy) -> Iterator[Finding]:
    if not policy.vet.scan_nan:
        return
    for entry in repo.with_role(Role.WEIGHTS):
        if not repo.here(entry.path):
            continue
        try:
            header = repo.safetensors(entry.path)
        except FormatError:
            continue
        bad = [
            t.name
            for t in header.tensors.values()
            if t.dtype in _EXPONENTS and _broken(repo, entry, t, header.data_start)
        ]
        if bad:
            yield refuse(
                CHECK.id,
                entry.path,
                f"{len(bad)} tensors hold NaN or infinity, the first {shown(bad[0])}",
                "these weights are broken; get them from their author again",
            )


def _broken(repo: Repo, entry: Entry, tensor: TensorInfo, data_start: int) -> bool:
    import numpy as np  # noqa: PLC0415  # only this optional check pays for numpy

    width, mask = _EXPONENTS[tensor.dtype]
    with repo.open(entry.path) as file:
        file.seek(data_start + tensor.begin)
        left = tensor.end - tensor.begin
        while left:
            block = file.read(min(left, _BLOCK))
            if not block:
                raise FormatError("is cut short")
            left -= len(block)
            if _has_all(np.frombuffer(block, dtype=f"<u{width}"), mask):
                return True
    return False


def _has_all(values: "NDArray[np.unsignedinteger]", mask: int) -> bool:
    """Whether any value has all bits of `mask` set: then the masked maximum is the mask itself."""
    wanted = values.dtype.type(mask)
    return bool(values.size) and int((values & wanted).max()) == mask


CHECK: Final = Check("safetensors-values", "Numbers that are numbers", Stage.CONTENT, _run)

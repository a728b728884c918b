"""Matrices laid out once, after loading, the way the processor's wide kernels read them.

A product with few rows, as when one token is computed for each running sequence, spends most of its
time on laying the matrix out anew: torch does so for every call. Its oneDNN kernels take a matrix that
was laid out before (what torch's own compiler emits for frozen weights). The values stay what they
are; sums are taken in another order, as they are already whenever the number of rows differs.

Originals are dropped: pages of a mapped file go back to the kernel as soon as they were read, so that
a packed model needs no more memory than a mapped one, but for a head that shares the embedding.
"""

import ctypes
import mmap
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import torch

from pratique.jobs.worker_batch import STATES
from pratique.jobs.worker_memory import is_out_of_memory

_DTYPES: Final = (torch.float32, torch.bfloat16)
_TRIED_ROWS: Final = 2
_NEAR: Final = {torch.float32: 1e-4, torch.bfloat16: 2e-2}
"""How far a product may be from the ordinary one, of the largest value."""
_SMALL: Final = 2**20
"""Bytes below which a tensor is copied."""
_SWEEP: Final = 2**26
"""Bytes that are read before what they mapped again is given back."""


class _Absent(torch.Tensor):
    """Says what a matrix was like that is packed now; whoever wants more gets a TypeError.

    torch itself would not complain: a product with a tensor that holds no data is whatever lay in memory,
    and to write into one does nothing.
    """

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - torch's signature
        """Answer what can be answered."""
        if func == _DEVICE:  # where the layer computes, so that inputs are not moved away
            return torch.device("cpu")
        if func not in _SAID:
            raise TypeError("the matrix is packed")
        return super().__torch_function__(func, types, args, kwargs)  # type: ignore[no-untyped-call]


_of: Any = torch.Tensor
_DEVICE: Final = _of.device.__get__
_SAID: Final = frozenset({
    _of.shape.__get__, _of.dtype.__get__, _of.ndim.__get__, _of.requires_grad.__get__,
    _of.size, _of.dim, _of.numel, _of.is_floating_point,
})  # fmt: skip


class PackedLinear(torch.nn.Module):
    """A linear layer whose matrix is packed. `weight` says shape and dtype, and holds no data."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias = linear.bias
        self.weight = linear.weight.detach().to("meta").as_subclass(_Absent)
        kernels: Any = torch.ops.mkldnn  # a build may lack them: AttributeError
        # torch's compiler calls these two; they have no other name.
        self._multiply = kernels._linear_pointwise  # noqa: SLF001
        self._packed = kernels._reorder_linear_weight(linear.weight.detach())  # noqa: SLF001

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the product of `rows` [..., in_features], [..., out_features]."""
        made: torch.Tensor = self._multiply(rows, self._packed, self.bias, "none", [], "")
        return made


class NotPackable(Exception):
    """This model cannot be packed here, and what was begun is to be thrown away."""


def pack(model: Any) -> bool:  # noqa: ANN401 - transformers has no annotations
    """Pack every plain linear layer of a model on the CPU; return whether there were any.

    Raises NotPackable where a kernel is missing or gives another product, or where the model looks into
    its matrices itself: it is of no use then and has to be loaded again. MemoryError and RuntimeError
    if memory runs out.
    """
    places = _places(model)
    found = bool(places)
    try:
        with torch.inference_mode():
            _take_small(model)
            _replace(places, _Mapped(model))
            _try(model)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise NotPackable from error
    return found


Places = dict[torch.nn.Linear, list[tuple[torch.nn.Module, str]]]
"""Each layer, and where it hangs in the model."""


def _places(model: torch.nn.Module) -> Places:
    found: Places = {}
    for parent in model.modules():
        for name, child in parent._modules.items():  # noqa: SLF001 - named_children() leaves out twins
            # A subclass may do more than multiply; quantised layers are such.
            if type(child) is torch.nn.Linear and child.weight.dtype in _DTYPES:
                found.setdefault(child, []).append((parent, name))
    return found


def _replace(places: Places, mapped: "_Mapped") -> None:
    """Put a packed layer into each place. Takes `places` apart, so that no original is held for long."""
    tried: set[tuple[torch.Size, torch.dtype]] = set()
    while places:
        linear, hooks = places.popitem()
        layer = PackedLinear(linear)
        if (kind := (linear.weight.shape, linear.weight.dtype)) not in tried:
            _compare(linear, layer)
            tried.add(kind)
        for parent, name in hooks:
            setattr(parent, name, layer)
        mapped.give_back(linear.weight)
    mapped.sweep()


def _take_small(model: torch.nn.Module) -> None:
    """Copy small tensors first: a look at one in a mapped file maps up to 2 MiB of its neighbours again.

    A matrix that will be packed is a copy soon enough, unless it is an embedding too: that stays one
    parameter, and so it stays shared.
    """
    shared = _shared(model)
    for module in model.modules():
        packed = module.weight.data_ptr() if type(module) is torch.nn.Linear else 0
        for parameter in module.parameters(recurse=False):
            leaves = parameter.data_ptr() == packed and packed not in shared
            if parameter.nbytes < _SMALL and not leaves:
                parameter.data = parameter.data.clone()


def _shared(model: torch.nn.Module) -> set[int]:
    """Where tensors lie that more than one module has."""
    owners = Counter(
        tensor.data_ptr()
        for module in model.modules()
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False))
    )
    return {place for place, modules in owners.items() if modules > 1}


def _compare(linear: torch.nn.Linear, layer: PackedLinear) -> None:
    """Raise ValueError unless both give the same product."""
    rows = torch.linspace(-1, 1, _TRIED_ROWS * linear.in_features, dtype=torch.float32)
    rows = rows.sin().view(_TRIED_ROWS, -1).to(linear.weight.dtype)
    wanted, made = linear(rows).float(), layer(rows).float()
    if not (wanted - made).abs().max() <= _NEAR[linear.weight.dtype] * wanted.abs().max():
        raise ValueError("the packed kernel gives another product")


def _try(model: Any) -> None:  # noqa: ANN401 - as above
    """A prompt and a token: a model that looks into its matrices itself fails here, not at a request."""
    made = model(input_ids=torch.zeros((1, _TRIED_ROWS), dtype=torch.long))
    for name in STATES:
        if (state := getattr(made, name, None)) is not None:
            model(input_ids=torch.zeros((1, 1), dtype=torch.long), **{name: state})


class _Mapped:
    """The parts of this process's memory that are private mappings of files."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._advise = ctypes.CDLL(None, use_errno=True).madvise
        self._advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        self._ranges = list(_file_ranges())
        self._shared = _shared(model)
        self._given: list[torch.Tensor] = []
        self._read = 0

    def give_back(self, tensor: torch.Tensor) -> None:
        """Let the kernel have a mapped tensor's pages; who reads them again reads the file again.

        Memory that is no file's is left alone, and so is what another module has too, such as a head
        that is the embedding: what was written to it since would be lost.
        """
        start = tensor.data_ptr()
        end = start + tensor.nbytes
        mapped = any(low <= start and end <= high for low, high in self._ranges)
        if start in self._shared or not mapped:
            return
        self._drop(start, end)
        # Held, so that the mapping stays where it is until the last sweep.
        self._given.append(tensor)
        self._read += tensor.nbytes
        if self._read >= _SWEEP:
            self.sweep()

    def sweep(self) -> None:
        """Give back once more what reading its neighbours has mapped again since, as one where it touches."""
        self._read = 0
        low = high = 0
        for start, size in sorted((t.data_ptr(), t.nbytes) for t in self._given):
            if start > high:
                self._drop(low, high)
                low = start
            high = max(high, start + size)
        self._drop(low, high)

    def _drop(self, start: int, end: int) -> None:
        page = mmap.PAGESIZE
        first, last = -(-start // page) * page, end // page * page
        if last > first:
            self._advise(first, last - first, mmap.MADV_DONTNEED)


def _file_ranges() -> Iterator[tuple[int, int]]:
    for line in Path("/proc/self/maps").read_text(errors="replace").splitlines():
        words = line.split(maxsplit=5)
        if len(words) == 6 and words[4] != "0" and words[1][3] == "p":
            low, _, high = words[0].partition("-")
            yield int(low, 16), int(high, 16)

"""Large buffers of the cache: memory of their own, zeroed by the kernel, gone when they are let go.

The C library keeps what is freed for what comes next, and takes ever larger pieces into that keeping: a
cache that grows leaves holes behind that nothing fits into. Telling it to map everything large would cost
the forward pass a page fault for each page of each activation; only the cache's buffers are mapped here.
"""

import mmap
from collections.abc import Sequence

import torch

from pratique.fit.memory import MAPPED


def zeros(like: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Return zeros of a shape, of the dtype and on the device of `like`. Pages cost memory once used."""
    size = torch.Size(shape).numel() * like.element_size()
    if like.device.type != "cpu" or size < MAPPED:
        return like.new_zeros(shape)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(memory, dtype=like.dtype).view(shape)  # the tensor keeps the mapping


def copied(tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy that shares no memory."""
    return zeros(tensor, tensor.shape).copy_(tensor)

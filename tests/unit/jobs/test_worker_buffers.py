"""Large buffers are zero, cost nothing until they are used, and go back when they are let go."""

import gc

import pytest
import torch

from pratique.jobs.worker_buffers import copied, zeros
from pratique.jobs.worker_memory import resident


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.int8])
@pytest.mark.parametrize("shape", [(2, 3, 5), (4, 2, 1024, 128), (0, 2)])
def test_zeros_are_zeros_that_can_be_written(dtype, shape):
    made = zeros(torch.ones(1, dtype=dtype), shape)
    assert made.dtype is dtype
    assert tuple(made.shape) == shape
    assert made.is_contiguous()
    assert not made.any()
    made += 1
    assert bool((made == 1).all())


def test_a_copy_is_equal_and_apart():
    tensor = torch.randn(4, 1024, 512).transpose(0, 1)
    copy = copied(tensor)
    assert torch.equal(copy, tensor)
    copy.zero_()
    assert tensor.any()


def test_memory_comes_with_use_and_goes_with_the_last_view():
    size = 256 * 2**20
    before, _ = resident()
    made = zeros(torch.ones(1, dtype=torch.uint8), (size,))
    assert resident()[0] - before < size // 8
    view = made.fill_(1)[size // 2 :]
    del made
    assert resident()[0] - before > size // 2
    assert int(view.sum(dtype=torch.int64)) == size // 2
    del view
    gc.collect()
    assert resident()[0] - before < size // 8

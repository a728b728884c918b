"""What a worker says of its memory is its own, and what it is done with is given back at once."""

import gc
import os
import subprocess
import sys
import weakref

import torch

from pratique.jobs.worker_cache import SlotCache
from pratique.jobs.worker_memory import resident
from pratique.serve.launch import worker_environment


def test_a_finished_cache_is_gone_without_a_collection():
    cache = SlotCache()
    cache.reserve(1, 4)
    cache.update(torch.zeros(1, 2, 4, 8), torch.zeros(1, 2, 4, 8), 0)
    keys = weakref.ref(cache.layers[0].keys)
    assert keys() is not None
    gc.disable()
    try:
        del cache
        assert keys() is None
    finally:
        gc.enable()


def test_the_peak_is_not_that_of_the_program_that_started_it():
    large = b"x" * (512 * 2**20)
    code = "from pratique.jobs.worker_memory import resident; print(*resident())"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, timeout=120
    )
    now, peak = map(int, said.stdout.split())
    assert 2**26 < now <= peak < len(large)
    assert resident()[1] > len(large)


def test_kernels_of_shapes_that_do_not_come_again_are_let_go():
    code = """
import torch
from pratique.jobs.worker_memory import resident
x, w = torch.ones(420, 256, dtype=torch.bfloat16), torch.ones(384, 256, dtype=torch.bfloat16)
with torch.inference_mode():
    for rows in range(1, 21):
        torch.nn.functional.linear(x[:rows], w)
    before = resident()[0]
    for rows in range(21, 421):
        torch.nn.functional.linear(x[:rows], w)
print(resident()[0] - before)
"""
    environment = {**os.environ, **worker_environment(threads=1)}
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, timeout=120, env=environment
    )
    assert int(said.stdout) < 96 * 2**20  # without a bound 400 of them come to 260 MiB

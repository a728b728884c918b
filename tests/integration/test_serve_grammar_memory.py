"""Structured output in a real worker process takes what was predicted of it, and no more."""

from pathlib import Path

import pytest
from benchmarks.fit import Worker, drive, drive_structured
from benchmarks.tokenizer import write as write_large_tokenizer

from pratique.core.load import Limits
from pratique.core.rungs import Rung
from pratique.fit import Demand, predict, read_shape
from pratique.fit.memory import GRAMMAR
from tests.support import models

CONTEXT, ROWS = 256, 4


def peak_of(worker: Worker) -> int:
    """Its highest resident size so far, in bytes."""
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


@pytest.mark.slow
@pytest.mark.parametrize("tokens", [0, 150_000])
def test_schemas_in_all_rows_take_what_is_predicted(tmp_path: Path, tokens: int) -> None:
    directory = models.write_model(tmp_path / "model", "llama", padded_rows=max(0, tokens - 384))
    if tokens:
        write_large_tokenizer(directory, tokens)
    shape = read_shape(directory)
    assert not tokens or shape.vocabulary == tokens <= shape.tree
    demand = Demand(context=CONTEXT, rows=ROWS, kv_tokens=ROWS * CONTEXT)
    worker = Worker(
        directory, Limits(context=CONTEXT, rows=ROWS, kv_tokens=demand.kv_tokens, threads=1)
    )
    drive(worker, embeds=False, context=CONTEXT, rows=ROWS)
    plain = peak_of(worker)
    for _ in range(3):  # what is given back is used again
        drive_structured(worker, directory, context=CONTEXT, rows=ROWS)
    whole = worker.finish()
    found = predict(shape, Rung.AUTO, demand).host
    assert whole - plain > GRAMMAR // 8  # else nothing was tried
    assert whole - plain <= found["grammars"] <= 2 * (whole - plain)
    assert plain <= sum(found.values()) - found["grammars"]
    assert whole <= sum(found.values()) <= 1.25 * whole

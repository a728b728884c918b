"""Predicted over measured peak memory of the worker, for five families and held-out shapes on CPU.

    python benchmarks/fit.py [--scale N] [--held-out] [NAME …]

Each model is written with random weights, served by the real worker process, and driven to what the
prediction is for: the whole cache filled, the widest prompt, all rows at once; and once more with all rows
held to schemas, one of them among the worst that are let through. The measured figure is the process's
highest resident size. A ratio below 1.00 is a broken promise, above 1.25 a wasted machine.
"""

import argparse
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.fit_shapes import CASES, Case, write_case  # noqa: E402

from pratique.core.load import Limits, LoadSpec  # noqa: E402
from pratique.core.rungs import Rung  # noqa: E402
from pratique.core.wire import (  # noqa: E402
    Beat,
    Embed,
    Fault,
    Frames,
    Generate,
    Load,
    Loaded,
    Sampling,
    Stop,
    encode,
    parse_from_worker,
)
from pratique.fit import Demand, predict, read_machine, read_shape  # noqa: E402
from pratique.serve.launch import worker_environment  # noqa: E402
from tests.support import models  # noqa: E402
from tests.support.schemas import ORDINARY, WORST  # noqa: E402
from tests.support.serving import files_of  # noqa: E402

CONTEXT, ROWS = 512, 6


class Worker:
    """A real worker process, without the lock (which changes no memory)."""

    def __init__(
        self,
        directory: Path,
        limits: Limits,
        files: Any = None,
        *,
        rung: Rung = Rung.AUTO,
        packed: bool = False,
    ) -> None:
        ours, theirs = socket.socketpair()
        code = f"import socket; from pratique.jobs.worker import main; main(socket.socket(fileno={theirs.fileno()}))"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            pass_fds=[theirs.fileno()],
            env={  # as `serve` starts it
                **os.environ,
                **worker_environment(threads=limits.threads),
            },
        )
        theirs.close()
        self._sock = ours
        self.messages = self._read()
        spec = LoadSpec(
            model_dir=str(directory),
            files=files or files_of(directory),
            rung=rung,
            packed=packed,
            limits=limits,
        )
        self.send(Load(spec=spec))
        self.loaded = next(self.messages)
        assert isinstance(self.loaded, Loaded), self.loaded

    def send(self, message: Any) -> None:
        self._sock.sendall(encode(message))

    def _read(self) -> Iterator[Any]:
        frames = Frames()
        while data := self._sock.recv(2**20):
            for body in frames.feed(data):
                yield parse_from_worker(body)

    def finish(self) -> int:
        """Stop it; return its highest resident size in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        self.send(Stop())
        self.process.wait(60)
        return int(peak.split()[1]) * 1024


def spread(rows: int, length: int, vocabulary: int) -> tuple[tuple[int, ...], ...]:
    """Token ids from all over the vocabulary: rows of an embedding nobody asks for are not resident."""
    count = rows * length
    return tuple(
        tuple((row + at * rows) * vocabulary // count for at in range(length))
        for row in range(rows)
    )


def drive(worker: Worker, *, embeds: bool, context: int = CONTEXT, rows: int = ROWS) -> None:
    """Fill what the prediction is for.

    And then texts of many lengths: in half precision the library keeps a kernel for each.
    """
    lengths = range(3, min(context - 2, 510, worker.loaded.context), 8)
    if embeds:
        length = worker.loaded.context
        texts = max(rows, -(-4 * 512 // length))  # as many tokens as an encoder takes at once
        sizes = [(texts, length - less) for less in range(8)] + [(1, size) for size in lengths]
        for at, (count, size) in enumerate(sizes):
            ids = spread(count, size, worker.loaded.vocabulary)
            worker.send(Embed(id=1 + at, tokens=ids))
        wanted = len(sizes)
    else:
        # The first row goes on until the last has joined: a prompt takes one turn per 512 tokens.
        answer = rows * -(-context // 512) + 4
        for at, ids in enumerate(spread(rows, context - answer - 2, worker.loaded.vocabulary)):
            worker.send(
                Generate(
                    id=at + 1,
                    tokens=ids,
                    max_tokens=answer,
                    ignore_eos=True,
                    scope=1,
                )
            )
        for at, length in enumerate(lengths):
            ids = spread(1, length, worker.loaded.vocabulary)[0]
            worker.send(
                Generate(id=rows + 1 + at, tokens=ids, max_tokens=1, ignore_eos=True, scope=1)
            )
        wanted = rows + len(lengths)
    for message in worker.messages:
        if message.op in {"done", "vectors"}:
            wanted -= 1
        elif message.op == "failed":
            raise SystemExit(f"the worker refused: {message}")
        if not wanted:
            break
    if embeds:
        assert isinstance(next(worker.messages), Beat)


def drive_structured(
    worker: Worker, directory: Path, *, context: int = CONTEXT, rows: int = ROWS
) -> None:
    """Hold all rows to schemas at once; the strings and lists of their answers do not end."""
    vocab = json.loads((directory / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    ending = itertools.islice((n for t, n in vocab.items() if set(t) & set('"]')), 300)
    sampling = Sampling(temperature=1, seed=1, logit_bias=dict.fromkeys(ending, -100.0))
    for at in range(rows):
        schema = ORDINARY if at else WORST["many strings"]
        worker.send(
            Generate(
                id=10_000 + at,
                tokens=(5,) * 8,
                max_tokens=context - 16,
                scope=1,
                schema=schema,
                sampling=sampling,
            )
        )
    left = rows
    for message in worker.messages:
        left -= message.op in {
            "done",
            "failed",
        }  # one may come to its limits: that is what they are for
        if message.op == "failed" and message.fault is not Fault.SCHEMA_TOO_BIG:
            raise SystemExit(f"the worker refused: {message}")
        if not left:
            return


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=int, default=1, help="multiply the width")
    parser.add_argument("--unpacked", action="store_true", help="leave matrices as they are")
    parser.add_argument("--held-out", action="store_true", help="the shapes of fit_shapes.py")
    parser.add_argument("only", nargs="*")
    options = parser.parse_args()
    packs = read_machine().packs and not options.unpacked
    folder = Path(tempfile.mkdtemp(prefix="pratique-fit-"))
    print(f"{'family':<22} dtype     weights  predicted  measured  ratio   (MiB)")
    worst: list[float] = []
    try:
        worst += [
            measure_case(folder, case, packed=packs)
            for case in (CASES if options.held_out else ())
            if not options.only or case.name in options.only
        ]
        for architecture in () if options.held_out else models.ARCHITECTURES:
            if options.only and architecture not in options.only:
                continue
            worst += [
                measure(folder, architecture, dtype, options.scale, packed=packs)
                for dtype in ("F32", "BF16")
            ]
    finally:
        shutil.rmtree(folder)
    low, high = min(worst), max(worst)
    print(f"ratios {low:.2f} to {high:.2f}; promised 1.00 to 1.25")


def measure(folder: Path, architecture: Any, dtype: Any, scale: int, *, packed: bool) -> float:
    sizes = models.Sizes(
        hidden=768 * scale, layers=8, heads=12, kv_heads=4, head_dim=64, intermediate=2048 * scale,
        context=CONTEXT,
    )  # fmt: skip
    padded = 0 if architecture == "bert" else 32_000
    directory = models.write_model(
        folder / f"{architecture}-{dtype}",
        architecture,
        sizes=sizes,
        dtype=dtype,
        padded_rows=padded,
    )
    if architecture == "deepseek_v3":
        _more_experts(directory, dtype, sizes)
    shape = read_shape(directory)
    context = 256 if architecture == "bert" else CONTEXT  # that tokenizer says so
    demand = Demand(context=context, rows=ROWS, kv_tokens=ROWS * context)
    limits = Limits(context=context, rows=ROWS, kv_tokens=demand.kv_tokens, threads=2)
    packed &= shape.packs
    worker = Worker(directory, limits, packed=packed)
    drive(worker, embeds=architecture == "bert")
    if architecture != "bert":
        drive_structured(worker, directory)
    shutil.rmtree(directory)
    return report(architecture, dtype, shape, demand, worker, packed=packed)


def measure_case(folder: Path, case: Case, *, packed: bool) -> float:
    directory = write_case(case, folder / case.name)
    shape = read_shape(directory)
    demand = Demand(context=case.context, rows=case.rows, kv_tokens=case.rows * case.context)
    limits = Limits(context=case.context, rows=case.rows, kv_tokens=demand.kv_tokens, threads=2)
    packed &= shape.packs
    worker = Worker(directory, limits, packed=packed)
    drive(worker, embeds=case.embeds, context=case.context, rows=case.rows)
    if not case.embeds and shape.tree:
        drive_structured(worker, directory, context=case.context, rows=case.rows)
    shutil.rmtree(directory)
    return report(case.name, case.dtype, shape, demand, worker, packed=packed)


def report(
    name: str, dtype: str, shape: Any, demand: Demand, worker: Worker, *, packed: bool
) -> float:
    """Stop the worker, print one line and return predicted over measured."""
    prediction = predict(shape, Rung.AUTO, demand, packed=packed)
    loaded = worker.loaded.bytes_peak
    done = "packed" if worker.loaded.packed else "as they lie"
    usage = os.times()
    measured = worker.finish()
    cpu = os.times().children_user - usage.children_user
    ratio = prediction.host_total / measured
    mib = 2**20
    parts = " ".join(f"{part}={size // mib}" for part, size in prediction.host.items())
    print(
        f"{name:<22} {dtype:<8} {shape.weights // mib:>8} {prediction.host_total // mib:>10} "
        f"{measured // mib:>9}  {ratio:.2f}   loaded {loaded // mib}, {done}; {parts}; {cpu:.0f} s CPU",
        flush=True,
    )
    return ratio


def _more_experts(directory: Path, dtype: Any, sizes: models.Sizes) -> None:
    """Write the DeepSeek-style model again with experts of a size that is felt."""
    import numpy as np

    path = directory / "config.json"
    config = json.loads(path.read_text()) | {
        "n_routed_experts": 16,
        "moe_intermediate_size": 512,
        "kv_lora_rank": 256,
        "q_lora_rank": 384,
        "qk_rope_head_dim": 32,
        "n_group": 4,
        "topk_group": 2,
        "num_experts_per_tok": 4,
    }
    models.write_json(path, config)
    family = models._FAMILIES["deepseek_v3"]
    rng = np.random.default_rng(0)
    tensors = {
        name: models._random(rng, name, shape, "deepseek_v3")
        for name, shape in family.shapes(config)
    }
    models.write_weights(directory, tensors, dtype=dtype)
    del sizes


if __name__ == "__main__":
    main()

"""Wall time of a verified load against plain `from_pretrained`: one model of about 1 GB, warm cache.

    python benchmarks/load.py [--megabytes 1024] [--repeats 3]

Both load the same files in a fresh process and touch every weight once with one forward pass, since a
mapped file that nobody has read is not loaded. Ours checks every byte against its signed BLAKE3 chunk
first. Interpreter and imports are in both figures.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import blake3  # noqa: E402
from benchmarks.fit import Worker  # noqa: E402

from pratique.core.load import CHUNK_BYTES, Limits, WeightFile  # noqa: E402
from pratique.core.wire import Generate, Sampling, Stop  # noqa: E402
from pratique.fit.machine import read_cpus, read_machine  # noqa: E402
from tests.support import models  # noqa: E402
from tests.support.serving import files_of  # noqa: E402

PLAIN = """
import sys, torch, transformers
torch.set_num_threads({cpus})
tokenizer = transformers.AutoTokenizer.from_pretrained({path!r})
model = transformers.AutoModelForCausalLM.from_pretrained({path!r}, dtype="auto").eval()
with torch.inference_mode():
    model(torch.tensor([[5, 6]]))
"""


def chunked(directory: Path) -> tuple[WeightFile, ...]:
    """Describe files as a bundle does, with chunk digests."""
    found = []
    for file in files_of(directory):
        digests = []
        with (directory / file.path).open("rb") as data:
            while piece := data.read(CHUNK_BYTES):
                digests.append(blake3.blake3(piece).hexdigest())
        found.append(file.model_copy(update={"chunks": tuple(digests)}))
    return tuple(found)


def plain(directory: Path, cpus: int) -> float:
    began = time.perf_counter()
    code = PLAIN.format(cpus=cpus, path=str(directory))
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    return time.perf_counter() - began


def ours(directory: Path, files: Any, cpus: int, *, packed: bool) -> tuple[float, float]:
    limits = Limits(context=64, rows=1, kv_tokens=64, threads=cpus)
    began = time.perf_counter()
    worker = Worker(directory, limits, files, packed=packed)
    worker.send(Generate(id=1, tokens=(5, 6), max_tokens=1, sampling=Sampling(temperature=0)))
    next(message for message in worker.messages if message.op == "done")
    seconds = time.perf_counter() - began
    worker.send(Stop())
    worker.process.wait(60)
    return seconds, worker.loaded.seconds_verify


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="pratique-load-"))
    cpus = read_cpus()
    try:
        layers = max(options.megabytes // 64, 1)  # each layer of these sizes is 64 MB in bfloat16
        sizes = models.Sizes(
            hidden=2048, layers=layers, heads=16, kv_heads=4, head_dim=128, intermediate=3584
        )
        directory = models.write_model(folder / "m", "llama", sizes=sizes, dtype="BF16")
        files = chunked(directory)
        total = sum(file.size for file in files)
        plain(directory, cpus)  # warm the page cache
        theirs = min(plain(directory, cpus) for _ in range(options.repeats))
        print(f"{total / 1e9:.2f} GB: from_pretrained {theirs:.2f} s (promised: 1.50 of it)")
        for packed in {False, read_machine().packs}:
            results = [ours(directory, files, cpus, packed=packed) for _ in range(options.repeats)]
            wall, verify = min(results)
            print(
                f"verified{', matrices packed' if packed else ''}: {wall:.2f} s, of which "
                f"checking {verify:.2f} s; ratio {wall / theirs:.2f}",
                flush=True,
            )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()

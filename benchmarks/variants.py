"""Peak memory and speed of variants made at seal time, against the original, on CPU.

    python benchmarks/variants.py [--layers N] [--variant nf4 …] [--rounds N]

A random Llama in bfloat16 (about 0.8 thousand million parameters), its quantised copies made by the very
job that `seal --variant` starts, and the real worker on each: highest resident size, tokens per second.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.fit import Worker, drive  # noqa: E402
from benchmarks.fit_shapes import Case, write_case  # noqa: E402

from pratique.core.load import Limits  # noqa: E402
from pratique.core.rungs import Rung  # noqa: E402
from pratique.core.variants import SETTINGS, is_top_weights  # noqa: E402
from pratique.core.wire import Generate  # noqa: E402
from pratique.fit import Demand, predict, read_machine, read_shape  # noqa: E402
from tests.support.serving import files_of  # noqa: E402

CONTEXT, ROWS, MIB, _ANSWER = 256, 2, 2**20, 64
CODE = "import sys; from pratique.jobs.quantise import run; run(sys.stdin.buffer.read(), lambda _: None)"


def quantised(model: Path, variant: str) -> Path:
    """Make a variant beside the model, as sealing does."""
    target = model.parent / "variants" / variant
    target.mkdir(parents=True)
    request = {
        "model_dir": str(model),
        "files": [f.model_dump(include={"path", "size", "sha256"}) for f in files_of(model)],
        "variant": variant,
        "output_dir": str(target),
        "threads": 2,
    }
    subprocess.run(
        [sys.executable, "-c", CODE], input=json.dumps(request).encode(), check=True, timeout=1800
    )
    for path in model.iterdir():
        if not is_top_weights(path.name):
            shutil.copyfile(path, target / path.name)
    config = json.loads((model / "config.json").read_text())
    (target / "config.json").write_text(
        json.dumps({**config, "quantization_config": SETTINGS[variant]})  # type: ignore[index]
    )
    return target


def measured(directory: Path, rung: Rung, *, packed: bool) -> tuple[int, int, float]:
    """Return (highest size after loading, highest in all, tokens a second)."""
    limits = Limits(context=CONTEXT, rows=ROWS, kv_tokens=CONTEXT * ROWS, threads=2)
    worker = Worker(directory, limits, rung=rung, packed=packed)
    drive(worker, embeds=False, context=CONTEXT, rows=ROWS)
    started = time.monotonic()
    for row in range(ROWS):
        ids = tuple(range(20, 40))
        worker.send(Generate(id=1000 + row, tokens=ids, max_tokens=_ANSWER, ignore_eos=True))
    for _ in range(ROWS):
        next(message for message in worker.messages if message.op == "done")
    speed = ROWS * _ANSWER / (time.monotonic() - started)
    return worker.loaded.bytes_peak, worker.finish(), speed


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--variant", nargs="*", default=["nf4", "int8"])
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="pratique-variants-"))
    try:
        config = {
            "hidden_size": 2048, "num_hidden_layers": options.layers, "num_attention_heads": 16,
            "num_key_value_heads": 8, "intermediate_size": 5632, "vocab_size": 32_000,
            "max_position_embeddings": 2048, "tie_word_embeddings": True, "bos_token_id": None,
            "eos_token_id": 1, "pad_token_id": 0,
        }  # fmt: skip
        case = Case("variants", "LlamaConfig", "bfloat16", CONTEXT, ROWS, config)
        model = write_case(case, folder / "model")
        places = {"auto": model} | {
            f"variant:{name}": quantised(model, name) for name in options.variant
        }
        shape = read_shape(
            model, variants={name: folder / "variants" / name for name in options.variant}
        )
        demand = Demand(context=CONTEXT, rows=ROWS, kv_tokens=CONTEXT * ROWS)
        packs = read_machine().packs
        rungs = [("auto", False), *([("auto", True)] if packs else [])]
        rungs += [(name, False) for name in places if name != "auto"]
        print("rung                  loaded   peak  predicted  ratio  of auto  tokens/s   (MiB)")
        for _ in range(options.rounds):
            whole = 0
            for name, packed in rungs:
                loaded, peak, speed = measured(places[name], Rung(name), packed=packed)
                whole = whole or peak
                predicted = predict(shape, Rung(name), demand, packed=packed).host_total
                print(
                    f"{name + (', packed' if packed else ''):<21} {loaded // MIB:>6} {peak // MIB:>6} {predicted // MIB:>10} "
                    f"{predicted / peak:>6.2f} {peak / whole:>8.2f} {speed:>9.1f}",
                    flush=True,
                )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()

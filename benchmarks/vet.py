"""`pratique vet` against `openssl dgst -sha256` and other scanners, as ratios of CPU time in one run.

    python benchmarks/vet.py [--gib 4] [--directory DIR]

Start-up (vetting an empty-ish model) is measured and subtracted. Peers are run if they are installed.
"""

import argparse
import json
import os
import pickle
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.support import models

NAN_POLICY = 'schema = "pratique.policy/v1"\nname = "nan"\n[vet]\nscan_nan = true\n[licences]\nallow_categories = ["Permissive"]\n'


def cpu(command: list[str]) -> tuple[float, float, int]:
    """CPU seconds (user + system), wall seconds and exit code of one command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    done = subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return used, time.monotonic() - began, done.returncode


def best(command: list[str], times: int = 3) -> tuple[float, float]:
    """Least CPU and wall of several runs: the machine is shared."""
    runs = [cpu(command) for _ in range(times)]
    return min(r[0] for r in runs), min(r[1] for r in runs)


def big_weights(path: Path, gib: float) -> None:
    """One bf16 tensor of random-looking finite numbers; written from one block."""
    size = int(gib * 2**30) // 2**20 * 2**20
    header = json.dumps(
        {"w": {"dtype": "BF16", "shape": [size // 2], "data_offsets": [0, size]}}
    ).encode()
    block = bytes(b & 0x3F if i % 2 else b for i, b in enumerate(os.urandom(2**20)))
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for _ in range(size // 2**20):
            file.write(block)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=float, default=4.0)
    parser.add_argument("--directory", type=Path)
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp(dir=options.directory))
    pratique = str(Path(sys.executable).with_name("pratique"))
    try:
        small = models.write_model(root / "small", "llama")
        large = models.write_model(root / "large", "llama")
        big_weights(large / "extra.safetensors", options.gib)
        (root / "nan.toml").write_text(NAN_POLICY)
        start_cpu, start_wall = best([pratique, "vet", str(small)], 5)
        print(f"start-up: {start_wall:.2f} s wall, {start_cpu:.2f} s CPU")
        hash_cpu, _ = best(["openssl", "dgst", "-sha256", str(large / "extra.safetensors")])
        print(f"openssl dgst -sha256 of {options.gib:g} GiB: {hash_cpu:.2f} s CPU")
        for label, extra in (
            ("vet", []),
            ("vet with NaN scan", ["--policy", str(root / "nan.toml")]),
        ):
            used, wall = best([pratique, "vet", str(large), *extra])
            print(
                f"{label}: {used:.2f} s CPU, {wall:.2f} s wall, ratio {(used - start_cpu) / hash_cpu:.2f}"
            )
        for peer, command in {
            "modelscan": ["modelscan", "-p"],
            "picklescan": ["picklescan", "-p"],
            "modelaudit": ["modelaudit", "scan"],
        }.items():
            if shutil.which(command[0]):
                used, _ = best([*command, str(large)], 1)
                print(f"{peer}: {used:.2f} s CPU, ratio {used / hash_cpu:.2f}")
            else:
                print(f"{peer}: not installed")
        bad = models.write_model(root / "pickle", "llama")
        with (bad / "pytorch_model.bin").open("wb") as file:
            pickle.dump([i * 1.5 for i in range(5_300_000)], file, protocol=2)
        size = (bad / "pytorch_model.bin").stat().st_size
        used, wall = best([pratique, "vet", str(bad)])
        print(
            f"refused pickle of {size / 2**20:.0f} MiB: {wall:.2f} s wall, {used - start_cpu:.2f} s CPU above start-up"
        )
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()

"""What verification costs, against the peers, on the same bytes in one run.

    python benchmarks/verify.py [--size MIB] [--files N] [--rounds N] [--work DIR] [--json]

Each figure is the median of `--rounds` runs, taken in turns so that noise hits all alike, with the
files in the page cache. Ratios are what counts: the machine's speed cancels out.
"""

import argparse
import hashlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pratique.admit.load import open_admitted
from tests.support.bundles import FIPS, NOW, POLICY, World, make_world

Figures = dict[str, list[tuple[float, float]]]
MIB = 2**20


def write_random(path: Path, size: int) -> None:
    block = os.urandom(16 * MIB)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for _ in range(size // len(block)):
            file.write(block)


def cpu() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of `work`."""
    wall, before = time.perf_counter(), cpu()
    work()
    return time.perf_counter() - wall, cpu() - before


def in_turns(cases: dict[str, Callable[[], object]], rounds: int) -> dict[str, tuple[float, float]]:
    figures: Figures = {name: [] for name in cases}
    for work in cases.values():
        work()  # warm
    for _ in range(rounds):
        for name, work in cases.items():
            figures[name].append(timed(work))
    return {
        name: (statistics.median(w for w, _ in runs), statistics.median(c for _, c in runs))
        for name, runs in figures.items()
    }


def hashlib_sha256(paths: list[Path]) -> None:
    for path in paths:
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")


def run(*command: object) -> None:
    subprocess.run([str(c) for c in command], check=True, capture_output=True)


def seal(world: World, name: str, model: Path) -> Path:
    """Seal and approve a directory that is moved in place, not copied."""
    (world.root / "models").mkdir(exist_ok=True)
    model.rename(world.root / "models" / name)
    sealed = world.sealed(name, {"config.json": b"{}\n"})
    world.approve(sealed)
    shutil.rmtree(world.root / "models" / name)
    return sealed


def large(work: Path, size: int, rounds: int) -> dict[str, float]:
    """One model of two equal files: verify against openssl, hashlib and model_signing."""
    world = make_world(work / "large")
    for part in (1, 2):
        write_random(work / f"raw/model-{part}.safetensors", size * MIB // 2)
    bundle = seal(world, "large", work / "raw")
    payload, signature = bundle / "payload", bundle / "signatures/vetter.sig"
    files = [p for p in payload.rglob("*") if p.is_file()]
    ours = (sys.executable, "-m", "pratique.cli.main", "--home", world.home, "verify")
    peer = (sys.executable, "-m", "model_signing", "verify", "key", payload)
    found = in_turns(
        {
            "pratique verify": lambda: run(*ours, bundle),
            "the same, in process": lambda: world.verify(bundle),
            "in process, fips": lambda: world.verify(bundle, FIPS),
            "hashlib sha256": lambda: hashlib_sha256(files),
            "openssl dgst -sha256": lambda: run("openssl", "dgst", "-sha256", *files),
            "model_signing verify": lambda: run(
                *peer, "--signature", signature, "--public_key", work / "large/vera.pub"
            ),
        },
        rounds,
    )
    show(f"verify a bundle of {size} MiB in two files", found)
    wall = found["pratique verify"][0]
    return {
        "verify CPU / hashlib sha256 CPU": found["the same, in process"][1]
        / found["hashlib sha256"][1],
        "verify wall / openssl wall": wall / found["openssl dgst -sha256"][0],
        "verify wall / model_signing wall": wall / found["model_signing verify"][0],
    }


def reload(work: Path, size: int, rounds: int) -> dict[str, float]:
    """Load-time re-verification of one big admitted file against its SHA-256."""
    world = make_world(work / "reload")
    write_random(work / "one/model.safetensors", size * MIB)
    bundle = seal(world, "one", work / "one")
    admitted = world.admit(bundle)
    shutil.rmtree(bundle)
    weights = [admitted.model_dir / "model.safetensors"]
    found = in_turns(
        {
            "open_admitted": lambda: open_admitted(world.home, "one", now=NOW, policy=POLICY),
            "hashlib sha256": lambda: hashlib_sha256(weights),
        },
        rounds,
    )
    show(f"re-verify one admitted file of {size} MiB", found)
    return {"re-verify wall / sha256 wall": found["open_admitted"][0] / found["hashlib sha256"][0]}


def small(work: Path, count: int) -> dict[str, float]:
    """Many small files."""
    world = make_world(work / "small")
    for number in range(count):
        path = work / f"many/{number // 1000:04}/{number:07}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'{"n": %d}\n' % number)
    bundle = seal(world, "many", work / "many")
    wall, _ = timed(lambda: world.verify(bundle))
    print(f"\nverify {count} small files: {wall:.2f} s, {count / wall:,.0f} files a second")
    return {"small files a second": count / wall}


def start_up(work: Path, rounds: int) -> dict[str, float]:
    """From the start of the process until the first hash: the imports."""
    script = "import pratique.admit.verify, pratique.cli.verify, pratique.cli.main"
    found = in_turns({"start": lambda: run(sys.executable, "-c", script)}, rounds)
    print(f"\nstart-up of `verify` (imports): {found['start'][0]:.2f} s")
    del work
    return {"start-up seconds": found["start"][0]}


def show(title: str, found: dict[str, tuple[float, float]]) -> None:
    print(f"\n{title}\n{'':24}{'wall s':>9}{'CPU s':>9}")
    for name, (wall, used) in found.items():
        print(f"{name:24}{wall:9.3f}{used:9.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1024, help="MiB of the large bundle")
    parser.add_argument("--files", type=int, default=100_000, help="number of small files")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path, help="where to work (default: a temporary folder)")
    parser.add_argument("--json", action="store_true", help="print the ratios as JSON at the end")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        work = Path(folder)
        ratios = large(work, options.size, options.rounds)
        shutil.rmtree(work / "large")
        ratios |= reload(work, 2 * options.size, options.rounds)
        ratios |= start_up(work, options.rounds)
        ratios |= small(work, options.files)
        for path, _, _ in os.walk(work):
            Path(path).chmod(0o700)
    print()
    for name, value in ratios.items():
        print(f"{name:36}{value:12,.2f}")
    if options.json:
        print(json.dumps(ratios))


if __name__ == "__main__":
    main()

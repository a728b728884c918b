"""`python -m tests.fuzz [--seconds N] [--target NAME]`: each target for a given time.

Coverage-guided with atheris where it is installed (`pip install atheris`), else by seeded mutation.
An input that crashes or takes longer than five seconds is written to `tests/fuzz/found/` and ends
the run with exit code 1: turn it into a regression.
"""

import argparse
import hashlib
import importlib.util
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from tests.fuzz.targets import TARGETS, Target, once

FOUND = Path(__file__).parent / "found"
SLOWEST = 5


def _hang(signum: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"took longer than {SLOWEST} s")


def _mutated(seed: bytes, rng: random.Random) -> bytes:
    data = bytearray(seed)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(4):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del data[at : at + rng.randint(1, 8)]
            case 2:
                data[at:at] = rng.randbytes(rng.randint(1, 8))
            case _:
                piece = data[at : at + rng.randint(1, 32)]
                data[at:at] = piece * rng.randint(1, 4)
    return bytes(data)


def _by_mutation(target: Target, seconds: float, seed: int) -> int:
    rng = random.Random(seed)
    pool = list(target.seeds)
    runs, until = 0, time.monotonic() + seconds
    signal.signal(signal.SIGALRM, _hang)
    while time.monotonic() < until:
        data = _mutated(rng.choice(pool), rng)
        signal.alarm(SLOWEST)
        try:
            once(target, data)
        except Exception as error:
            _keep(target, data, error)
            return -1
        finally:
            signal.alarm(0)
        runs += 1
        if len(pool) < 2000 and rng.random() < 0.02:
            pool.append(data[:65536])
    return runs


def _keep(target: Target, data: bytes, error: BaseException) -> None:
    FOUND.mkdir(exist_ok=True)
    path = FOUND / f"{target.name}-{hashlib.sha256(data).hexdigest()[:12]}"
    path.write_bytes(data)
    print(f"{target.name}: {type(error).__name__}: {error}; input in {path}", file=sys.stderr)


def _by_atheris(target: Target, seconds: int) -> int:
    """In a process of its own: atheris ends the process when it is done."""
    code = (
        "import sys, atheris\n"
        "with atheris.instrument_imports(include=['pratique.formats']):\n"
        "    from tests.fuzz.targets import TARGETS, once\n"
        f"target = next(t for t in TARGETS if t.name == {target.name!r})\n"
        "atheris.Setup(sys.argv, lambda data: once(target, bytes(data)))\n"
        "atheris.Fuzz()\n"
    )
    FOUND.mkdir(exist_ok=True)
    corpus = FOUND / f"corpus-{target.name}"
    corpus.mkdir(exist_ok=True)
    for i, seed in enumerate(target.seeds):
        (corpus / f"seed{i}").write_bytes(seed)
    arguments = [
        f"-max_total_time={seconds}",
        f"-timeout={SLOWEST}",
        f"-artifact_prefix={FOUND}/{target.name}-",
    ]
    done = subprocess.run([sys.executable, "-c", code, *arguments, str(corpus)], check=False)
    return 0 if done.returncode == 0 else -1


def main() -> int:
    """Run the targets; 1 if one found something."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=30, help="for each target")
    parser.add_argument("--target", choices=[t.name for t in TARGETS])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    guided = importlib.util.find_spec("atheris") is not None
    print("coverage-guided (atheris)" if guided else "by mutation (atheris is not installed)")
    failed = False
    for target in TARGETS:
        if options.target not in {None, target.name}:
            continue
        runs = (
            _by_atheris(target, options.seconds)
            if guided
            else _by_mutation(target, options.seconds, options.seed)
        )
        failed = failed or runs < 0
        print(
            f"{target.name}: {'FOUND SOMETHING' if runs < 0 else 'nothing found'}{f' in {runs} runs' if runs > 0 else ''}"
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

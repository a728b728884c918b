"""Run every benchmark, one after another: `make bench`, or `python benchmarks/run.py [NAME …] [--quick]`.

Each prints its own figures as ratios against peers measured in the same run. `--quick` uses sizes that
end within a few minutes altogether; the figures in README.md here are from the full sizes.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
QUICK = {
    "fetch": ["--mib", "128", "--rounds", "1"],
    "fit": ["llama"],
    "ledger": ["--events", "5000"],
    "prefix": ["--turns", "3", "--pairs", "1"],
    "redact": [],
    "serve": ["--clients", "4", "--rounds", "1", "--skip-peers"],
    "soak": ["--requests", "100", "--kills", "3"],
    "tokenizer": [],
    "variants": ["--layers", "2", "--variant", "nf4"],
    "verify": ["--size", "128", "--files", "5000", "--rounds", "1"],
    "vet": ["--gib", "0.5"],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *QUICK], help="all, if none is named")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    failed = []
    for name in options.names or QUICK:
        arguments = QUICK[name] if options.quick else []
        print(f"\n=== {name} {' '.join(arguments)}", flush=True)
        started = time.monotonic()
        done = subprocess.run([sys.executable, str(HERE / f"{name}.py"), *arguments], check=False)
        print(f"--- {name}: exit {done.returncode}, {time.monotonic() - started:.0f} s", flush=True)
        if done.returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

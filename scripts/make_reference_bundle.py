"""Make the sealed reference bundle that later versions must still verify.

    python scripts/make_reference_bundle.py DIRECTORY

Writes DIRECTORY/trust (an installed root's medium), DIRECTORY/NAME@REV8.bundle and DIRECTORY/facts.json
with the root's fingerprint, the bundle id and the day on which it was made. The keys are made for the
occasion and thrown away: nobody can make a second bundle under this root. Run it once per format
version; what it wrote before is never written again.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support.models import write_model  # noqa: E402


def pratique(home: Path, *words: object) -> str:
    command = [sys.executable, "-m", "pratique.cli.main", "--home", home, *words]
    done = subprocess.run([str(w) for w in command], check=True, capture_output=True, text=True)
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    target = parser.parse_args().directory.absolute()
    target.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        model = work / "reference"
        write_model(model, "llama", dtype="BF16")
        for who in ("ann", "bea"):
            pratique(work / "home", "keys", "new", work / who)
        made = json.loads(
            pratique(
                work / "home", "trust", "init", "--team", target / "trust", "--enclave", "reference",
                "--vetter", work / "ann.pub", "--approver", work / "bea.pub", "--admin", work / "bea.pub",
                "--key", work / "bea.key", "--json",
            )
        )  # fmt: skip
        pratique(work / "home", "seal", model, "--key", work / "ann.key", "-o", target)
        bundle = next(target.glob("*.bundle"))
        pratique(
            work / "home", "approve", bundle, "--key", work / "bea.key", "--expires", "366d",
            "--reason", "the reference bundle of format version 1",
        )  # fmt: skip
        pratique(
            work / "home", "verify", bundle, "--trust", target / "trust",
            "--root-fingerprint", made["fingerprint"],
        )  # fmt: skip
        facts = {
            "fingerprint": made["fingerprint"],
            "bundle_id": hashlib.sha256(
                (bundle / "payload" / "SHA256SUMS").read_bytes()
            ).hexdigest(),
            "bundle": bundle.name,
            "made": datetime.now(UTC).strftime("%Y-%m-%d"),
        }
        (target / "facts.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

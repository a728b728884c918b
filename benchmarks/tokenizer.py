"""Checking a tokenizer of 150,000 tokens against loading the same one with transformers, in one run.

    python benchmarks/tokenizer.py [--tokens 150000]

Checked are all tokenizer rules, the native comparison on the corpus included, in one process on one
core. Printed: CPU seconds, peak memory in MiB, and the ratio to `AutoTokenizer.from_pretrained`.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHECK = """
import sys, resource
from pathlib import Path
from pratique.core.candidate import Candidate
from pratique.core.policy import Policy
from pratique.core.stages import Stage
from pratique.vet.registry import CHECKS
from pratique.vet.repo import Repo
policy = Policy.model_validate({"schema": "pratique.policy/v1", "name": "bench"})
repo = Repo(Candidate("bench", Path(sys.argv[1])), Stage.CONTENT)
found = [f for c in CHECKS if c.id.startswith("tokenizer-") for f in c.run(repo, policy)]
print([f.message for f in found if f.blocks], file=sys.stderr)
"""
LOAD = (
    "import sys; from transformers import AutoTokenizer; AutoTokenizer.from_pretrained(sys.argv[1])"
)


def write(directory: Path, tokens: int) -> None:
    """A byte-level BPE whose merges and ids are in order, as trained ones are."""
    sys.path.insert(0, str(ROOT))
    from pratique.formats.tokenizer.view import BYTE_ALPHABET
    from tests.support.models import write_tokenizer

    write_tokenizer(directory, "byte_bpe")
    path = directory / "tokenizer.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    specials = [token["content"] for token in value["added_tokens"]]
    vocab = {text: number for number, text in enumerate([*specials, *BYTE_ALPHABET])}
    merges: list[str] = []
    grown = list(BYTE_ALPHABET)
    at = 0
    while len(vocab) < tokens:
        for letter in "abcdefghijklmnopqrstuvwxyz":
            text = grown[at] + letter
            if text not in vocab and len(vocab) < tokens:
                vocab[text] = len(vocab)
                merges.append(f"{grown[at]} {letter}")
                grown.append(text)
        at += 1
    value["model"]["vocab"], value["model"]["merges"] = vocab, merges
    for token in value["added_tokens"]:
        token["id"] = vocab[token["content"]]
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    for name in ("vocab.json",):
        (directory / name).write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    (directory / "merges.txt").write_text("\n".join(merges) + "\n", encoding="utf-8")


def cost(code: str, directory: Path) -> tuple[float, float]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    child = subprocess.Popen([sys.executable, "-c", code, str(directory)], env=environment)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"a child failed with {child.returncode}")
    del before
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=150_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        write(directory, options.tokens)
        checked, memory = cost(CHECK, directory)
        loaded, peer = cost(LOAD, directory)
    print(
        json.dumps(
            {
                "tokens": options.tokens,
                "check_cpu_s": round(checked, 2),
                "check_peak_mib": round(memory),
                "transformers_cpu_s": round(loaded, 2),
                "transformers_peak_mib": round(peer),
                "cpu_ratio": round(checked / loaded, 2),
            }
        )
    )


if __name__ == "__main__":
    main()

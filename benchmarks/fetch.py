"""Fetching, side by side with `hf download` and curl, from the same loopback Hub in the same run.

Run: `python benchmarks/fetch.py [--mib 1024] [--rounds 5] [--dir DIR]`. Prints one JSON object:
wall and CPU seconds of each (medians, start-up of the interpreter included), the medians of the ratios
within each round, the commit proof of a 1,000-file repository, the bytes that a refusal costs, and peak memory by size.

`fetch` hashes every byte, proves the commit and makes the files durable, under a gate that passes
everything: the gate's own cost is measured by benchmarks/vet.py. `pratique fetch` is the whole
command with the real gate. `hf download` verifies nothing; curl only copies, and `curl, sha256sum`
does what a careful person would.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pratique.attest.commit_proof import ProofObjects  # noqa: E402 - needs the path above
from pratique.core.stages import Stage  # noqa: E402
from pratique.fetch.api import list_files  # noqa: E402
from pratique.fetch.git_objects import fetch_commit_objects  # noqa: E402
from pratique.fetch.listing import cross_check  # noqa: E402
from pratique.fetch.session import hub_session  # noqa: E402
from pratique.fetch.urls import Endpoint  # noqa: E402
from pratique.flows.loopback_hub import LoopbackHub  # noqa: E402
from tests.support.hub.world import REPO, World  # noqa: E402

SERVER = """
import sys
from pathlib import Path
from pratique.flows.loopback_hub import LoopbackHub
hub = LoopbackHub()
commit = hub.add("org/name", Path(sys.argv[1]))
with hub.running() as url:
    print(url, commit, flush=True)
    sys.stdin.read()
"""


ONE = """
import sys
from pathlib import Path
from pratique.core.findings import PolicyRef, Subject, Verdict
from pratique.core.manifest import Manifest
from pratique.core.policy import Policy
from pratique.fetch.hub import HubFetch
from pratique.fetch.pinning import HubRequest
from pratique.fetch.session import hub_session
from pratique.fetch.urls import Endpoint
nothing = Manifest(()).digest
class Open:
    def judge(self, candidate, stage):
        subject = Subject(candidate.name, nothing, repo=candidate.repo)
        return Verdict(subject, PolicyRef("open", nothing), ())
rules = Policy.model_validate({"schema": "pratique.policy/v1", "name": "open"}, strict=False)
with hub_session(Endpoint.parse(sys.argv[1])) as session:
    HubFetch(session, Path(sys.argv[2]), rules, Open()).run(HubRequest("org/name"))
"""


def write_model(directory, mib):
    """One valid safetensors file of `mib` MiB, with a configuration that the gate accepts."""
    directory.mkdir(parents=True)
    (directory / "config.json").write_text(
        '{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}'
    )
    (directory / "README.md").write_text("---\nlicense: apache-2.0\n---\nFor measuring.\n")
    size = mib << 20
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    header += b" " * (-len(header) % 8)
    block = os.urandom(1 << 20)
    with (directory / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        for _ in range(mib):
            file.write(block)
    return directory


def measured(argv, env=None):
    """Wall seconds, CPU seconds and peak MiB of a child."""
    code = (
        "import json,resource,subprocess,sys,time\n"
        "t=time.perf_counter()\n"
        "p=subprocess.run(sys.argv[1:],stdout=subprocess.DEVNULL,stderr=subprocess.PIPE,text=True)\n"
        "w=time.perf_counter()-t\n"
        "r=resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(json.dumps([p.returncode,w,r.ru_utime+r.ru_stime,r.ru_maxrss/1024,p.stderr[-300:]]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, argv)],
        env={**os.environ, **(env or {})}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    status, wall, cpu, peak, said = json.loads(done.stdout)
    if status != 0:
        raise SystemExit(f"{argv[0]} failed: {said}")
    return {"wall_s": round(wall, 2), "cpu_s": round(cpu, 2), "peak_mib": round(peak)}


def middle(rows):
    return {key: round(statistics.median(row[key] for row in rows), 2) for key in rows[0]}


def ratio(results, first, second, key):
    """The median of what `first` took of what `second` took, round by round."""
    pairs = zip(results[first], results[second], strict=True)
    return round(statistics.median(a[key] / b[key] for a, b in pairs), 2)


def transfer(directory, mib, rounds):
    """Each contender in turn, `rounds` times; the disk is flushed in between."""
    write_model(directory / "source", mib)
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(directory / "source")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    url, commit = server.stdout.readline().split()
    binaries = Path(sys.executable).parent
    scratch = directory / "scratch"
    contenders = {
        "fetch": ([sys.executable, "-c", ONE, url, scratch], {}),
        "pratique fetch": (
            [binaries / "pratique", "fetch", REPO], {"PRATIQUE_HOME": scratch, "HF_ENDPOINT": url},
        ),
        "hf download": (
            [binaries / "hf", "download", REPO],
            {"HF_ENDPOINT": url, "HF_HOME": scratch, "HF_HUB_DISABLE_XET": "1",
             "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
        ),
        "curl": (
            ["curl", "-sf", "--create-dirs", "-o", scratch / "f",
             f"{url}/{REPO}/resolve/{commit}/model.safetensors"], {},
        ),
        "curl, sha256sum": (
            ["sh", "-c", 'curl -sf --create-dirs -o "$1" "$2" && sha256sum "$1"', "-",
             scratch / "f", f"{url}/{REPO}/resolve/{commit}/model.safetensors"], {},
        ),
    }  # fmt: skip
    results = {name: [] for name in contenders}
    try:
        for _ in range(rounds):
            for name, (argv, env) in contenders.items():
                shutil.rmtree(scratch, ignore_errors=True)
                os.sync()
                results[name].append(measured(argv, {k: str(v) for k, v in env.items()}))
    finally:
        server.stdin.close()
        server.wait()
    return results


def commit_proof(directory, files=1000):
    """Seconds for the objects, every id, the listing and the cross-check."""
    for number in range(files):
        path = directory / f"part-{number % 50:02}" / f"file-{number:04}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"number": number}))
    hub = LoopbackHub()
    commit = hub.add(REPO, directory)
    with hub.running() as url, hub_session(Endpoint.parse(url)) as session:
        started = time.perf_counter()
        listing = list_files(session, REPO, commit)
        proof = ProofObjects.of(fetch_commit_objects(session, REPO, commit), commit)
        cross_check(listing.items, proof, lambda _: None)
        took = time.perf_counter() - started
    return {"files": files, "seconds": round(took, 2)}


def refusal(directory, stage):
    """Bytes that the server announced before a refusal at `stage`."""
    many = {f"configs/{i:03}.json": b"{}" + b" " * 20_000 for i in range(200)}
    weights = (2).to_bytes(8, "little") + b"{}" + bytes(64 << 20)
    world = World(directory, {**many, "config.json": b"{}", "model.safetensors": weights})
    world.gate.at = stage
    try:
        world.fetch()
    except Exception as error:
        return {"bytes": world.sent, "said": type(error).__name__}
    raise SystemExit("nothing was refused")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--dir", type=Path, default=None, help="where to write (default: TMPDIR)")
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="pratique-bench-", dir=options.dir))
    try:
        large = transfer(work / "large", options.mib, options.rounds)
        small = transfer(work / "small", max(1, options.mib // 16), 1)
        report = {
            "mib": options.mib,
            "medians_of": options.rounds,
            "contenders": {name: middle(rows) for name, rows in large.items()},
            "fetch_against": {
                peer: {key: ratio(large, "fetch", peer, key) for key in ("wall_s", "cpu_s")}
                for peer in ("hf download", "curl", "curl, sha256sum")
            },
            "whole_command_wall_against_hf_download": ratio(
                large, "pratique fetch", "hf download", "wall_s"
            ),
            "peak_mib_by_size": {
                options.mib: middle(large["fetch"])["peak_mib"],
                max(1, options.mib // 16): middle(small["fetch"])["peak_mib"],
            },
            "commit_proof": commit_proof(work / "many"),
            "refused_by_listing": refusal(work / "refused-1", Stage.LISTING),
            "refused_by_code_or_config": refusal(work / "refused-2", Stage.CODE_AND_CONFIG),
            "load_average": os.getloadavg()[0],
            "peak_mib_of_this_process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
            "threads_left": threading.active_count(),
        }
        print(json.dumps(report, indent=1))
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()

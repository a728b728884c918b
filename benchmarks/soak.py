"""A thousand requests of all kinds while the worker is killed at random: none is lost without an error.

    python benchmarks/soak.py [--requests 1000] [--seed 1]

Runs itself again in a network namespace of its own (where only the loopback exists), so that "nothing
went out" is counted and not only hoped for: packets by any interface but the loopback, in the gateway's
namespace and in each worker's. The bundle, its admission, the lock and the ledger are the real ones.
Printed: what became of the requests, how the server ended, whether the ledger verifies, descriptors and
memory of the gateway after the first tenth and at the end.
"""

import argparse
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pratique.flows.sample import sample_directory  # noqa: E402
from pratique.flows.sealing import SealRequest, vet_and_seal  # noqa: E402
from tests.support.bundles import POLICY, OpenGate, World, make_world  # noqa: E402
from tests.support.soak import held, soak  # noqa: E402

_APART = "PRATIQUE_SOAK_APART"
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


def apart() -> None:
    """Go on in a network namespace of our own, with its loopback up (netdevice(7))."""
    if os.environ.get(_APART) is None:
        os.environ[_APART] = "1"
        command = ["unshare", "--map-root-user", "--net", sys.executable, *sys.argv]
        os.execvp(command[0], command)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", _IFF_UP))


def pratique(world: World, *words: object) -> list[str]:
    """A command line in the enclave's home."""
    return [sys.executable, "-m", "pratique.cli.main", "--home", str(world.home), *map(str, words)]


def admitted(folder: Path) -> World:
    """Seal, approve and admit the built-in sample."""
    world = make_world(folder)
    (world.root / "bundles").mkdir()
    request = SealRequest(sample_directory(), POLICY, world.root / "bundles" / "sample.bundle")
    bundle = vet_and_seal(
        request, OpenGate(POLICY), lambda: world.vetter, on_verdict=lambda _: None
    ).path
    world.approve(bundle)
    subprocess.run(pratique(world, "admit", bundle, "--as", "sample"), check=True)
    return world


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=20)
    options = parser.parse_args()
    apart()
    folder = Path(tempfile.mkdtemp(prefix="pratique-soak-"))
    try:
        world = admitted(folder)
        server = subprocess.Popen(
            pratique(world, "serve", "sample", "--port", 0), stdout=subprocess.PIPE, text=True,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert server.stdout is not None
        host = server.stdout.readline().strip().removeprefix("http://")
        began, first = time.monotonic(), max(options.requests // 10, 16)
        tally = soak(host, server.pid, model="sample", count=first, kills=1, seed=options.seed)
        before = held(server.pid)
        rest = soak(
            host, server.pid, model="sample", count=options.requests - first,
            kills=options.kills - 1, seed=options.seed + 1,
        )  # fmt: skip
        time.sleep(1)
        after = held(server.pid)
        ended = tally.ended + rest.ended
        server.send_signal(signal.SIGTERM)
        code = server.wait(60)
        print(
            f"{options.requests} requests in {time.monotonic() - began:.0f} s, "
            f"{tally.kills + rest.kills} kills, asked again {tally.asked_again + rest.asked_again} "
            f"times; without an answer or an error: {options.requests - ended.total()} "
            f"{[*tally.lost, *rest.lost]}"
        )
        for what, times in sorted(ended.items()):
            print(f"  {what}: {times}")
        print(f"packets by anything but the loopback: {max(tally.outbound, rest.outbound)}")
        print(
            f"the server ended with {code}; descriptors {before[0]} -> {after[0]}, "
            f"resident {before[1] // 1024} -> {after[1] // 1024} MiB"
        )
        subprocess.run(pratique(world, "log", "verify"), check=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()

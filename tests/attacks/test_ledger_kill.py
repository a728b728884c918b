"""A writer that is killed in mid-work loses nothing that it acknowledged."""

import random
import signal
import subprocess
import sys

import pytest

from pratique.ledger.folder import Folder
from pratique.ledger.ledger import Ledger, Settings, chain_of
from pratique.ledger.verify import State, records, verify
from tests.support.ledgers import request, signer

ROUNDS_OF_ONE_LOG = 10

WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.support.ledgers import open_log, request

# Small segments and few events to a checkpoint, so that kills hit those too.
log = open_log(Path({directory!r}), segment_bytes=40_000, checkpoint_events=9)
number = log.size
while True:
    for event in ([request(number)], [request(number + i) for i in range(5)]):
        done = log.append_batch(event) if number % 3 else range(log.append(event[0]), log.size)
        sys.stdout.write(f"{{done.start}} {{done.stop}}\\n")
        sys.stdout.flush()
        number = done.stop
"""


def killed_in_mid_work(directory, acknowledgements):
    """Run a writer, read so many of its acknowledgements, kill it; return the events acknowledged."""
    from tests.conftest import ROOT

    code = WRITER.format(root=str(ROOT), directory=str(directory))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        acknowledged = 0
        assert child.stdout is not None
        for _ in range(acknowledgements):
            line = child.stdout.readline()
            assert line, "the writer ended by itself"
            acknowledged = int(line.split()[1])
        child.send_signal(signal.SIGKILL)
        # What it still said between our reading and its death counts too.
        for line in child.stdout:
            if line.endswith("\n"):
                acknowledged = int(line.split()[1])
    return acknowledged


def kill_many(tmp_path, kills, seed):
    rng = random.Random(seed)
    for kill in range(kills):
        directory = tmp_path / f"log-{kill // ROUNDS_OF_ONE_LOG}"
        acknowledged = killed_in_mid_work(directory, rng.randrange(1, 60))
        folder = Folder(directory)
        report = verify(folder)
        assert report.stands, report
        present = sum(1 for _ in records(folder, chain_of(signer())))
        assert present >= acknowledged
    for directory in tmp_path.glob("log-*"):
        with Ledger.open(directory, signer(), settings=Settings()) as log:
            log.append(request())
        assert verify(Folder(directory)).state is State.INTACT


def test_a_few_kills_lose_nothing(tmp_path):
    kill_many(tmp_path, 6, seed=1)


@pytest.mark.slow
def test_two_hundred_kills_lose_nothing(tmp_path):
    kill_many(tmp_path, 200, seed=2)

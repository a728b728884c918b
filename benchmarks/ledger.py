"""The ledger's figures: CPU per event, events a second with group commit, verifier's events a second.

Run: `python benchmarks/ledger.py [--events N] [--dir DIR]`. Beside them, as the peer, Python's own
`logging` with a JSON formatter and no integrity at all, and the same with one fdatasync per event, on
the same disk. Prints one JSON object.
"""

import argparse
import json
import logging
import os
import shutil
import tempfile
import time
from pathlib import Path

from pratique.ledger.events import Request
from pratique.ledger.folder import Folder
from pratique.ledger.home import open_ledger
from pratique.ledger.verify import verify

HEX = "0123456789abcdef" * 4


def request(number):
    return Request(
        request=f"req-{number}", caller=HEX, bundle=HEX, name="sample", rung="auto",
        route="/v1/chat/completions", status=200, finish="stop", prompt_chars=120,
        completion_chars=200, prompt_tokens=30, completion_tokens=50, latency_us=123_456,
        first_token_us=2_345, streamed=True, entities={"EMAIL": 1, "CARD": 1},
    )  # fmt: skip


def measure(work, events):
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"events_per_s": round(events / wall), "cpu_us_per_event": round(cpu / events * 1e6, 1)}


def plain_logging(path, events, *, sync):
    handler = logging.FileHandler(path)
    logger = logging.getLogger(f"peer.{path.name}")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    for number in range(events):
        logger.info(
            json.dumps({name: getattr(request(number), name) for name in Request.__slots__})
        )
        if sync:
            handler.flush()
            os.fdatasync(handler.stream.fileno())
    handler.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--dir", type=Path, default=None, help="where to write (default: TMPDIR)")
    chosen = parser.parse_args()
    events = chosen.events
    root = Path(tempfile.mkdtemp(dir=chosen.dir))
    try:
        found = {}
        with open_ledger(root / "a") as log:
            found["append"] = measure(
                lambda: [log.append(request(i)) for i in range(events)], events
            )
        with open_ledger(root / "b") as log:
            found["group commit of 64"] = measure(
                lambda: [
                    log.append_batch([request(j) for j in range(i, i + 64)])
                    for i in range(0, events, 64)
                ],
                events,
            )
        with open_ledger(root / "c") as log:
            few = min(events, 500)
            found["fdatasync each"] = measure(
                lambda: [log.append_durable(request(i)) for i in range(few)], few
            )
        report = []
        found["verify"] = measure(
            lambda: report.append(verify(Folder(root / "a" / "ledger"))), events
        )
        assert report[0].stands, report
        found["peer: logging, no integrity"] = measure(
            lambda: plain_logging(root / "plain", events, sync=False), events
        )
        found["peer: logging, fdatasync each"] = measure(
            lambda: plain_logging(root / "synced", few, sync=True), few
        )
        print(json.dumps({"benchmark": "ledger", "events": events, "results": found}, indent=1))
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()

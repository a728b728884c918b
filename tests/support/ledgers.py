"""Small logs for tests: events of every kind, a key in memory, a clock that does not run."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pratique.ledger import events as ev
from pratique.ledger.folder import Folder
from pratique.ledger.ledger import Ledger, Settings
from pratique.ledger.signer import KeySigner

HEX = "0123456789abcdef" * 4
OTHER = "fedcba9876543210" * 4
COMMIT = HEX[:40]
START_MS = 1_700_000_000_000

ONE_OF_EACH: Sequence[ev.Event] = (
    ev.Vetting(
        subject=HEX, name="m", repo="org/m", commit=COMMIT, policy="strict", policy_digest=HEX,
        verdict="PASSED", refused=0, needs_approval=1, noted=2, by="uid:1000",
    ),
    ev.AllowanceAccepted(
        subject=HEX, check="C-1", digest=OTHER, owner="Ann", expires="2030-01-01",
        reason="read and understood", by="uid:1000",
    ),
    ev.Sealed(bundle=HEX, name="m", key=OTHER, by="uid:1000"),
    ev.Approval(bundle=HEX, key=OTHER, expires="2030-01-01T00:00:00Z", allowances=1, by="uid:1001"),
    ev.Admission(
        bundle=HEX, name="m", repo="org/m", commit=COMMIT, policy="strict", policy_digest=HEX,
        files=8, size=4_000_000, by="uid:1002",
    ),
    ev.Refusal(verb="admit", subject="/media/x.bundle", code=11, reason="a digest", by="uid:1002"),
    ev.AliasMoved(name="m", before=OTHER, after=HEX, rollback="the new one is slow", by="uid:1002"),
    ev.Load(
        bundle=HEX, name="m", engine="transformers", rung="auto", device="cpu", predicted=10,
        measured=9, skipped=("8bit",),
    ),
    ev.RungLost(bundle=HEX, rung="auto", reason="out of memory"),
    ev.Unloaded(bundle=HEX, name="m", reason="stopped"),
    ev.Revocation(what="bundle", subject=HEX, reason="a flaw was found", by="uid:1002"),
    ev.PolicyChanged(name="strict", before=OTHER, after=HEX, by="uid:1002"),
    ev.TrustChanged(root=HEX, before=1, after=2, by="uid:1002"),
    ev.TextLogging(on=True, escrow=False, policy_digest=HEX, by="uid:1002"),
    ev.TornTail(size=7, sha256=HEX),
    ev.Rotation(first=0, count=3),
    ev.Retention(through=0, by="uid:0"),
    ev.CopyFailed(copy="directory /mnt", reason="no space"),
)  # fmt: skip


def request(number: int = 0, **changes: object) -> ev.Request:
    """Make a request event."""
    fields: dict[str, object] = {
        "request": f"req-{number}", "caller": OTHER, "bundle": HEX, "name": "sample",
        "rung": "auto", "route": "/v1/chat/completions", "status": 200, "finish": "stop",
        "prompt_chars": 120, "completion_chars": 200, "prompt_tokens": 30, "completion_tokens": 50,
        "latency_us": 123_456, "first_token_us": 2_345, "streamed": True,
        "entities": {"EMAIL": 1, "CARD": 1},
    }  # fmt: skip
    return ev.Request(**(fields | changes))  # type: ignore[arg-type]  # a test's own table


def private_key(seed: int = 1) -> Ed25519PrivateKey:
    """Return the same key for the same seed."""
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


def signer(seed: int = 1, memory: Path | None = None) -> KeySigner:
    """Return a signer that holds its key in this process."""
    return KeySigner(private_key(seed), memory)


def ticking() -> Callable[[], int]:
    """Return a clock that moves one second with each look."""
    return itertools.count(START_MS, 1000).__next__


def open_log(directory: Path, *, seed: int = 1, **settings: float) -> Ledger:
    """Open a log with a key in memory and a clock of its own."""
    wanted = Settings(**({"checkpoint_seconds": 1e9} | settings))  # type: ignore[arg-type]  # same
    return Ledger.open(directory, signer(seed), settings=wanted, clock_ms=ticking())


def write_log(directory: Path, count: int, *, seed: int = 1, **settings: float) -> Folder:
    """Write a log of `count` requests (rotation events come on top) and close it."""
    with open_log(directory, seed=seed, **settings) as log:
        for number in range(count):
            log.append(request(number))
    return Folder(directory)

"""What MacDetector finds, and what only looks like it."""

import pytest

from pratique.redact.detectors.mac import MacDetector
from tests.support.redact_corpus import values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("at 00:1A:2b:3c:4d:5e now", "00:1A:2b:3c:4d:5e"),
        ("00-1a-2b-3c-4d-5e", "00-1a-2b-3c-4d-5e"),
        ("001a.2b3c.4d5e", "001a.2b3c.4d5e"),
        ("mac 001A2B3C4D5E", "001A2B3C4D5E"),
    ],
)
def test_finds(text, expected):
    assert values(MacDetector(), text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "SHA1 Fingerprint=AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01",
        "2024-01-02-03-04-05",
        "10:20:30:40:50:60 lap times",
        "001a2b3c4d5e",
    ],
)
def test_leaves_look_alikes(text):
    assert values(MacDetector(), text) == []

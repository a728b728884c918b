"""What IpDetector finds, and what only looks like it."""

import pytest

from pratique.redact.detectors.ip import IpDetector
from tests.support.redact_corpus import values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from 203.0.113.9:80", "203.0.113.9"),
        ("peer 2001:db8::8a2e:370:7334 up", "2001:db8::8a2e:370:7334"),
        ("192[.]168[.]1[.]50", "192[.]168[.]1[.]50"),
        ("net 10.1.0.0/16", "10.1.0.0/16"),
    ],
)
def test_finds(text, expected):
    assert values(IpDetector(), text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "version 1.2.3.4",
        "127.0.0.1:8080",
        "bind 0.0.0.0",
        "mask 255.255.255.0",
        "1.2.3.4.5",
        "256.1.1.1",
        "v10.0.19045.3803",
        "a::b",
        "::1",
        "std::vector",
        "12:34:56",
        "section 1.2.3.4",
    ],
)
def test_leaves_look_alikes(text):
    assert values(IpDetector(), text) == []

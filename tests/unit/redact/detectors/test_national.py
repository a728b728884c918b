"""What NationalDetector finds, and what only looks like it."""

import pytest

from pratique.redact.detectors.national import NationalDetector
from tests.support.redact_corpus import values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("536-22-8726", "536-22-8726"),
        ("SSN 536228726", "536228726"),
        ("529.982.247-25", "529.982.247-25"),
        ("11010519491231002X", "11010519491231002X"),
        ("BSN 111222333", "111222333"),
        ("900101-1234567", "900101-1234567"),
    ],
)
def test_finds(text, expected):
    assert values(NationalDetector(), text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "000-22-8726",
        "2024-01-15",
        "1234567890",
        "12345678A",
        "build 10.0.19045.3803",
        "123456-7890123456",
    ],
)
def test_leaves_look_alikes(text):
    assert values(NationalDetector(), text) == []

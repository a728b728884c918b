"""What PassportDetector finds, and what only looks like it."""

import pytest

from pratique.redact.detectors.passport import PassportDetector
from tests.support.redact_corpus import values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("passport X1234567", "X1234567"),
        ("паспорт 4510 123456", "4510 123456"),
        ("护照号 E12345678", "E12345678"),
    ],
)
def test_finds(text, expected):
    assert values(PassportDetector(), text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "X1234567",
        "passport control is on the left",
        "The passport office opens at 9.",
    ],
)
def test_leaves_look_alikes(text):
    assert values(PassportDetector(), text) == []

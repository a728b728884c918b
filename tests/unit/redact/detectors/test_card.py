"""What CardDetector finds, and what only looks like it."""

import pytest

from pratique.redact.detectors.card import CardDetector
from tests.support.redact_corpus import values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4111 1111 1111 1111", "4111 1111 1111 1111"),
        ("378282246310005", "378282246310005"),
        ("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"),
        ("12 4111 1111 1111 1111 05/27", "4111 1111 1111 1111"),
        ("card 4111 1111 1111 1112", "4111 1111 1111 1112"),
    ],
)
def test_finds(text, expected):
    assert values(CardDetector(), text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",
        "1234567890123456",
        "9780306406157",
        "1700000000123",
        "0000 0000 0000 0000",
        "order 4111111111111111",
        "a4111111111111111b",
    ],
)
def test_leaves_look_alikes(text):
    assert values(CardDetector(), text) == []

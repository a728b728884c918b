"""What IbanDetector finds, and what only looks like it."""

import pytest

from pratique.redact.detectors.iban import IbanDetector
from tests.support.redact_corpus import values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("DE89 3704 0044 0532 0130 00", "DE89 3704 0044 0532 0130 00"),
        ("GB82WEST12345698765432", "GB82WEST12345698765432"),
        ("iban DE89 3704 0044 0532 0130 01", "DE89 3704 0044 0532 0130 01"),
    ],
)
def test_finds(text, expected):
    assert values(IbanDetector(), text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "DE89 3704 0044 0532 0130 01",
        "ZZ89370400440532013000",
        "GB82",
    ],
)
def test_leaves_look_alikes(text):
    assert values(IbanDetector(), text) == []

"""What PhoneDetector finds, and what only looks like it."""

import pytest

from pratique.redact.detectors.phone import PhoneDetector
from tests.support.redact_corpus import values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("+1 (415) 555-2671", "+1 (415) 555-2671"),
        ("tel 4155552671", "4155552671"),
        ("06 12 34 56 78", "06 12 34 56 78"),
        ("call 020 7946 0958 x12", "020 7946 0958 x12"),
        ("+49 (0)30 901820", "+49 (0)30 901820"),
        ("8 (912) 345-67-89", "8 (912) 345-67-89"),
    ],
)
def test_finds(text, expected):
    assert values(PhoneDetector(), text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "1700000000",
        "10 000 000 rows",
        "2024-01-15 10:30:00",
        "ISBN 978-3-16-148410-0",
        "order 12345678",
        "ports 20000-32767",
        "1234567890 bytes",
        "CVE-2021-44228",
        "1 2 3 4 5 6 7 8 9 10",
    ],
)
def test_leaves_look_alikes(text):
    assert values(PhoneDetector(), text) == []

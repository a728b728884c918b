"""What BirthDetector finds, and what only looks like it."""

import pytest

from pratique.redact.detectors.birth import BirthDetector
from tests.support.redact_corpus import values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("DOB: 12/05/1980", "12/05/1980"),
        ("né le 14 juillet 1962", "14 juillet 1962"),
        ("出生日期：1985年3月12日", "1985年3月12日"),
        ("born in 1973", "1973"),
    ],
)
def test_finds(text, expected):
    assert values(BirthDetector(), text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "Released on May 12, 2023.",
        "2024-01-15T10:30:00Z",
        "Founded in 1998",
        "date of birth is required",
        "It was born out of necessity in 1998.",
    ],
)
def test_leaves_look_alikes(text):
    assert values(BirthDetector(), text) == []

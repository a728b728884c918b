"""What MedicalDetector finds, and what only looks like it."""

import pytest

from pratique.redact.detectors.medical import MedicalDetector
from tests.support.redact_corpus import values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MRN: 123456789", "123456789"),
        ("Patient ID: P-203948", "P-203948"),
        ("1EG4-TE5-MK73", "1EG4-TE5-MK73"),
        ("NHS number 943 476 5919", "943 476 5919"),
    ],
)
def test_finds(text, expected):
    assert values(MedicalDetector(), text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "Number of patients: 120",
        "medical records were digitised in 2015",
        "chart of 12 items",
        "+1 415 555 2671",
    ],
)
def test_leaves_look_alikes(text):
    assert values(MedicalDetector(), text) == []

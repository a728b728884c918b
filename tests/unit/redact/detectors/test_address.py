"""What AddressDetector finds, and what only looks like it."""

import pytest

from pratique.redact.detectors.address import AddressDetector
from tests.support.redact_corpus import values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("at 123 Main Street, Springfield, IL 62704.", "123 Main Street, Springfield, IL 62704"),
        ("Hauptstraße 5, 10115 Berlin", "Hauptstraße 5, 10115 Berlin"),
        ("12 rue de la Paix, 75002 Paris", "12 rue de la Paix, 75002 Paris"),
        ("北京市朝阳区建国路88号", "北京市朝阳区建国路88号"),
    ],
)
def test_finds(text, expected):
    assert values(AddressDetector(), text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "bus 42 to Main Street",
        "5th Avenue is famous",
        "memory address 0x7ffee4c3a8b0",
        "IP address: 10.0.0.1",
        "Room 101, Building 7",
        "Copyright 2019-2024 The Authors",
    ],
)
def test_leaves_look_alikes(text):
    assert values(AddressDetector(), text) == []

"""What GazetteerDetector finds, and what only looks like it."""

import pytest

from pratique.redact.detectors.gazetteer import GazetteerDetector
from tests.support.redact_corpus import values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Then Thomas Anderson left", "Thomas Anderson"),
        ("call Maria Gonzalez now", "Maria Gonzalez"),
    ],
)
def test_finds(text, expected):
    assert values(GazetteerDetector(), text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "Monte Carlo",
        "New York",
        "Visual Studio Code",
        "Mount Everest",
        "Markov Chains",
        "John",
        "Georgia Tech",
        "Austin, Texas",
    ],
)
def test_leaves_look_alikes(text):
    assert values(GazetteerDetector(), text) == []

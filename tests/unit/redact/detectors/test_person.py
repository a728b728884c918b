"""What PersonDetector finds, and what only looks like it."""

import pytest

from pratique.redact.detectors.person import PersonDetector
from tests.support.redact_corpus import values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("My name is John Smith.", "John Smith"),
        ("Frau Dr. Anna-Maria Schmidt ruft an", "Anna-Maria Schmidt"),
        ("Best regards,\nJane Roe", "Jane Roe"),
        ("我叫张伟", "张伟"),
        ("Меня зовут Иван Петров", "Иван Петров"),
        ("Mijn naam is Jan van der Berg", "Jan van der Berg"),
    ],
)
def test_finds(text, expected):
    assert values(PersonDetector(), text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "Dear customer,",
        "Best regards,\nThe Support Team",
        "Name: numpy",
        "from transformers import AutoModel",
        "Sehr geehrte Damen und Herren,",
        "I am very happy today.",
        "name: my-service",
    ],
)
def test_leaves_look_alikes(text):
    assert values(PersonDetector(), text) == []

"""What KeyDetector finds, and what only looks like it."""

import pytest

from pratique.redact.detectors.keys import KeyDetector
from tests.support.redact_corpus import values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ghp_16C7e42F292c6912E7710c838347Ae178B4a", "ghp_16C7e42F292c6912E7710c838347Ae178B4a"),
        ("AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
        ("Authorization: Basic dXNlcjpwYXNz", "Basic dXNlcjpwYXNz"),
        (
            "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF",
            "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF",
        ),
    ],
)
def test_finds(text, expected):
    assert values(KeyDetector(), text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "sk-xxxxxxxxxxxxxxxxxxxxxxxx",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "Authorization: Bearer <token>",
        'assert "BEGIN PRIVATE KEY" in text',
        "sk-learn-contrib-package-name",
        "550e8400-e29b-41d4-a716-446655440000",
    ],
)
def test_leaves_look_alikes(text):
    assert values(KeyDetector(), text) == []

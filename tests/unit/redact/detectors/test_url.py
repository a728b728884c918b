"""What UrlDetector finds, and what only looks like it."""

import pytest

from pratique.redact.detectors.url import UrlDetector
from tests.support.redact_corpus import values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see https://user:pass@example.com/p.", "https://user:pass@example.com/p"),
        ("redis://:hunter2@cache:6379/0", "redis://:hunter2@cache:6379/0"),
        ("https://x.example/v1?a=1&api_key=abcdef12", "https://x.example/v1?a=1&api_key=abcdef12"),
    ],
)
def test_finds(text, expected):
    assert values(UrlDetector(), text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/@handle",
        "ssh://git@example.com/x.git",
        "https://x.example/?token=<TOKEN>",
        "https://x.example/?q=hello&page=2",
        "postgresql://localhost/mydb",
        "mailto:a@example.com",
    ],
)
def test_leaves_look_alikes(text):
    assert values(UrlDetector(), text) == []

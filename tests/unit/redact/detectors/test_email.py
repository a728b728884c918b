"""What EmailDetector finds, and what only looks like it."""

import pytest

from pratique.redact.detectors.email import EmailDetector
from tests.support.redact_corpus import values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a jane.doe@example.com b", "jane.doe@example.com"),
        ("ops@localhost", "ops@localhost"),
        ("иван@почта.рф", "иван@почта.рф"),
        ("john (at) example dot com", "john (at) example dot com"),
        ("user@10.0.0.5", "user@10.0.0.5"),
        ("<o'brien@example.ie>", "o'brien@example.ie"),
    ],
)
def test_finds(text, expected):
    assert values(EmailDetector(), text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "lodash@4.17.21",
        "git@github.com:org/repo.git",
        "@app.route",
        "python@sha256:1e2f3a",
        "org/model@c56f4d1a",
        "follow us @example",
        "foo@bar",
    ],
)
def test_leaves_look_alikes(text):
    assert values(EmailDetector(), text) == []

"""What CookieDetector finds, and what only looks like it."""

import pytest

from pratique.redact.detectors.cookie import CookieDetector
from tests.support.redact_corpus import values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Cookie: a=1; b=2", "Cookie: a=1; b=2"),
        ("PHPSESSID=r2t5uvjq435r4q7", "PHPSESSID=r2t5uvjq435r4q7"),
        ("curl -H 'Cookie: auth=xyz987' https://x", "Cookie: auth=xyz987"),
    ],
)
def test_finds(text, expected):
    assert values(CookieDetector(), text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "cookie: none",
        "a cookie is small",
        "set-cookie header is not allowed",
        "sessionid=None",
    ],
)
def test_leaves_look_alikes(text):
    assert values(CookieDetector(), text) == []

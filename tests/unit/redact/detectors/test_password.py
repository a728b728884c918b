"""What PasswordDetector finds, and what only looks like it."""

import pytest

from pratique.redact.detectors.password import PasswordDetector
from tests.support.redact_corpus import values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("password: hunter2", "hunter2"),
        ("DB_PASSWORD='p@ss w0rd'", "p@ss w0rd"),
        ("das Passwort lautet Sommer2023!", "Sommer2023!"),
        ("密码是abc12345", "abc12345"),
        ("PIN: 4821", "4821"),
        ("mysql -u root -pMyPass123 db", "MyPass123"),
    ],
)
def test_finds(text, expected):
    assert values(PasswordDetector(), text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "password = os.environ['X']",
        "The password must be long.",
        "def f(password: str)",
        "max_tokens=512",
        "pad_token='<pad>'",
        "password: ********",
        "Enter your password:",
        "passport: X1",
        "The token is expired",
        "pin is on GPIO 17",
        "wrong PIN, 2 attempts left",
    ],
)
def test_leaves_look_alikes(text):
    assert values(PasswordDetector(), text) == []

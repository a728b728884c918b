"""What TableDetector finds, and what only looks like it."""

import pytest

from pratique.redact.detectors.table import TableDetector
from tests.support.redact_corpus import values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id,dob\n1,1964-03-05\n2,5 March 1971", ["1964-03-05", "5 March 1971"]),
        ("a;SSN;b\nx;123456789;y", ["123456789"]),
        ("user\tpassword\nroot\thunter2!", ["hunter2!"]),
        ('mrn,note\n"A-12345","well, and fed"', ["A-12345"]),
        ("first_name,age\nZoltan,41\nbroken\nNobody,12", ["Zoltan"]),
        ("dob,x\n1964-03-05,a,too many\n1971-12-01,b", ["1971-12-01"]),
        ("| dob | x |\r\n| 05.03.1964 | a |\r", ["05.03.1964"]),
    ],
)
def test_finds(text, expected):
    assert values(TableDetector(), text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "name,price\nBolt,12.50",
        "date,amount\n2024-03-05,17",
        "token,count\nthe,17",
        "dob,x\nunknown,a",
        "My birthday, a holiday\n2024-03-05, at noon",
        "dob 1964-03-05",
    ],
)
def test_leaves_look_alikes(text):
    assert values(TableDetector(), text) == []

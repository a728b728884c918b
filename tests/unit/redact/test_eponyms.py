"""Things named after people are no people, unless the words around say so."""

import pytest

from pratique.redact import Redactor
from pratique.redact.eponyms import is_eponym


@pytest.fixture(scope="module")
def redactor():
    return Redactor()


@pytest.mark.parametrize(
    "name", [b"calvin klein", b"newton-raphson", b"gibson les paul", b"dr. martens"]
)
def test_known(name):
    assert is_eponym(name)


@pytest.mark.parametrize("name", [b"calvin", b"paul smith", b"", b"klein calvin"])
def test_unknown(name):
    assert not is_eponym(name)


@pytest.mark.parametrize(
    "text",
    [
        "She bought Calvin Klein jeans.",
        "Dr. Martens boots",
        "a Ford Mustang",
        "San José and Rio de Janeiro",
        "the Kolmogorov Smirnov test",
    ],
)
def test_things_stay(redactor, text):
    assert redactor.redact(text).text == text


@pytest.mark.parametrize(
    "text", ["Dear Calvin Klein,", "Patient: Harley Davidson", "Paul Smith wrote."]
)
def test_people_do_not(redactor, text):
    assert "[PERSON]" in redactor.redact(text).text

"""The marked-up corpora: how much is covered, plain and hidden, and what is left alone."""

import pytest

from pratique.redact import Redactor
from tests.support.redact_corpus import lines, marked, uncovered


@pytest.fixture(scope="module")
def redactor():
    return Redactor()


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("plain", 0.98),
        ("plain2", 0.96),
        ("plain3", 0.96),
        ("obfuscated", 0.95),
        ("obfuscated2", 0.95),
    ],
)
def test_marked_spans_are_wholly_covered(redactor, name, share):
    missed = [
        (text, text[s[0] : s[1]])
        for text, spans in marked(name)
        for s in uncovered(spans, redactor.spans(text))
    ]
    total = sum(len(spans) for _, spans in marked(name))
    assert total > 100
    assert len(missed) <= (1 - share) * total, missed


@pytest.mark.parametrize("name", ["harmless", "harmless2", "harmless3"])
def test_harmless_texts_stay_as_they_are(redactor, name):
    touched = [text for text in lines(name) if redactor.redact(text).text != text]
    assert len(touched) <= 0.02 * len(lines(name)), touched

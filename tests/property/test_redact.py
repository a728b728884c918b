"""Whatever the text: spans are sound, nothing raises, and planted values do not come out."""

import base64
import itertools
import json
import logging
import urllib.parse

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pratique.redact import Redactor, StreamRedactor, redact
from pratique.redact.records import RecordRenderer
from pratique.redact.skeleton import skeleton
from pratique.redact.view import decoded_view, raw_view

MAIL = "zq.planted@example.com"
words = st.text(max_size=60)


@given(st.text(max_size=400))
@example("%" * 30)
@example("\\u00\\")
@settings(deadline=None, max_examples=150)
def test_spans_are_sorted_disjoint_and_inside(text):
    found = redact(text)
    assert found.withheld == ""
    at = 0
    for span in found.spans:
        assert at <= span.start < span.end <= len(text)
        at = span.end


@given(words, words)
@settings(deadline=None, max_examples=80)
def test_a_planted_address_never_comes_out(before, after):
    assert MAIL not in redact(f"{before} {MAIL} {after}").text


@given(st.text(alphabet="abcdefgh 0123456789.,\n", max_size=40), st.integers(0, 3))
@settings(deadline=None, max_examples=60)
def test_an_encoded_address_never_comes_out(around, how):
    encodings = [
        base64.b64encode(MAIL.encode()).decode(),
        urllib.parse.quote(MAIL, safe=""),
        "".join(f"&#{ord(c)};" for c in MAIL),
        "".join(f"\\u{ord(c):04x}" for c in MAIL),
    ]
    assert encodings[how] not in redact(f"{around}\n{encodings[how]}\n{around}").text


@given(st.text(max_size=120), st.lists(st.integers(0, 120), max_size=6))
@settings(deadline=None, max_examples=60)
def test_streams_are_redacted_joined(text, cuts):
    stream = StreamRedactor()
    edges = [0, *sorted(c for c in cuts if c <= len(text)), len(text)]
    for a, b in itertools.pairwise(edges):
        stream.feed(text[a:b])
    assert stream.finish() == redact(text)


@given(st.text(max_size=200))
@settings(deadline=None)
def test_views_map_every_character_back(text):
    view = raw_view(text)
    for each in (view, decoded_view(view)):
        if each is None:
            continue
        assert len(skeleton(each.text)) == len(each.text)
        last = 0
        for i in range(len(each.text)):
            start, end = each.origin(i, i + 1)
            assert 0 <= start < end <= len(text)
            assert start >= last
            last = start


@given(
    st.text(max_size=120), st.dictionaries(st.text(max_size=8), st.text(max_size=40), max_size=3)
)
@settings(deadline=None, max_examples=60)
def test_a_record_is_one_line_of_json(message, extra):
    record = logging.makeLogRecord({"msg": message, "data": extra})
    line = RecordRenderer(Redactor()).line(record)
    assert json.loads(line)
    assert line.isascii()
    assert not any(ord(c) < 0x20 or ord(c) == 0x7F for c in line)

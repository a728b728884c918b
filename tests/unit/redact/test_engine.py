"""Redacting one text: offsets, counts, and failing closed."""

import re
import socket

import pytest

from pratique.redact import MAX_CHARS, EntityType, Redactor, Span, redact


class _Broken:
    name = "broken"

    def find(self, view):
        raise RuntimeError(view.text)


class _All:
    name = "all"

    def find(self, view):
        return [Span(0, len(view.text), EntityType.SECRET)]


def test_spans_are_code_point_offsets_into_the_input():
    text = "😀 mail jane@example.com, карта 4111 1111 1111 1111"
    found = redact(text)
    assert [(text[s.start : s.end], s.type) for s in found.spans] == [
        ("jane@example.com", EntityType.EMAIL),
        ("4111 1111 1111 1111", EntityType.CARD),
    ]
    assert found.text == "😀 mail [EMAIL], карта [CARD]"
    assert dict(found.counts) == {EntityType.EMAIL: 1, EntityType.CARD: 1}
    assert found.withheld == ""


def test_an_error_in_a_detector_withholds_the_whole_text():
    found = Redactor(detectors=[_Broken()]).redact("jane and more")
    assert found.text == "[WITHHELD:error]"
    assert found.spans == (Span(0, 13, EntityType.SECRET),)
    assert found.withheld == "error"


def test_no_time_withholds_the_whole_text():
    assert Redactor(seconds=-1).redact("jane").text == "[WITHHELD:time-out]"


def test_too_long_a_text_is_withheld_and_the_longest_is_not():
    assert redact("a" * (MAX_CHARS + 1)).withheld == "too long"
    assert redact("a" * MAX_CHARS).withheld == ""


def test_empty_text():
    assert redact("").spans == ()


def test_redacting_twice_changes_nothing():
    once = redact("password: hunter2, mail jane@example.com, Mr. John Smith").text
    assert redact(once).text == once


def test_a_forged_token_hides_nothing():
    assert "4111" not in redact("[EMAIL:k1:4111111111111111]").text


def test_a_finding_in_an_encoded_run_covers_the_run():
    assert redact("x am9obi5kb2VAZXhhbXBsZS5jb20= y").text == "x [EMAIL] y"


def test_twice_encoded():
    assert redact("YW05b2JpNWtiMlZBWlhoaGJYQnNaUzVqYjIwPQ==").text == "[EMAIL]"


def test_too_many_encoded_runs_are_all_withheld():
    runs = " ".join(["SGVsbG8sIFdvcmxkISEh"] * 65)
    assert "SGVs" not in redact(runs).text


def test_lone_surrogates_do_not_pass_an_address():
    assert "jane@" not in redact("\ud800 jane@example.com").text


def test_no_network_call(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    found = redact("call 020 7946 0958 or jane@example.co.uk, https://u:p@x.example/")
    assert len(found.spans) == 3


@pytest.mark.parametrize("kind", EntityType)
def test_types_are_the_sixteen(kind):
    assert re.fullmatch("[A-Z_]+", kind)
    assert len(EntityType) == 16


def test_overlapping_findings_become_one():
    both = Redactor(detectors=[_All(), *Redactor()._detectors]).redact("jane@example.com x")
    assert both.text == "[SECRET]"

"""Events become canonical OCSF lines and come back; what is not on the list does not get in."""

import dataclasses
import hashlib
import json

import pytest
import rfc8785

from pratique.errors import FormatError
from pratique.ledger import events as ev
from pratique.ledger.record import Chain, parse, render
from tests.support.ledgers import COMMIT, HEX, ONE_OF_EACH, OTHER, request

CHAIN = Chain("pratique/ledger/0123456789abcdef", "01234567")
EVENTS = [*ONE_OF_EACH, request()]


def line_of(event, *, number=3, previous=HEX):
    line, _ = render(
        event, number=number, previous=previous, time_ms=1_700_000_000_000, chain=CHAIN
    )
    return line


def kinds(event):
    return event.kind


def test_every_kind_is_tried():
    assert {event.kind for event in EVENTS} == set(ev.KINDS)


@pytest.mark.parametrize("event", EVENTS, ids=kinds)
def test_a_line_is_rfc_8785_and_comes_back(event):
    line = line_of(event)
    assert rfc8785.dumps(json.loads(line)) == line
    record = parse(line, CHAIN)
    assert (record.kind, record.number, record.previous) == (event.kind, 3, HEX)
    wanted = {k: v for k, v in dataclasses.asdict(event).items() if v is not None}
    wanted = {k: list(v) if isinstance(v, tuple) else v for k, v in wanted.items()}
    assert record.fields == wanted


@pytest.mark.parametrize("event", EVENTS, ids=kinds)
def test_the_fingerprint_is_the_digest_of_the_line_without_it(event):
    value = json.loads(line_of(event))
    claimed = value["attestation_list"][0].pop("fingerprint")["value"]
    assert hashlib.sha256(rfc8785.dumps(value)).hexdigest() == claimed


@pytest.mark.parametrize("event", EVENTS, ids=kinds)
def test_what_ocsf_requires_is_there(event):
    # OCSF 1.9: base_event, and the classes 3004, 6002 and 6003 with their profiles.
    value = json.loads(line_of(event))
    assert value["type_uid"] == value["class_uid"] * 100 + value["activity_id"]
    assert value["category_uid"] == value["class_uid"] // 1000
    assert {"time", "severity_id", "metadata"} <= set(value)
    assert {"product", "version"} <= set(value["metadata"])
    required = {3004: {"entity"}, 6002: {"app"}, 6003: {"actor", "api", "src_endpoint"}}
    assert required[value["class_uid"]] <= set(value)
    if model := value.get("ai_model"):
        assert {"model_name", "ai_provider"} <= set(model)
    if context := value.get("message_context"):
        assert context["total_tokens"] == context["prompt_tokens"] + context["completion_tokens"]
        assert "service" in context


def test_the_first_event_names_no_predecessor():
    assert b"prev_event" not in line_of(request(), number=0, previous="")
    assert parse(line_of(request(), number=0, previous=""), CHAIN).previous == ""


def test_a_request_has_no_room_for_words():
    assert {f.name for f in dataclasses.fields(ev.Request)} == {
        "request", "caller", "bundle", "name", "rung", "route", "status", "finish", "prompt_chars",
        "completion_chars", "prompt_tokens", "completion_tokens", "latency_us", "first_token_us",
        "streamed", "entities", "fingerprint",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("request", "two\nlines"),
        ("request", "x" * 257),
        ("request", "\x1b[2J"),
        ("request", "zero\u200bwidth"),
        ("request", "\ud800"),
        ("request", 7),
        ("bundle", "short"),
        ("bundle", HEX.upper()),
        ("prompt_chars", -1),
        ("prompt_chars", 2**53),
        ("prompt_chars", 1.0),
        ("prompt_chars", True),
        ("prompt_chars", None.__class__),
        ("streamed", 1),
        ("entities", {"EMAIL": "maria@example.org"}),
        ("entities", {"maria@example.org": 1}),
        ("entities", [("EMAIL", 1)]),
        ("entities", {f"T{i}": 1 for i in range(257)}),
    ],
)
def test_a_field_without_its_form_is_a_bug_of_the_caller(field, value):
    with pytest.raises(TypeError, match=f"request.{field}"):
        line_of(request(**{field: value}))


def test_only_events_are_recorded():
    @dataclasses.dataclass(frozen=True)
    class Prompt:
        kind = "request"
        text: str = "my card is 4111 1111 1111 1111"

    for thing in (Prompt(), {"kind": "request"}, "text", None):
        with pytest.raises(TypeError, match="not a ledger event"):
            line_of(thing)


@pytest.mark.parametrize("event", [ev.Admission, ev.Vetting])
def test_ids_are_checked_by_their_form(event):
    good = next(e for e in ONE_OF_EACH if type(e) is event)
    for field, value in (("commit", OTHER), ("repo", "../x"), ("policy_digest", COMMIT)):
        with pytest.raises(TypeError):
            line_of(dataclasses.replace(good, **{field: value}))
    assert "commit" not in json.loads(line_of(dataclasses.replace(good, commit=None)))["unmapped"]


@pytest.mark.parametrize(
    "words", ["a\nb", "\x1b]0;x\x07", "x" * 10_000, "\ud800", "\u202egnp", "é"]
)
def test_a_remark_is_made_fit(words):
    line = line_of(ev.Refusal(verb="vet", subject=words, code=10, reason=words, by="uid:0"))
    fields = parse(line, CHAIN).fields
    assert fields["reason"].isprintable()
    assert 0 < len(fields["reason"]) <= ev.MAX_REMARK
    assert (fields["reason"] == words) == (words == "é")


def refused(line):
    with pytest.raises(FormatError):
        parse(line, CHAIN)


def test_another_spelling_of_the_same_line_is_refused():
    line = line_of(request())
    refused(line.replace(b'":', b'": ', 1))
    refused(line + b" ")
    refused(line.replace(b'"status":200', b'"status":200.0'))
    refused(line.replace(b'"status":200', b'"status":2e2'))
    refused(line.replace(b'"status":200', b'"status":200,"status":200'))
    refused(line.replace(b"sample", b"s\\u0061mple"))
    refused(json.dumps(json.loads(line)).encode())


@pytest.mark.parametrize(
    "line",
    [b"", b"null", b"[]", b"{}", b"{", b"\xff", b"[" * 60_000, b"x" * 70_000, b'{"a":NaN}'],
)
def test_what_is_no_event_is_refused(line):
    refused(line)


def test_an_edit_does_not_fit_the_fingerprint():
    line = line_of(request())
    refused(line.replace(b'"status":200', b'"status":500'))
    refused(line.replace(HEX.encode(), OTHER.encode(), 1))


def test_another_logs_line_is_refused():
    line, _ = render(
        request(),
        number=3,
        previous=HEX,
        time_ms=1,
        chain=Chain("pratique/ledger/other", "01234567"),
    )
    refused(line)


def test_a_marker_inside_a_string_does_not_move_the_fingerprint():
    hostile = f'{CHAIN.marker.decode()}"fingerprint":{{'
    assert parse(line_of(request(caller=hostile)), CHAIN).fields["caller"] == hostile

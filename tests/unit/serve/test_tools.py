"""Calls in a model's text: found in the template's form, never invented, never lost."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pratique.core.wire import ToolForm
from pratique.serve.gateway.tools import Held, Reading

TAGGED = Reading(frozenset({"f"}), ToolForm.TAGGED)
BARE = Reading(frozenset({"f"}), ToolForm.BARE)
LISTED = Reading(frozenset({"f"}), ToolForm.LISTED)
CALL = '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>'


def test_calls_of_offered_tools_are_taken_out():
    rest, calls = TAGGED.split(f"Sure. {CALL}\n{CALL}")
    assert rest == "Sure."
    assert [(call.name, call.arguments) for call in calls] == [("f", '{"x": 1}')] * 2
    assert len({call.id for call in calls}) == 2
    assert len(Reading(frozenset({"f"}), ToolForm.TAGGED, several=False).split(CALL * 2)[1]) == 1


def test_the_other_forms():
    rest, (call,) = BARE.split(' {"name": "f", "parameters": {"x": "}"}} ')
    assert (rest, call.arguments) == ("", '{"x": "}"}')
    rest, calls = LISTED.split('[{"name": "f", "arguments": {}}, {"name": "f", "arguments": {}}]')
    assert (rest, len(calls)) == ("", 2)


def test_what_closes_a_call_may_stand_in_its_arguments():
    value = {"name": "f", "arguments": {"x": "}</tool_call> {"}}
    (call,) = TAGGED.split(f"<tool_call>{json.dumps(value)}</tool_call>")[1]
    assert json.loads(call.arguments) == value["arguments"]


@pytest.mark.parametrize(
    "arguments",
    [
        '{"x": 1e999}',  # read, it would be infinity, for which JSON has no word
        '{"x": %s}' % ("1" * 5000),  # longer than Python reads a number
        '{"x": 12345678901234567890.125}',  # of which a float keeps half
        '{"x": "\\ud800"}',  # half a character: written again it could not be sent
        '{ "x" :\n[1 , {"name": "g"}]\t}',
        '{"arguments": 1, "parameters": {"y": []}}',
        "{}",
    ],
)
def test_arguments_go_out_as_the_model_wrote_them(arguments):
    (call,) = TAGGED.split(f'<tool_call> {{"name": "f", "arguments": {arguments}}}</tool_call>')[1]
    assert call.arguments == arguments
    (call,) = BARE.split(f' {{"parameters": {arguments} , "name": "f"}}\n')[1]
    assert call.arguments == arguments
    item = f'{{"name": "f" ,"arguments":{arguments}}}'
    calls = LISTED.split(f"[ {item},{item} ]")[1]
    assert [call.arguments for call in calls] == [arguments] * 2


def test_of_names_that_come_twice_the_last_counts_and_what_is_missing_is_empty():
    (call,) = BARE.split(
        '{"parameters": {"x": 1}, "name": "g", "name": "f", "parameters": {"x": 2}}'
    )[1]
    assert call.arguments == '{"x": 2}'
    assert BARE.split('{"name": "f"}')[1][0].arguments == "{}"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("arguments"), inner),
        max_leaves=12,
    ),
    st.sampled_from([None, 1]),
)  # fmt: skip
def test_whatever_the_arguments_they_are_found_whole(value, indent):
    arguments = json.dumps({"x": value}, indent=indent)
    (call,) = TAGGED.split(f'<tool_call>{{"name":"f","arguments":{arguments}}}</tool_call>')[1]
    assert call.arguments == arguments


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>{"name": "g", "arguments": {}}</tool_call>',
        '<tool_call>{"name": "f", "arguments": "rm -rf"}</tool_call>',
        '<tool_call>{"name": "f", "arguments": {"x": NaN}}</tool_call>',
        '<tool_call>{"name": ["f"]}</tool_call>',
        "<tool_call>{</tool_call>",
        '<tool_call>{"name": "f"',
        '<tool_call>{"name": "f"} and more</tool_call>',
        "<tool_call>" + "[" * 100_000,
        "<tool_call>" * 1000,
    ],
)
def test_what_is_not_a_call_of_an_offered_tool_stays_text(text):
    assert TAGGED.split(text) == (text, [])


@pytest.mark.parametrize(
    "text",
    ['{"name": "g", "parameters": {}}', '{"name": "f", "parameters": {}} and', "{}", "", "f",
     '[{"name": "f", "parameters": {}}, {"name": "g", "parameters": {}}]'],
)  # fmt: skip
def test_a_bare_answer_is_a_call_only_as_a_whole(text):
    assert BARE.split(text) == (text, [])


@pytest.mark.parametrize("form", [ToolForm.BARE, ToolForm.LISTED])
def test_beside_a_schema_only_what_has_arguments_is_a_call(form):
    word = "parameters" if form is ToolForm.BARE else "arguments"
    reading = Reading(frozenset({"f"}), form, beside_json=True)
    for text in ('{"name": "f"}', '{"name": "f", "age": 5}', f'{{"name": "f", "{word}": null}}'):
        assert reading.split(text) == (text, [])
    (call,) = reading.split(f'{{"name": "f", "{word}": {{}}}}')[1]
    assert call.arguments == "{}"


def test_without_tools_nothing_is_looked_for():
    assert Reading(frozenset(), ToolForm.TAGGED).split(CALL) == (CALL, [])


@example(["<tool", CALL, "\n", "<tool"], 1, TAGGED)
@given(
    st.lists(st.sampled_from([CALL, "<tool", "_call>", "a <b> ", "é", "{", "\n"]), max_size=8),
    st.integers(1, 7),
    st.sampled_from([TAGGED, BARE, LISTED]),
)
def test_a_stream_says_what_the_whole_says(parts, size, reading):
    whole = "".join(parts)
    held = Held(reading)
    pieces = [held.push(whole[at : at + size]) for at in range(0, len(whole), size)]
    sent = "".join(pieces)
    last, calls = held.finish("")
    text, wanted = reading.split(whole)
    assert [(c.name, c.arguments) for c in calls] == [(c.name, c.arguments) for c in wanted]
    assert (sent + last).split() == text.split() or not calls
    if not calls:
        assert sent + last == whole


FRAGMENTS = [
    "<tool_call>",
    "</tool_call>",
    "{",
    "}",
    '"',
    "\\",
    ":",
    ",",
    "name",
    "f",
    "\n",
    CALL,
    CALL[11:],
]
STRINGS = st.lists(st.sampled_from(FRAGMENTS), max_size=6).map("".join)


@given(
    st.recursive(
        STRINGS | st.none() | st.integers(0, 9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(STRINGS, inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from([None, 1]),
)
def test_no_answer_in_json_reads_as_a_tagged_call(value, indent):
    """An answer of a schema may stand beside calls only because of this."""
    for ascii_only in (True, False):
        text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
        assert TAGGED.split(text) == (text, [])

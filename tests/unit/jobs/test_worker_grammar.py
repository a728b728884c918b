"""Answers that a grammar holds: they parse, they are of the schema, and everything else still works."""

import itertools
import json
import re
from types import SimpleNamespace
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pratique.core.load import Limits
from pratique.core.wire import (
    Cancel,
    Delta,
    Done,
    Failed,
    Fault,
    Finish,
    Generate,
    Sampling,
    Stop,
    ToolForm,
)
from pratique.jobs.worker_grammar import Grammars
from pratique.jobs.worker_job import Job, admit
from pratique.jobs.worker_schema import SchemaRefused
from pratique.jobs.worker_vocabulary import NotByText, Vocabulary
from pratique.serve.gateway.tools import Reading
from tests.support import model_tokenizers
from tests.unit.jobs.test_worker_engine import engine_for

POINT = {
    "type": "object",
    "properties": {
        "ok": {"type": "boolean"},
        "side": {"enum": ["left", "rïght", None]},
        "n": {"type": "integer", "minimum": -5, "maximum": 12},
    },
    "required": ["ok", "side", "n"],
    "additionalProperties": False,
}
TOOLS: tuple[dict[str, Any], ...] = (
    {"type": "function", "function": {"name": "turn", "parameters": POINT}},
    {
        "type": "function",
        "function": {
            "name": "stop_2.x",
            "parameters": {
                "properties": {"when": {"$ref": "#/$defs/when"}},
                "required": ["when"],
                "additionalProperties": False,
                "$defs": {"when": {"enum": ["now", '"}}</tool_call>']}},
            },
        },
    },
)


def grammars_for(
    loaded: Any,
    form: ToolForm = ToolForm.TAGGED,
    room: int = 2**30,
    ends: frozenset[int] = frozenset({1}),
) -> Grammars:
    return Grammars(
        loaded.tokenizer,
        rows=loaded.vocabulary,
        ends=ends,
        form=form,
        room=room,
        context=256,
    )


def run(
    loaded: Any,
    heard: Any,
    *requests: Generate,
    limits: Limits | None = None,
    solo: bool = False,
    form: ToolForm = ToolForm.TAGGED,
) -> dict[tuple[int, int], Done]:
    """Answer requests together; return each choice's end."""
    engine, prompts, limits = engine_for(loaded, heard, limits, solo=solo)
    grammars = grammars_for(loaded, form)
    for request in requests:
        job = admit(request, prompts, limits, grammars.masks)
        if isinstance(job, Job):
            engine.inbox.put(job)
        else:
            heard.send(job)
    engine.inbox.put(Stop())
    engine.run()
    return {(done.id, done.index): done for done in heard.of(Done)}


def asked(number: int = 1, **more: Any) -> Generate:
    sampling = {"seed": number, "temperature": 1.0, **more.pop("sampling", {})}
    return Generate(
        **{"id": number, "tokens": (5, 6, 7), "max_tokens": 120, "schema": POINT, **more},
        sampling=Sampling(**sampling),
    )


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gemma3", "deepseek_v3"])
@pytest.mark.parametrize("solo", [False, True])
def test_the_answer_is_of_the_schema_in_every_lane(loaded, heard, architecture, solo):
    model = loaded(architecture)[0]
    for done in run(model, heard, asked(1), asked(2, n=2), solo=solo).values():
        assert done.finish is Finish.STOP
        jsonschema.validate(json.loads(done.text), POINT)


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 0},
        {"temperature": 5.0},
        {"top_k": 1},
        {"top_k": 50, "top_p": 0.5},
        {"top_p": 0.01},
        {"min_p": 0.9},
        {"logit_bias": {1: 100.0, 5: 100.0, 0: 100.0, 9: -100.0}},
        {"presence_penalty": 2, "frequency_penalty": 2, "repetition_penalty": 3},
    ],
)
def test_it_goes_with_every_setting(loaded, heard, sampling):
    for done in run(loaded("llama")[0], heard, asked(1, sampling=sampling, n=2)).values():
        if done.finish is Finish.STOP:
            jsonschema.validate(json.loads(done.text), POINT)
        else:  # the likeliest next token may be a space for as long as spaces are allowed
            assert done.completion_tokens == 120
            assert re.match(r"\{\s", done.text)


def test_a_seeded_answer_is_the_same_alone_and_among_others(loaded, heard):
    model = loaded("llama")[0]
    (alone,) = run(model, heard, asked(7)).values()
    heard.messages.clear()
    free = Generate(id=3, tokens=(9, 8), max_tokens=30, sampling=Sampling(seed=3))
    among = run(model, heard, asked(4), free, asked(7), asked(5, schema={"type": "object"}))
    assert among[7, 0].text == alone.text


def test_a_free_answer_is_untouched_by_a_held_one(loaded, heard):
    model = loaded("llama")[0]
    free = Generate(id=3, tokens=(9, 8), max_tokens=30, sampling=Sampling(seed=3))
    (alone,) = run(model, heard, free).values()
    heard.messages.clear()
    assert run(model, heard, asked(1), free)[3, 0].text == alone.text


def test_choices_differ_and_streams_and_scores_are_whole(loaded, heard):
    found = run(loaded("llama")[0], heard, asked(1, n=4, stream=True, logprobs=2))
    texts = []
    for (_, index), done in found.items():
        deltas = [delta for delta in heard.of(Delta) if delta.index == index]
        texts.append("".join(delta.text for delta in deltas) + done.text)
        jsonschema.validate(json.loads(texts[-1]), POINT)
        scores = sum(len(delta.scores) for delta in deltas) + len(done.scores)
        assert scores == done.completion_tokens
    assert len(set(texts)) > 1


def test_what_max_tokens_cuts_says_so(loaded, heard):
    (done,) = run(loaded("llama")[0], heard, asked(1, max_tokens=3)).values()
    assert (done.finish, done.completion_tokens) == (Finish.LENGTH, 3)


def test_a_stop_string_ends_it_before_the_string(loaded, heard):
    (done,) = run(loaded("llama")[0], heard, asked(1, stop=('"side"',))).values()
    assert done.finish is Finish.STOP
    assert '"ok"' in done.text
    assert '"side"' not in done.text


def test_who_ignores_the_end_still_gets_json_that_is_complete(loaded, heard):
    # a number may always go on, so that only the end token would end it
    number = {"type": "integer"}
    found = run(
        loaded("llama")[0], heard,
        asked(1, schema=number, ignore_eos=True, max_tokens=30), asked(2, ignore_eos=True),
    )  # fmt: skip
    assert found[1, 0].finish is Finish.LENGTH
    assert found[1, 0].text.lstrip("-").isdecimal()
    assert found[2, 0].finish is Finish.STOP
    jsonschema.validate(json.loads(found[2, 0].text), POINT)


def test_special_tokens_are_never_text(loaded, heard):
    model = loaded("llama")[0]
    specials = set(range(6))
    masks = grammars_for(model).masks(asked(1, schema={"type": "string"}))
    allowed = masks[0].allowed(model.vocabulary)
    assert allowed.any()
    masks[0].accept(model.tokenizer.convert_tokens_to_ids('"'))
    inside = masks[0].allowed(model.vocabulary)
    assert not inside[list(specials)].any()
    constant = {"const": "</s><|end|><|user|>"}
    (done,) = run(model, heard, asked(1, schema=constant)).values()
    assert json.loads(done.text) == constant["const"]


def test_rows_beyond_the_tokenizer_are_never_chosen(loaded):
    model = loaded("llama")[0]
    grammars = Grammars(
        model.tokenizer, rows=model.vocabulary + 64, ends=frozenset({1, 430}),
        form=ToolForm.NONE, room=2**30, context=64,
    )  # fmt: skip
    mask = grammars.masks(asked(1, schema={}))[0]
    assert len(mask.allowed(model.vocabulary + 64)) == model.vocabulary + 64
    assert not mask.allowed(model.vocabulary + 64)[model.vocabulary :].any()
    assert len(mask.allowed(10)) == 10


@pytest.mark.parametrize("ends", [frozenset(), frozenset({1}), frozenset({1, 2})])
def test_a_model_without_an_end_token_completes_too(loaded, ends):
    model = loaded("llama")[0]
    grammars = grammars_for(model, ToolForm.NONE, ends=ends)
    (mask,) = grammars.masks(asked(1, schema={"const": "ab"}))
    ids = []
    for _ in range(10):
        ids.append(int(np.flatnonzero(mask.allowed(model.vocabulary))[0]))
        if mask.accept(ids[-1]):
            break
    assert model.tokenizer.decode(ids) == '"ab"'
    assert not mask.failed


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        ({"type": "string", "pattern": "("}, Fault.BAD_SCHEMA),
        ({"type": "string", "pattern": "(?=a)b"}, Fault.BAD_SCHEMA),
        ({"type": "string", "format": "iri"}, Fault.BAD_SCHEMA),
        ({"type": "banana"}, Fault.BAD_SCHEMA),
        ({"enum": []}, Fault.BAD_SCHEMA),
        ({"type": "integer", "minimum": 2, "maximum": 1}, Fault.BAD_SCHEMA),
        ({"allOf": [{"type": "integer"}, {"type": "string"}]}, Fault.BAD_SCHEMA),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, Fault.BAD_SCHEMA),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, Fault.BAD_SCHEMA),
        ({"type": "object", "properties": {"a": False}, "required": ["a"]}, Fault.BAD_SCHEMA),
        ({"uniqueItems": True}, Fault.SCHEMA_KEYWORD),
        ({"enum": list(range(9999))}, Fault.SCHEMA_TOO_BIG),
    ],
)
def test_what_cannot_be_compiled_is_refused_with_a_code(loaded, heard, schema, fault):
    assert run(loaded("llama")[0], heard, asked(1, schema=schema)) == {}
    assert heard.of(Failed)[0].fault is fault


def test_a_grammar_that_comes_to_its_limits_costs_its_request_alone(loaded, heard, monkeypatch):
    from pratique.jobs import worker_grammar

    count = itertools.count()
    accept = worker_grammar.GrammarMask.accept

    def failing(self: Any, token: int) -> bool:
        if next(count) == 10:
            self.failed = True
        return accept(self, token)

    monkeypatch.setattr(worker_grammar.GrammarMask, "accept", failing)
    free = Generate(id=3, tokens=(9, 8), max_tokens=30, ignore_eos=True)
    found = run(loaded("llama")[0], heard, asked(1, n=3), free)
    assert set(found) == {(3, 0)}
    assert {(one.id, one.fault) for one in heard.of(Failed)} == {(1, Fault.SCHEMA_TOO_BIG)}


@pytest.mark.parametrize("sampling", [{"temperature": 0}, {}, {"top_k": 5}, {"top_p": 0.5}])
def test_where_nothing_is_allowed_an_end_token_does_not_make_an_answer(
    loaded, heard, monkeypatch, sampling
):
    """With nothing to choose from a draw gives any token, and 0 ends an answer in many a vocabulary."""
    from pratique.jobs import worker_grammar

    count = itertools.count()
    allowed = worker_grammar.GrammarMask.allowed

    def failing(self: Any, size: int) -> Any:
        found = allowed(self, size)
        if next(count) == 4:
            self.failed = True
            found[:] = False
        return found

    monkeypatch.setattr(worker_grammar.GrammarMask, "allowed", failing)
    model = loaded("llama")[0]
    engine, prompts, limits = engine_for(model, heard)
    engine._ends = frozenset({0, 1})
    job = admit(asked(1, sampling=sampling), prompts, limits, grammars_for(model).masks)
    engine.inbox.put(job)
    engine.inbox.put(Stop())
    engine.run()
    assert not heard.of(Done)
    assert [one.fault for one in heard.of(Failed)] == [Fault.SCHEMA_TOO_BIG]


@pytest.mark.parametrize("ends", [frozenset({1}), frozenset({1, 2})])
def test_an_end_token_ends_nothing_that_is_not_complete(loaded, ends):
    model = loaded("llama")[0]
    grammars = grammars_for(model, ToolForm.NONE, ends=ends)
    for token in ends:
        (mask,) = grammars.masks(asked(1))
        mask.accept(token)
        assert mask.failed


@pytest.mark.parametrize(
    ("more", "of_tools"),
    [
        ({}, False),
        ({"tools": TOOLS, "may_call": ("turn",)}, False),
        ({"tools": TOOLS, "must_call": ("turn",)}, True),
        ({"tools": TOOLS, "must_call": ("turn",), "schema": None}, True),
    ],
)
def test_what_comes_to_its_limits_is_named_by_what_held_the_answer(
    loaded, heard, monkeypatch, more, of_tools
):
    from pratique.jobs import worker_grammar

    monkeypatch.setattr(
        worker_grammar.GrammarMask, "accept", lambda self, _: setattr(self, "failed", True)
    )
    assert not run(loaded("llama")[0], heard, asked(1, **more))
    assert [one.of_tools for one in heard.of(Failed)] == [of_tools]


def test_a_broken_model_gives_no_answer_rather_than_a_wrong_one(loaded, heard):
    mask = grammars_for(loaded("llama")[0]).masks(asked(1))[0]
    mask.accept(0)
    assert mask.failed
    assert not mask.allowed(100).any()


def test_the_place_of_a_grammar_is_free_again_when_its_request_is_gone(loaded, heard):
    model = loaded("llama")[0]
    grammars = grammars_for(model, room=8 * 2**20)
    engine, prompts, limits = engine_for(model, heard)
    for number in range(1, 4):  # each would wait for ever for the one before it
        job = admit(asked(number, n=2), prompts, limits, grammars.masks)
        assert isinstance(job, Job)
        engine._receive(job)
        engine._receive(Cancel(id=number))
        del job
        with pytest.raises(SchemaRefused):
            grammars.masks(asked(9, schema={"pattern": "("}))
    del engine


# --- calls of tools ---------------------------------------------------------------------------


def call_of(number: int = 1, **more: Any) -> Generate:
    return asked(number, **{"schema": None, "tools": TOOLS, "must_call": ("turn",), **more})


def arguments_are_right(value: dict[str, Any], word: str) -> None:
    tool = next(t["function"] for t in TOOLS if t["function"]["name"] == value["name"])
    jsonschema.validate(value[word], tool["parameters"])


@pytest.mark.parametrize("must", [("turn",), ("stop_2.x",), ("turn", "stop_2.x")])
def test_a_call_that_must_come_comes(loaded, heard, must):
    (done,) = run(loaded("llama")[0], heard, call_of(must_call=must)).values()
    start, end = '<tool_call>\n{"name": ', "\n</tool_call>"
    assert done.text.startswith(start)
    assert done.text.endswith(end)
    value = json.loads(done.text.removeprefix("<tool_call>").removesuffix("</tool_call>"))
    assert value["name"] in must
    arguments_are_right(value, "arguments")


def test_several_calls_only_where_they_are_wanted(loaded):
    model = loaded("llama")[0]
    grammars = grammars_for(model)
    counts: dict[bool, set[int]] = {True: set(), False: set()}
    for seed, several in itertools.product(range(20), (True, False)):
        (mask,) = grammars.masks(call_of(must_call=("stop_2.x",), several_calls=several))
        text = walk(mask, model.tokenizer, model.vocabulary, seed)
        counts[several].add(text.count('{"name": '))
    assert counts[False] == {1}
    assert max(counts[True]) > 1


def walk(mask: Any, tokenizer: Any, rows: int, seed: int) -> str:
    """Draw any token that is allowed until the answer is complete."""
    rng = np.random.default_rng(seed)
    ids: list[int] = []
    while (token := int(rng.choice(np.flatnonzero(mask.allowed(rows))))) != 1:
        ids.append(token)
        if mask.accept(token):
            break
        assert not mask.failed
    return str(tokenizer.decode(ids, skip_special_tokens=True))


def test_the_bare_form(loaded, heard):
    (done,) = run(loaded("llama")[0], heard, call_of(), form=ToolForm.BARE).values()
    arguments_are_right(json.loads(done.text), "parameters")


@pytest.fixture(scope="module")
def mistral(tmp_path_factory) -> Any:
    """A tokenizer with the special token that opens calls in the listed form, in the place of 2."""
    import transformers

    directory = tmp_path_factory.mktemp("listed")
    rows = model_tokenizers.write_tokenizer(directory)
    config = json.loads((directory / "tokenizer.json").read_text())
    for token in config["added_tokens"]:
        if token["content"] == "<|system|>":
            token["content"] = "[TOOL_CALLS]"
    vocab = config["model"]["vocab"]
    vocab["[TOOL_CALLS]"] = vocab.pop("<|system|>")
    (directory / "tokenizer.json").write_text(json.dumps(config))
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    return SimpleNamespace(tokenizer=tokenizer, vocabulary=rows)


def test_the_listed_form_begins_with_its_special_token(mistral):
    (mask,) = grammars_for(mistral, ToolForm.LISTED).masks(call_of())
    number = mistral.tokenizer.convert_tokens_to_ids("[TOOL_CALLS]")
    assert np.flatnonzero(mask.allowed(mistral.vocabulary)).tolist() == [number]
    (value,) = json.loads(walk(mask, mistral.tokenizer, mistral.vocabulary, 1))
    arguments_are_right(value, "arguments")


def test_what_opens_a_call_cannot_end_an_answer_too(mistral):
    number = mistral.tokenizer.convert_tokens_to_ids("[TOOL_CALLS]")
    grammars = Grammars(
        mistral.tokenizer, rows=mistral.vocabulary, ends=frozenset({1, number}),
        form=ToolForm.LISTED, room=2**30, context=64,
    )  # fmt: skip
    with pytest.raises(SchemaRefused) as caught:
        grammars.masks(call_of())
    assert caught.value.fault is Fault.TOOL_FORM_UNKNOWN


def takes(loaded: Any, mask: Any, text: str) -> bool:
    """Whether the grammar lets `text` be the whole answer, cut as the tokenizer cuts it."""
    for token in loaded.tokenizer.encode(text, add_special_tokens=False):
        if not mask.allowed(loaded.vocabulary)[token]:
            return False
        mask.accept(token)
    return bool(mask.allowed(loaded.vocabulary)[loaded.tokenizer.eos_token_id])


def test_text_may_be_anything_but_a_wrong_call(loaded):
    model = loaded("llama")[0]
    (mask,) = grammars_for(model).masks(call_of(must_call=(), may_call=("turn",)))
    ends = model.tokenizer.eos_token_id

    def say(text: str) -> None:
        for token in model.tokenizer.encode(text, add_special_tokens=False):
            mask.accept(token)
            assert not mask.failed, text

    assert mask.allowed(model.vocabulary)[ends]
    say('Well, <tool> {"name": "turn"} <tool_call')
    assert mask.allowed(model.vocabulary)[ends]
    say(">")
    assert not mask.allowed(model.vocabulary)[ends]
    say('\n{"name": "turn", "arguments": {"ok": true, "side": null, "n": 3}}\n</tool_call>')
    assert mask.accept(ends)


@pytest.mark.parametrize(
    ("form", "more", "fault"),
    [
        (ToolForm.NONE, {}, Fault.TOOL_FORM_UNKNOWN),
        (ToolForm.LISTED, {}, Fault.TOOL_FORM_UNKNOWN),
        (ToolForm.NONE, {"must_call": (), "may_call": ("turn",)}, Fault.TOOL_FORM_UNKNOWN),
        (ToolForm.LISTED, {"must_call": (), "may_call": ("turn",)}, Fault.TOOL_FORM_UNKNOWN),
        (
            ToolForm.NONE,
            {"must_call": (), "may_call": ("turn",), "schema": POINT},
            Fault.TOOL_FORM_UNKNOWN,
        ),
    ],
)
def test_what_a_template_cannot_say_is_refused(loaded, form, more, fault):
    with pytest.raises(SchemaRefused) as caught:
        grammars_for(loaded("llama")[0], form).masks(call_of(**more))
    assert caught.value.fault is fault


# --- calls or an answer of a schema, calls or text that is no call ----------------------------

CALLS = {
    ToolForm.TAGGED: '<tool_call>\n{"name": "turn", "arguments": %s}\n</tool_call>',
    ToolForm.BARE: '{"name": "turn", "parameters": %s}',
    ToolForm.LISTED: '[TOOL_CALLS][{"name": "turn", "arguments": %s}]',
}
RIGHT = '{"ok": true, "side": null, "n": 3}'
WRONG = '{"ok": true, "side": null, "n": 99}'
FORMS = pytest.mark.parametrize("form", list(CALLS))
PLACE: dict[str, Any] = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "nam": {"$ref": "#/$defs/t"}},
    "additionalProperties": False,
    "$defs": {"t": {"type": "string"}},
}


NAMED: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"const": "turn"}, "age": {"enum": [1, 2]}},
    "additionalProperties": False,
}  # people have names, and so has a function


def masks_for(mistral: Any, form: ToolForm, **more: Any) -> Any:
    request = call_of(**{"must_call": (), "may_call": ("turn",), **more})
    return grammars_for(mistral, form).masks(request)[0]


@FORMS
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (RIGHT, False),
        ('{"n": 3, "nam": "<tool_call>"}', True),
        ('{"nam": "[TOOL_CALLS][{"}', False),  # the special token, not its letters
        ("{}", True),
        ('{"name": "turn"}', False),
        ('{"n": "3"}', False),
        ("Sure", False),
        ("[]", False),
    ],
)
def test_with_a_schema_what_is_no_call_is_of_it(mistral, form, text, wanted):
    assert takes(mistral, masks_for(mistral, form, schema=PLACE), text) is wanted


@FORMS
@pytest.mark.parametrize("more", [{"schema": PLACE}, {}])
def test_with_a_schema_or_text_a_call_must_be_right(mistral, form, more):
    assert takes(mistral, masks_for(mistral, form, **more), CALLS[form] % RIGHT)
    assert not takes(mistral, masks_for(mistral, form, **more), CALLS[form] % WRONG)
    assert not takes(mistral, masks_for(mistral, form, **more), (CALLS[form] % RIGHT)[:-1])


@FORMS
@pytest.mark.parametrize("root", [PLACE, NAMED, {"type": "integer"}, {"type": ["null", "string"]}])
def test_both_answers_come_and_each_is_right(mistral, form, root):
    reading = Reading(frozenset({"turn"}), form, beside_json=True)
    kinds = set()
    for seed in range(24):
        mask = masks_for(mistral, form, schema=root)
        text = walk(mask, mistral.tokenizer, mistral.vocabulary, seed)
        _, calls = reading.split(text)
        kinds.add(bool(calls))
        for call in calls:
            jsonschema.validate(json.loads(call.arguments), POINT)
        if not calls:
            jsonschema.validate(json.loads(text), root)
    assert kinds >= {False} if form is ToolForm.LISTED else kinds == {True, False}


LIKE_CALLS: list[dict[str, Any]] = [
    {},
    {"type": "object"},
    {"type": "object", "additionalProperties": False, "properties": {"name": {}, "parameters": {}}},
    {"type": "object", "additionalProperties": False, "properties": {"arguments": {}, "name": {}}},
    {"type": "object", "additionalProperties": {"type": "integer"}},
    {"type": "object", "additionalProperties": False, "patternProperties": {"^n": {}}},
    {"type": "array", "items": {"type": "integer"}},
    {"type": ["string", "array"]},
    {"enum": [{"name": "turn"}]},
    {"const": {"name": "turn", "parameters": {}}},
    {"$ref": "#/$defs/a", "$defs": {"a": {"type": "object"}}},
    {"anyOf": [{"type": "integer"}, {"type": "object"}]},
]


@pytest.mark.parametrize("schema", LIKE_CALLS)
@pytest.mark.parametrize("form", [ToolForm.BARE, ToolForm.LISTED])
def test_a_schema_whose_answers_could_be_taken_for_calls_is_refused(mistral, form, schema):
    with pytest.raises(SchemaRefused) as caught:
        masks_for(mistral, form, schema=schema)
    assert (caught.value.fault, caught.value.of_tools) == (Fault.SCHEMA_LIKE_CALL, False)


@pytest.mark.parametrize("schema", LIKE_CALLS)
def test_a_form_with_an_opening_of_its_own_takes_any_schema(mistral, schema):
    assert masks_for(mistral, ToolForm.TAGGED, schema=schema).allowed(mistral.vocabulary).any()


@FORMS
def test_where_a_call_must_come_the_schema_is_only_looked_at(mistral, form):
    mask = masks_for(mistral, form, must_call=("turn",), may_call=(), schema={})
    assert takes(mistral, mask, CALLS[form] % RIGHT)
    mask = masks_for(mistral, form, must_call=("turn",), may_call=(), schema={})
    assert not takes(mistral, mask, "{}")
    with pytest.raises(SchemaRefused) as caught:
        masks_for(mistral, form, must_call=("turn",), may_call=(), schema={"not": {}})
    assert not caught.value.of_tools


@FORMS
def test_a_refusal_says_whether_schema_or_tools_are_at_fault(mistral, form):
    tool = {"type": "function", "function": {"name": "turn", "parameters": {"not": {}}}}
    for schema in (PLACE, None):
        with pytest.raises(SchemaRefused) as caught:
            masks_for(mistral, form, schema=schema, tools=(tool,))
        assert (caught.value.fault, caught.value.of_tools) == (Fault.SCHEMA_KEYWORD, True)


@pytest.mark.parametrize(
    ("parameters", "fault"),
    [
        (
            {f"p{at}": {"type": "string", "maxLength": at + 3} for at in range(490)},
            Fault.SCHEMA_TOO_BIG,
        ),
        ({"p": {"enum": [f"value number {at} of it" for at in range(1900)]}}, Fault.SCHEMA_TOO_BIG),
        ({f"p{at}": {"type": "string"} for at in range(20)}, None),
    ],
)
@pytest.mark.parametrize("schema", [None, PLACE])
def test_tools_that_are_too_large_together_are_called_so(mistral, parameters, fault, schema):
    """Each is within the limits; what is wrong with them is not that they are malformed."""
    tools = tuple(
        {
            "type": "function",
            "function": {"name": f"f{at}", "parameters": {"properties": parameters}},
        }
        for at in range(128)
    )
    names = tuple(f"f{at}" for at in range(128))
    if fault is None:
        assert masks_for(mistral, ToolForm.TAGGED, schema=schema, tools=tools, may_call=names)
        return
    with pytest.raises(SchemaRefused) as caught:
        masks_for(mistral, ToolForm.TAGGED, schema=schema, tools=tools, may_call=names)
    assert (caught.value.fault, caught.value.of_tools) == (fault, True)


@pytest.mark.parametrize("form", [ToolForm.BARE, ToolForm.LISTED])
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", True),
        (" \n", True),
        ("Sure.", True),
        ('I would say {"name": "turn", "parameters": {}}', True),
        ("\N{NO-BREAK SPACE}{", True),
        ('"{"', True),
        (RIGHT, False),
        ('\t{"name": "turn", "parameters": {}}', False),
        ('\r\n[{"name": "turn", "arguments": {}}]', False),
        ('{"name": "turn"}', False),
        ("[1]", False),
    ],
)
def test_where_a_call_is_a_whole_answer_text_does_not_begin_as_one(mistral, form, text, wanted):
    assert takes(mistral, masks_for(mistral, form), text) is wanted


@pytest.mark.parametrize("form", [ToolForm.BARE, ToolForm.LISTED])
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    parts=st.lists(
        st.sampled_from(
            [" ", "\n", "\t", "\x0b", "\u2028", "\ufeff", "a", "[", "]", "{", "}", '{"name": "turn"}',
             '{"name": "turn", "parameters": {}}', '{"name": "turn", "arguments": {"n": 1}}']
        ),
        max_size=4,
    )
)  # fmt: skip
def test_no_text_that_is_let_through_reads_as_a_wrong_call(mistral, form, parts):
    text = "".join(parts)
    if takes(mistral, masks_for(mistral, form), text):
        assert Reading(frozenset({"turn"}), form).split(text) == (text, [])


@pytest.mark.parametrize(
    "parameters", [{"type": "string"}, {"properties": {"a": {"pattern": "("}}}, {"not": {}}]
)
def test_parameters_are_held_to_the_same_rules(loaded, parameters):
    tool = {"type": "function", "function": {"name": "turn", "parameters": parameters}}
    with pytest.raises(SchemaRefused):
        grammars_for(loaded("llama")[0]).masks(call_of(tools=(tool,)))


# --- vocabularies -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["byte_bpe", "fallback_bpe"])
def test_tokens_are_the_bytes_that_the_decoder_gives(tmp_path, kind):
    import transformers

    rows = model_tokenizers.write_tokenizer(tmp_path, kind)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    vocabulary = Vocabulary(tokenizer, rows=rows, ends=frozenset({1}))
    text = '{"name": "Grüße, 日本語 🚢", "n": [1, 2.5e3, null]}'
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert vocabulary.tokenizer.decode_bytes(ids) == text.encode()
    for token in range(6):
        assert vocabulary.tokenizer.decode_bytes([token]) in {
            b"", b"[%d]" % token, b"<[%d]>" % token,
        }  # fmt: skip


@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
def test_tokens_without_certain_text_hold_no_grammar(tmp_path, kind):
    import transformers

    rows = model_tokenizers.write_tokenizer(tmp_path, kind)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    with pytest.raises(NotByText):
        Vocabulary(tokenizer, rows=rows, ends=frozenset({1}))


@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
def test_a_model_of_such_a_tokenizer_says_so_each_time(tmp_path, kind):
    import transformers

    rows = model_tokenizers.write_tokenizer(tmp_path, kind)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    grammars = Grammars(
        tokenizer, rows=rows, ends=frozenset({1}), form=ToolForm.TAGGED, room=2**30, context=64
    )
    for request in (asked(1), asked(2), call_of(3)):
        with pytest.raises(SchemaRefused) as caught:
            grammars.masks(request)
        assert caught.value.fault is Fault.SCHEMA_UNSUPPORTED_HERE


# --- any schema -------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "name", "ключ", "with space", 'quo"te', "", "a/b~c", "$ref"])
SCALARS = (
    st.none() | st.booleans() | st.integers(-999, 999) | st.text('ab"\\\n\x00é🚢</s>', max_size=4)
)
LEAVES = (
    st.fixed_dictionaries({"enum": st.lists(SCALARS, min_size=1, max_size=4)})
    | st.fixed_dictionaries({"const": SCALARS})
    | st.just({"type": "boolean"})
    | st.just({"type": ["null", "boolean"]})
    | st.builds(
        lambda low, more: {"type": "integer", "minimum": low, "maximum": low + more},
        st.integers(-1000, 1000),
        st.integers(0, 5000),
    )
    | st.builds(lambda n: {"type": "string", "maxLength": n}, st.integers(0, 6))
    | st.sampled_from(
        [
            {"type": "string", "pattern": "^[a-c]{1,4}$"},
            {"type": "string", "pattern": "^(ab|cd)*x$"},
            {"type": "string", "format": "date"},
            {"type": "string", "format": "ipv4"},
            {"type": "integer", "multipleOf": 7, "minimum": 0, "maximum": 10_000},
        ]
    )
)


def _object(properties: dict[str, Any], required: list[str], more: Any) -> dict[str, Any]:
    kept = sorted(set(required) & properties.keys())
    return {
        "type": "object", "properties": properties, "required": kept, "additionalProperties": more,
    }  # fmt: skip


SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(
            _object, st.dictionaries(NAMES, inner, max_size=3), st.lists(NAMES, max_size=4),
            st.just(False) | inner,
        )
        | st.builds(lambda items, n: {"type": "array", "items": items, "maxItems": n}, inner, st.integers(0, 2))
        | st.builds(lambda parts: {"anyOf": parts}, st.lists(inner, min_size=1, max_size=3))
        | st.builds(lambda part: {"$defs": {"x": part}, "$ref": "#/$defs/x"}, LEAVES)
    ),
    max_leaves=5,
)  # fmt: skip


def flat(schema: dict[str, Any], shelf: dict[str, Any]) -> dict[str, Any]:
    """Move definitions to the root, where `$ref` looks for them."""
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "$defs":
            name = f"d{len(shelf)}"
            shelf[name] = value["x"]
            found["$ref"] = f"#/$defs/{name}"
        elif key == "$ref":
            continue
        elif key == "properties":
            found[key] = {name: flat(inner, shelf) for name, inner in value.items()}
        elif key == "anyOf":
            found[key] = [flat(inner, shelf) for inner in value]
        elif key in {"items", "additionalProperties"} and isinstance(value, dict):
            found[key] = flat(value, shelf)
        else:
            found[key] = value
    return found


def rooted(schema: dict[str, Any]) -> dict[str, Any]:
    shelf: dict[str, Any] = {}
    schema = flat(schema, shelf)
    return {**schema, "$defs": shelf} if shelf else schema


FIXTURES = [HealthCheck.function_scoped_fixture]


@settings(max_examples=5, deadline=None, suppress_health_check=FIXTURES)
@given(schema=SCHEMAS.map(rooted), seed=st.integers(0, 2**32), solo=st.booleans())
def test_whatever_the_schema_the_answer_is_of_it(loaded, heard, schema, seed, solo):
    heard.messages.clear()
    request = asked(1, schema=schema, max_tokens=60, sampling={"seed": seed}, n=2)
    found = run(loaded("llama")[0], heard, request, solo=solo)
    assert not heard.of(Failed), schema
    assert len(found) == 2
    for done in found.values():
        if done.finish is Finish.STOP:
            jsonschema.validate(json.loads(done.text), schema)
        else:
            assert done.completion_tokens == 60


@pytest.fixture(scope="module", params=["byte_bpe", "fallback_bpe"])
def held(request, tmp_path_factory) -> tuple[Any, Grammars]:
    import transformers

    directory = tmp_path_factory.mktemp(request.param)
    rows = model_tokenizers.write_tokenizer(directory, request.param)
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    return tokenizer, Grammars(
        tokenizer, rows=rows + 8, ends=frozenset({1}), form=ToolForm.NONE, room=2**30, context=64
    )


@settings(max_examples=100, deadline=None, suppress_health_check=FIXTURES)
@given(schema=SCHEMAS.map(rooted), seed=st.integers(0, 2**32))
def test_whatever_tokens_are_drawn_the_text_is_of_the_schema(held, schema, seed):
    tokenizer, grammars = held
    (mask,) = grammars.masks(asked(1, schema=schema))
    rng = np.random.default_rng(seed)
    ids: list[int] = []
    while len(ids) < 600:
        token = int(rng.choice(np.flatnonzero(mask.allowed(460))))
        if token == 1:
            break
        ids.append(token)
        if mask.accept(token):
            break
        assert not mask.failed
    else:
        return  # a string of no bound, and no luck
    text = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    jsonschema.validate(json.loads(text), schema)

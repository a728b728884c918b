"""Structured output, tools and /v1/responses as the official client uses them, on the real worker."""

import json
from collections.abc import Iterator
from typing import Any, Literal

import httpx
import jsonschema
import openai
import pytest
from pydantic import BaseModel, ConfigDict, Field

from tests.support import models
from tests.support.serving import Served, limits_for, serving, with_tools

MESSAGES: Any = [{"role": "user", "content": "Is this model online?"}]


class Place(BaseModel):
    """What the client parses."""

    model_config = ConfigDict(extra="forbid")

    side: Literal["port", "starboard"]
    free: bool


class Berth(BaseModel):
    """Another of them, with a definition of its own."""

    model_config = ConfigDict(extra="forbid")

    place: Place
    number: int = Field(ge=0, le=99)


FORMAT: Any = {
    "type": "json_schema",
    "json_schema": {"name": "berth", "schema": Berth.model_json_schema(), "strict": True},
}
TOOL: Any = openai.pydantic_function_tool(Place, name="moor")


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    directory = with_tools(models.write_llama(tmp_path_factory.mktemp("serve") / "tiny"))
    with serving(directory, limits=limits_for(rows=4)) as found:
        yield found


@pytest.fixture
def client(served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def terse(served) -> dict[str, float]:
    """What keeps a random model from filling its answer with the spaces that JSON allows."""
    body = {"prompt": " \n", "add_special_tokens": False}
    answer = httpx.post(f"{served.url}/tokenize", json=body, timeout=60)
    return {str(token): -100.0 for token in answer.json()["tokens"]}


def chat(client: openai.OpenAI, **more: Any) -> Any:
    settings = {"max_tokens": 160, "seed": 1, **more}
    return client.chat.completions.create(model="tiny", messages=MESSAGES, **settings)


def refusal(call: Any, **more: Any) -> openai.BadRequestError:
    with pytest.raises(openai.BadRequestError) as caught:
        call(**more)
    return caught.value


def test_a_schema_is_kept_to_whole_and_streamed(client, terse):
    whole = chat(client, response_format=FORMAT, n=2, logit_bias=terse)
    for choice in whole.choices:
        assert choice.finish_reason == "stop"
        jsonschema.validate(json.loads(choice.message.content), Berth.model_json_schema())
    pieces = list(chat(client, response_format=FORMAT, stream=True, logit_bias=terse))
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces)
    assert text == whole.choices[0].message.content
    assert len(pieces) > 5


def test_the_client_parses_into_its_own_classes(client, terse):
    done = client.chat.completions.parse(
        model="tiny",
        messages=MESSAGES,
        response_format=Berth,
        max_tokens=160,
        seed=1,
        logit_bias=terse,
    )
    assert isinstance(done.choices[0].message.parsed, Berth)


def test_any_object_begins_as_one_and_a_cut_says_so(client):
    choice = chat(client, response_format={"type": "json_object"}).choices[0]
    assert choice.message.content.startswith("{")
    choice = chat(client, response_format=FORMAT, max_tokens=4).choices[0]
    assert choice.finish_reason == "length"


@pytest.mark.parametrize(
    ("schema", "word"),
    [
        ({"type": "array", "uniqueItems": True}, "'uniqueItems'"),
        ({"type": "object", "not": {}}, "'not'"),
        ({"type": "string", "s3cr3t": 1}, "a keyword that is not JSON Schema's"),
        ({"type": "string", "pattern": "(s3cr3t"}, "malformed"),
        ({"enum": ["s3cr3t" * 20_000]}, "too large"),
    ],
)
def test_a_schema_that_cannot_be_kept_to_is_named_and_not_quoted(client, schema, word):
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    error = refusal(chat, client=client, response_format=form)
    assert error.param == "response_format"
    assert word in error.message
    assert "s3cr3t" not in error.message
    form = {"type": "json_schema", "name": "x", "schema": schema}
    error = refusal(client.responses.create, model="tiny", input="x", text={"format": form})
    assert error.param == "text.format"


def test_a_call_that_must_come_comes_whole_and_streamed(client, terse):
    tools = {
        "tools": [TOOL],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "logit_bias": terse,
    }
    choice = chat(client, **tools).choices[0]
    (call,) = choice.message.tool_calls
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    Place.model_validate_json(call.function.arguments)
    pieces = [piece.choices[0] for piece in chat(client, **tools, stream=True)]
    (streamed,) = [c for piece in pieces for c in piece.delta.tool_calls or []]
    assert streamed.function.arguments == call.function.arguments
    assert pieces[-1].finish_reason == "tool_calls"
    assert not any(piece.delta.content for piece in pieces)


def test_a_named_function_is_called_and_its_answer_can_be_sent_back(client, terse):
    chosen = {"type": "function", "function": {"name": "moor"}}
    message = chat(client, tools=[TOOL], tool_choice=chosen, logit_bias=terse).choices[0].message
    (call,) = message.tool_calls
    again = client.chat.completions.create(
        model="tiny", tools=[TOOL], max_tokens=5, messages=[
            *MESSAGES, message, {"role": "tool", "tool_call_id": call.id, "content": "moored"}
        ],
    )  # fmt: skip
    assert again.usage.completion_tokens <= 5


def without(served: Served, letters: str, terse: dict[str, float]) -> dict[str, float]:
    """Keep the answer from beginning with `letters`, so that its first branch is settled."""
    body = {"prompt": " ".join(letters), "add_special_tokens": False}
    answer = httpx.post(f"{served.url}/tokenize", json=body, timeout=60)
    return {**terse, **{str(token): -100.0 for token in answer.json()["tokens"]}}


def test_a_schema_beside_tools_gives_a_call_or_an_answer_of_it(client, served, terse):
    both = {"tools": [TOOL], "response_format": FORMAT}
    choice = chat(client, **both, logit_bias=without(served, "<", terse)).choices[0]
    assert (choice.finish_reason, choice.message.tool_calls) == ("stop", None)
    jsonschema.validate(json.loads(choice.message.content), Berth.model_json_schema())
    one = {"parallel_tool_calls": False, "logit_bias": without(served, "{", terse)}
    choice = chat(client, **both, **one).choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    Place.model_validate_json(choice.message.tool_calls[0].function.arguments)
    pieces = [piece.choices[0] for piece in chat(client, **both, **one, stream=True)]
    assert pieces[-1].finish_reason == "tool_calls"
    assert not any(piece.delta.content for piece in pieces)


def test_a_schema_beside_a_choice_of_tools_gives_what_was_chosen(client, terse):
    both = {"tools": [TOOL], "response_format": FORMAT, "logit_bias": terse}
    choice = chat(client, **both, tool_choice="none").choices[0]
    jsonschema.validate(json.loads(choice.message.content), Berth.model_json_schema())
    for chosen in ("required", {"type": "function", "function": {"name": "moor"}}):
        message = (
            chat(client, **both, tool_choice=chosen, parallel_tool_calls=False).choices[0].message
        )
        assert message.content is None
        Place.model_validate_json(message.tool_calls[0].function.arguments)


@pytest.mark.parametrize("choice", ["auto", "required"])
def test_a_refusal_names_the_schema_that_is_at_fault(client, choice):
    bad: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"not": {}}}}
    tool: Any = {"type": "function", "function": {"name": "f", "parameters": {"not": {}}}}
    both = {"client": client, "tool_choice": choice}
    assert refusal(chat, **both, response_format=bad, tools=[TOOL]).param == "response_format"
    assert refusal(chat, **both, response_format=FORMAT, tools=[tool]).param == "tools"
    form = {"type": "json_schema", "name": "x", "schema": {"not": {}}}
    flat: Any = {"type": "function", **TOOL["function"]}
    error = refusal(
        client.responses.create, model="tiny", input="x", text={"format": form}, tools=[flat],
        tool_choice=choice,
    )  # fmt: skip
    assert error.param == "text.format"


def test_where_a_call_is_a_whole_answer_a_schema_must_not_look_like_one(tmp_path):
    directory = models.write_llama(tmp_path / "bare")
    template = directory / "chat_template.jinja"
    place = '{%- if tools %}{# {"name": …, "parameters": dictionary} #}{% endif -%}'
    template.write_text(place + template.read_text(encoding="utf-8"), encoding="utf-8")
    with serving(directory) as served:
        client = openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)
        asked: Any = {
            "model": "bare",
            "messages": MESSAGES,
            "tools": [TOOL],
            "max_tokens": 60,
            "seed": 1,
        }
        create = client.chat.completions.create
        error = refusal(create, **asked, response_format={"type": "json_object"})
        assert (error.param, error.code) == ("response_format", "unsupported_schema")
        error = refusal(
            client.responses.create, model="bare", input="x", max_output_tokens=60,
            tools=[{"type": "function", **TOOL["function"]}],
            text={"format": {"type": "json_object"}},
        )  # fmt: skip
        assert error.param == "text.format"
        for more in ({"response_format": FORMAT}, {}):  # the tool is strict: both are guarded
            choice = create(**asked, **more).choices[0]
            for call in choice.message.tool_calls or []:
                Place.model_validate_json(call.function.arguments)
            if not choice.message.tool_calls:
                assert more or (choice.message.content.lstrip() or "x")[0] not in "{["


def test_text_streams_while_tools_are_only_offered(client):
    pieces = list(chat(client, tools=[TOOL], stream=True, max_tokens=20))
    assert len([piece for piece in pieces if piece.choices[0].delta.content]) > 2


def test_tools_need_a_template_that_knows_them(tmp_path):
    directory = models.write_llama(tmp_path / "plain")
    with serving(directory) as served:
        post = f"{served.url}/v1/chat/completions"
        body = {"model": "plain", "messages": MESSAGES, "tools": [TOOL]}
        for choice in ("auto", "required"):
            refused = httpx.post(post, json={**body, "tool_choice": choice}, timeout=60)
            assert refused.status_code == 400
            assert refused.json()["error"]["param"] == "tools"
        assert httpx.post(post, json={**body, "tool_choice": "none", "max_tokens": 2}, timeout=60)


# --- /v1/responses ----------------------------------------------------------------------------

TEXT_EVENTS = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
]


def test_responses_stream_the_events_that_the_client_knows(client):
    request = {"model": "tiny", "input": "Hello", "max_output_tokens": 12, "temperature": 0}
    events = list(client.responses.create(**request, stream=True))
    kinds = [event.type for event in events]
    assert list(dict.fromkeys(kinds[:-1])) == TEXT_EVENTS
    assert [event.sequence_number for event in events] == list(range(len(events)))
    final = events[-1].response
    assert kinds[-1] == f"response.{final.status}"
    said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    whole = client.responses.create(**request)
    assert said == final.output_text == whole.output_text
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert whole.status == final.status


def test_the_client_s_own_accumulator_takes_them(client):
    with client.responses.stream(
        model="tiny", input="Hello", text_format=Berth, max_output_tokens=200, temperature=0
    ) as stream:
        for _ in stream:
            pass
        final = stream.get_final_response()
    assert final.status == "completed"
    assert isinstance(final.output_parsed, Berth)


def test_functions_are_called_and_their_results_are_taken(client):
    tool: Any = {"type": "function", "strict": True, **TOOL["function"]}
    asked = {"model": "tiny", "tools": [tool], "max_output_tokens": 180, "temperature": 0}
    events = list(
        client.responses.create(
            **asked, input="x", tool_choice="required", parallel_tool_calls=False, stream=True
        )
    )
    (call,) = events[-1].response.output
    Place.model_validate_json(call.arguments)
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ]
    back: Any = [
        {"role": "user", "content": "x"},
        call,
        {"type": "function_call_output", "call_id": call.call_id, "output": "moored"},
    ]
    answer = client.responses.create(
        **{**asked, "max_output_tokens": 5}, input=back, tool_choice="none"
    )
    assert answer.usage.output_tokens <= 5


@pytest.mark.parametrize("choice", ["auto", "required"])
def test_responses_take_a_schema_beside_functions(client, choice):
    tool: Any = {"type": "function", **TOOL["function"]}
    form: Any = {"type": "json_schema", "name": "b", "schema": Berth.model_json_schema()}
    request: Any = {
        "model": "tiny", "input": "x", "tools": [tool], "tool_choice": choice, "text": {"format": form},
        "parallel_tool_calls": False, "max_output_tokens": 180, "temperature": 0,
    }  # fmt: skip
    whole = client.responses.create(**request)
    final = list(client.responses.create(**request, stream=True))[-1].response
    assert (whole.status, final.status) == ("completed", "completed")
    (item,), (streamed,) = whole.output, final.output
    assert item.type == streamed.type
    if item.type == "function_call":
        assert item.arguments == streamed.arguments
        Place.model_validate_json(item.arguments)
    else:
        assert choice == "auto"
        assert whole.output_text == final.output_text
        Berth.model_validate_json(whole.output_text)


def test_the_default_of_parallel_calls_may_be_said_of_no_tools(client):
    request: Any = {"model": "tiny", "input": "x", "max_output_tokens": 2}
    for said in (True, False):
        answer = client.responses.create(**request, parallel_tool_calls=said)
        assert answer.parallel_tool_calls == said


def test_a_long_answer_is_incomplete(client):
    answer = client.responses.create(
        model="tiny",
        input="x",
        max_output_tokens=3,
        text={"format": {"type": "json_schema", "name": "b", "schema": Berth.model_json_schema()}},
    )
    assert answer.status == "incomplete"
    assert answer.incomplete_details.reason == "max_output_tokens"

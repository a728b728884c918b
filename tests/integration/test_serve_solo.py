"""A model whose state cannot be padded (convolutions between attention): all of the server, a row at a time."""

import concurrent.futures
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import openai
import pytest

from tests.support import model_tokenizers
from tests.support.serving import Served, limits_for, serving, with_tools

MESSAGES: Any = [{"role": "user", "content": "Is this model online?"}]
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"side": {"enum": ["port", "starboard"]}, "free": {"type": "boolean"}},
    "required": ["side", "free"],
    "additionalProperties": False,
}
FORMAT: Any = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}
TOOL: Any = {
    "type": "function",
    "function": {"name": "moor", "parameters": SCHEMA, "strict": True},
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    import torch
    import transformers

    found: Path = tmp_path_factory.mktemp("solo") / "hybrid"
    found.mkdir()
    rows = model_tokenizers.write_tokenizer(found)
    torch.manual_seed(0)
    config = transformers.Lfm2Config(
        vocab_size=rows, hidden_size=32, intermediate_size=64, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
        layer_types=["conv", "full_attention", "conv", "full_attention"], initializer_range=0.3,
        bos_token_id=0, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    transformers.Lfm2ForCausalLM(config).save_pretrained(found)
    return with_tools(found)


@pytest.fixture(scope="module")
def served(directory) -> Iterator[Served]:
    with serving(directory, limits=limits_for(rows=4)) as found:
        assert not found.supervisor.loaded.batching  # else these tests are of another route
        yield found


@pytest.fixture
def client(served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def bias(served) -> Any:
    """Keeps an answer from the letters that are named, and from the spaces that JSON allows."""

    def of(letters: str = "") -> dict[str, float]:
        body = {"prompt": " ".join(letters) + " \n", "add_special_tokens": False}
        answer = httpx.post(f"{served.url}/tokenize", json=body, timeout=60)
        return {str(token): -100.0 for token in answer.json()["tokens"]}

    return of


def chat(client: openai.OpenAI, **more: Any) -> Any:
    settings = {"max_tokens": 120, "seed": 1, **more}
    return client.chat.completions.create(model="hybrid", messages=MESSAGES, **settings)


def test_a_greedy_answer_is_that_of_plain_transformers(client, directory):
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(directory).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    for prompt in ([9, 8, 7], [5], list(range(20, 60))):
        with torch.inference_mode():
            wanted = model.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False)
        answer = client.completions.create(
            model="hybrid", prompt=prompt, max_tokens=12, temperature=0
        )
        text = tokenizer.decode(wanted[0, len(prompt) :], skip_special_tokens=True)
        assert answer.choices[0].text == text


def test_choices_of_one_prompt_have_states_of_their_own(client):
    four = [c.message.content for c in chat(client, n=4, max_tokens=30).choices]
    assert len(set(four)) == 4
    assert chat(client, max_tokens=30).choices[0].message.content == four[0]


def test_a_schema_is_kept_to_whole_and_streamed(client, bias):
    whole = chat(client, response_format=FORMAT, n=3, logit_bias=bias())
    for choice in whole.choices:
        assert choice.finish_reason == "stop"
        jsonschema.validate(json.loads(choice.message.content), SCHEMA)
    pieces = list(chat(client, response_format=FORMAT, stream=True, logit_bias=bias()))
    text = "".join(piece.choices[0].delta.content or "" for piece in pieces)
    assert text == whole.choices[0].message.content


def test_tools_are_called_whole_and_streamed(client, bias):
    tools = {"tools": [TOOL], "parallel_tool_calls": False}
    for more in (
        {"tool_choice": "required", "logit_bias": bias()},
        {"tool_choice": "auto", "response_format": FORMAT, "logit_bias": bias("{")},
    ):
        choice = chat(client, **tools, **more).choices[0]
        (call,) = choice.message.tool_calls
        assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
        jsonschema.validate(json.loads(call.function.arguments), SCHEMA)
        pieces = [piece.choices[0] for piece in chat(client, **tools, **more, stream=True)]
        (streamed,) = [c for piece in pieces for c in piece.delta.tool_calls or []]
        assert streamed.function.arguments == call.function.arguments


def test_a_schema_beside_tools_is_answered_too(client, bias):
    both = {"tools": [TOOL], "response_format": FORMAT, "logit_bias": bias("<")}
    choice = chat(client, **both).choices[0]
    assert (choice.finish_reason, choice.message.tool_calls) == ("stop", None)
    jsonschema.validate(json.loads(choice.message.content), SCHEMA)


def test_who_runs_beside_others_gets_what_it_gets_alone(client, bias):
    terse = bias()
    asked: list[dict[str, Any]] = [
        {"response_format": FORMAT, "logit_bias": terse, "seed": 3},
        {"max_tokens": 40, "seed": 4, "stop": ["e"]},
        {
            "tools": [TOOL],
            "tool_choice": "required",
            "logit_bias": terse,
            "parallel_tool_calls": False,
        },
        {"max_tokens": 25, "temperature": 0},
        {"response_format": FORMAT, "logit_bias": terse, "seed": 5, "max_tokens": 9},
    ]

    def one(more: dict[str, Any]) -> tuple[str | None, list[str]]:
        message = chat(client, **more).choices[0].message
        return message.content, [call.function.arguments for call in message.tool_calls or []]

    alone = [one(more) for more in asked]
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        assert list(pool.map(one, asked * 3)) == alone * 3


def test_scores_say_where_their_tokens_stand(client):
    choice = client.completions.create(
        model="hybrid", prompt="ship", max_tokens=20, seed=3, logprobs=1
    ).choices[0]
    offsets = choice.logprobs.text_offset
    assert len(offsets) == len(choice.logprobs.tokens)
    assert offsets == sorted(offsets)
    assert offsets[-1] <= len(choice.text)


def test_who_hangs_up_leaves_and_what_cannot_be_is_refused(client, served):
    pid = served.supervisor.pid
    for _ in range(6):  # more than there are rows
        body = {"model": "hybrid", "messages": MESSAGES, "stream": True, "ignore_eos": True}
        with httpx.stream(
            "POST", f"{served.url}/v1/chat/completions", json=body, timeout=60
        ) as response:
            assert response.status_code == 200
            next(response.iter_lines())
    bad: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"not": {}}}}
    with pytest.raises(openai.BadRequestError) as caught:
        chat(client, response_format=bad, tools=[TOOL])
    assert caught.value.param == "response_format"
    assert chat(client, max_tokens=2).choices
    assert served.supervisor.pid == pid

"""The official client against the whole runtime, the lock excepted, with a real model."""

import concurrent.futures
import tomllib
from pathlib import Path

import httpx
import openai
import pytest

from pratique.serve.gateway.access import Key, new_key
from tests.support import models
from tests.support.serving import serving

MESSAGES = [{"role": "user", "content": "Is this model online?"}]


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    return models.write_llama(tmp_path_factory.mktemp("serve") / "tiny")


@pytest.fixture(scope="module")
def served(directory):
    with serving(directory) as found:
        yield found


@pytest.fixture
def client(served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0)


def ask(client: openai.OpenAI, **more):
    return client.chat.completions.create(
        **{"model": "tiny", "messages": MESSAGES, "max_tokens": 12, "temperature": 0, **more}
    )


def test_chat_whole_and_streamed_say_the_same(client):
    whole = ask(client)
    assert whole.choices[0].finish_reason in {"length", "stop"}
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    assert whole.system_fingerprint == "0000000000000000-auto"
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == (
        whole.choices[0].finish_reason
    )


def test_completions_and_several_prompts(client):
    one = client.completions.create(model="tiny", prompt="ship", max_tokens=6, temperature=0)
    two = client.completions.create(
        model="tiny", prompt=["port", "ship"], max_tokens=6, temperature=0, n=1, logprobs=2
    )
    assert two.choices[1].text == one.choices[0].text
    assert [c.index for c in two.choices] == [0, 1]
    assert len(two.choices[0].logprobs.tokens) == two.usage.completion_tokens // 2
    streamed = client.completions.create(
        model="tiny", prompt="ship", max_tokens=6, temperature=0, stream=True
    )
    assert "".join(c.choices[0].text for c in streamed) == one.choices[0].text


def test_scores_say_where_their_tokens_stand(client):
    asked = {"model": "tiny", "prompt": "ship", "max_tokens": 20, "seed": 3, "logprobs": 1}
    whole = client.completions.create(**asked).choices[0]
    offsets = whole.logprobs.text_offset
    assert len(offsets) == len(whole.logprobs.tokens)
    assert offsets[0] == 0
    assert offsets == sorted(offsets)
    assert offsets[-1] <= len(whole.text)
    assert len(set(offsets)) > 5
    pieces = [
        piece.choices[0].logprobs for piece in client.completions.create(**asked, stream=True)
    ]
    assert [at for piece in pieces if piece for at in piece.text_offset] == offsets


def test_choices_seeds_and_scores(client):
    first = ask(client, temperature=1, seed=5, n=3, logprobs=True, top_logprobs=2)
    again = ask(client, temperature=1, seed=5, n=3)
    assert [c.message.content for c in first.choices] == [c.message.content for c in again.choices]
    scores = first.choices[0].logprobs.content
    assert scores[0].logprob <= scores[0].top_logprobs[0].logprob <= 0


def test_responses(client):
    answer = client.responses.create(
        model="tiny", input="hello", instructions="be brief", max_output_tokens=8, temperature=0
    )
    assert answer.output_text
    assert answer.usage.output_tokens == 8


def test_models_tokens_health_and_metrics(served, client):
    assert [m.id for m in client.models.list()] == ["tiny", "tiny@00000000"]
    tokens = httpx.post(f"{served.url}/tokenize", json={"prompt": "a ship"}).json()
    assert tokens["count"] == len(tokens["tokens"]) > 0
    templated = httpx.post(f"{served.url}/tokenize", json={"messages": MESSAGES}).json()
    assert templated["count"] > tokens["count"]
    assert httpx.get(f"{served.url}/health").json()["ready"] is True
    assert httpx.get(f"{served.url}/health/live").status_code == 200
    assert httpx.get(f"{served.url}/health/ready").status_code == 200
    text = httpx.get(f"{served.url}/metrics").text
    assert 'pratique_rung{rung="auto"} 1' in text
    assert "pratique_completion_tokens_total" in text
    assert "ship" not in text


def test_sixteen_at_once_get_what_each_gets_alone(client):
    def one(at: int) -> str:
        content = "ship " * (1 + at % 5)
        return (
            ask(
                client,
                messages=[{"role": "user", "content": content}],
                max_tokens=5 + at,
                temperature=(0, 0.8)[at % 2],
                seed=at,
            )
            .choices[0]
            .message.content
        )

    alone = [one(at) for at in range(16)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert list(pool.map(one, range(16))) == alone


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        ({"model": "other"}, 404, "model_not_found"),
        ({"max_tokens": 10_000}, 400, "context_length_exceeded"),
        (
            {"messages": [{"role": "user", "content": "long " * 2000}]},
            400,
            "context_length_exceeded",
        ),
        ({"extra_body": {"chat_template": "{{ 1 }}"}}, 400, "unsupported_field"),
        ({"extra_body": {"functions": []}}, 400, "unsupported_field"),
        ({"n": 100}, 400, "too_big"),
        ({"logit_bias": {"999999": 1}}, 400, "unknown_token"),
        (
            {"tools": [{"type": "function", "function": {"name": "f"}}]},
            400,
            "unsupported_field",
        ),
    ],
)
def test_refusals_have_the_client_own_types(client, more, status, code):
    with pytest.raises(openai.APIStatusError) as caught:
        ask(client, **more)
    assert caught.value.status_code == status
    assert caught.value.code == code
    assert ask(client).choices  # and the server lives
    with pytest.raises(openai.APIStatusError) as streamed:
        list(ask(client, stream=True, **more))
    assert streamed.value.status_code == status


@pytest.mark.parametrize(
    ("route", "more", "param", "code"),
    [
        ("completions", {"prompt": "long " * 2000}, "prompt", "context_length_exceeded"),
        ("completions", {"prompt": [999_999]}, "prompt", "unknown_token"),
        (
            "completions",
            {"prompt": [5], "logit_bias": {"999999": 1}},
            "logit_bias",
            "unknown_token",
        ),
        ("completions", {"prompt": ["x"], "stop": "x" * 1025}, "stop", "invalid_value"),
        ("responses", {"input": "long " * 2000}, "input", "context_length_exceeded"),
        (
            "responses",
            {"input": "x", "max_output_tokens": 9999},
            "input",
            "context_length_exceeded",
        ),
        ("chat/completions", {"messages": MESSAGES * 200}, "messages", "context_length_exceeded"),
        ("chat/completions", {"messages": MESSAGES, "stop": ["x"] * 17}, "stop", "invalid_value"),
    ],
)
def test_a_refusal_names_the_field_of_its_own_route(served, route, more, param, code):
    body = {"model": "tiny", **more}
    error = httpx.post(f"{served.url}/v1/{route}", json=body, timeout=60).json()["error"]
    assert (error["param"], error["code"]) == (param, code)


def test_kept_prompts_are_never_shared_between_keys(directory):
    """What one key's request computed shows in no other key's answer, count or metric."""
    secrets = {}
    keys = []
    for name in ("ann", "bob"):
        secrets[name], lines = new_key(name)
        keys.append(Key(**tomllib.loads(lines)["key"][0]))
    body = {"model": "tiny", "prompt": [7] * 90, "max_tokens": 4, "temperature": 0}

    def kept(found, name: str) -> int:
        answer = httpx.post(
            f"{found.url}/v1/completions",
            json=body,
            headers={"Authorization": f"Bearer {secrets[name]}"},
            timeout=60,
        ).json()
        texts.add(answer["choices"][0]["text"])
        return answer["usage"]["prompt_tokens_details"]["cached_tokens"]

    texts: set[str] = set()
    with serving(directory, keys=tuple(keys)) as found:
        assert [kept(found, name) for name in ("ann", "bob", "ann", "bob")] == [0, 0, 89, 89]
        exchanges = [exchange for exchange, _ in found.notes.served_]
        assert [exchange.cached_tokens for exchange in exchanges] == [0, 0, 89, 89]
        metrics = httpx.get(
            f"{found.url}/metrics", headers={"Authorization": f"Bearer {secrets['ann']}"}
        ).text
        assert "pratique_cached_tokens_total 178\n" in metrics
    assert len(texts) == 1


@pytest.mark.parametrize("token", [-1, 2**31, 2**53, 2**60])
def test_a_number_that_is_no_token_is_a_400(served, token):
    body = {"model": "tiny", "prompt": [token], "max_tokens": 1}
    answer = httpx.post(f"{served.url}/v1/completions", json=body, timeout=60)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "prompt"

"""Vectors are those of plain transformers with the model's own pooling."""

import base64
import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pratique.core.load import LoadFault, Task
from pratique.core.wire import (
    MAX_FRAME,
    Beat,
    Cancel,
    Classify,
    Embed,
    Failed,
    Fault,
    Label,
    Labels,
    Stop,
    Vectors,
    encode,
)
from pratique.jobs import worker_encode
from pratique.jobs.worker_encode import Encoder, Pooling, pool, read_pooling
from pratique.jobs.worker_refusal import LoadRefused
from tests.support.serving import limits_for


def sentence_transformer(directory: Path, *, kinds: list[str], pooling: dict[str, object]) -> None:
    (directory / "modules.json").write_text(
        json.dumps(
            [
                {"idx": at, "path": f"{at}_{kind}", "type": f"sentence_transformers.models.{kind}"}
                for at, kind in enumerate(kinds)
            ]
        )
    )
    folder = directory / "1_Pooling"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(pooling))


def run(loaded, heard, requests, pooling=None):
    encoder = Encoder(loaded, pooling or Pooling(), limits_for(prefill_tokens=16), heard)
    for request in [*requests, Stop()]:
        encoder.inbox.put(request)
    encoder.run()
    return [m for m in heard.messages if not isinstance(m, Beat)]


def rows(vectors: Vectors) -> np.ndarray:
    return np.stack([np.frombuffer(base64.b64decode(row), "<f4") for row in vectors.rows])


TEXTS = ("The courier carries the bundle.", "no", "weights are numbers " * 9, "no")


def test_vectors_equal_plain_transformers_whatever_the_batch(loaded, heard):
    model, _ = loaded("bert")
    (answer,) = run(model, heard, [Embed(id=1, texts=TEXTS)])
    got = rows(answer)
    for text, vector in zip(TEXTS, got, strict=True):
        tokens = model.tokenizer(text, return_tensors="pt")
        with torch.inference_mode():
            hidden = model.model(**tokens).last_hidden_state
        assert vector == pytest.approx(hidden.mean(1)[0].numpy(), abs=1e-5)
    assert got[1].tolist() == got[3].tolist()
    assert answer.prompt_tokens == sum(len(model.tokenizer(t)["input_ids"]) for t in TEXTS)


@pytest.mark.parametrize(
    ("pooling", "vector"),
    [
        (Pooling("mean"), [1.5, 1.0]),
        (Pooling("cls"), [1.0, 0.0]),
        (Pooling("max"), [2.0, 2.0]),
        (Pooling("lasttoken"), [2.0, 2.0]),
        (Pooling("cls", normalise=True), [1.0, 0.0]),
        (Pooling("lasttoken", normalise=True), [0.5**0.5, 0.5**0.5]),
    ],
)
def test_pooling_leaves_padding_out(pooling, vector):
    hidden = torch.tensor([[[1.0, 0.0], [2.0, 2.0], [99.0, 99.0]]])
    mask = torch.tensor([[1, 1, 0]])
    assert pool(hidden, mask, pooling)[0].tolist() == pytest.approx(vector)


def test_the_model_own_pooling_is_read(tmp_path):
    sentence_transformer(
        tmp_path,
        kinds=["Transformer", "Pooling", "Normalize"],
        pooling={"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False},
    )
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 99}')
    assert read_pooling(tmp_path) == Pooling("cls", normalise=True, longest=99)


def test_without_sentence_transformers_files_the_mean_is_taken(tmp_path):
    assert read_pooling(tmp_path) == Pooling()


@pytest.mark.parametrize(
    ("kinds", "pooling"),
    [
        (["Transformer", "Pooling", "Dense"], {"pooling_mode_mean_tokens": True}),
        (["Transformer", "Pooling"], {"pooling_mode_weightedmean_tokens": True}),
        (
            ["Transformer", "Pooling"],
            {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True},
        ),
    ],
)
def test_what_would_give_other_vectors_is_refused(tmp_path, kinds, pooling):
    sentence_transformer(tmp_path, kinds=kinds, pooling=pooling)
    with pytest.raises(LoadRefused) as caught:
        read_pooling(tmp_path)
    assert caught.value.fault is LoadFault.RUNG_UNSUPPORTED


def test_over_long_empty_and_unknown_inputs_are_refused(loaded, heard):
    model, _ = loaded("bert")
    answers = run(
        model,
        heard,
        [
            Embed(id=1, texts=("word " * 400,)),
            Embed(id=2, texts=()),
            Embed(id=3, tokens=((10**6,),)),
            Embed(id=4, tokens=((),)),
            Embed(id=5, texts=("fine",)),
        ],
    )
    assert [a.fault if isinstance(a, Failed) else None for a in answers] == [
        Fault.PROMPT_TOO_LONG,
        Fault.PROMPT_EMPTY,
        Fault.BAD_TOKEN,
        Fault.PROMPT_EMPTY,
        None,
    ]


def labelling(model, task, *, labels):
    """A model that labels, with the tokenizer of `model`."""

    class Labelling:
        get_input_embeddings = model.model.get_input_embeddings

        def __call__(self, input_ids, attention_mask):
            del attention_mask
            shape = (*input_ids.shape, labels) if task is Task.TAG else (len(input_ids), labels)
            return SimpleNamespace(logits=torch.zeros(shape))

    return dataclasses.replace(model, model=Labelling(), task=task)


@pytest.mark.parametrize("task", [Task.EMBED, Task.CLASSIFY, Task.TAG])
def test_an_answer_that_would_be_too_large_is_refused(loaded, heard, monkeypatch, task):
    """Too long for one frame, it was taken for another language: the worker ended."""
    model, _ = loaded("bert")
    texts = ("a ship",) * 3
    if task is Task.EMBED:
        asked, limit = Embed(id=1, texts=texts), "_MOST_NUMBERS"
        whole = 3 * model.model.config.hidden_size
    else:
        model = labelling(model, task, labels=5)
        asked, limit = Classify(id=1, texts=texts), "_MOST_LABELS"
        whole = 3 * (5 if task is Task.CLASSIFY else len(model.tokenizer("a ship")["input_ids"]))
    monkeypatch.setattr(worker_encode, limit, whole - 1)
    (refused,) = run(model, heard, [asked])
    assert (refused.fault, refused.got, refused.limit) == (Fault.ANSWER_TOO_BIG, whole, whole - 1)
    heard.messages.clear()
    monkeypatch.setattr(worker_encode, limit, whole)
    (answer,) = run(model, heard, [asked])
    assert len(answer.rows) == 3


def test_the_largest_answer_goes_into_one_frame():
    numbers = Vectors(
        id=2**40, prompt_tokens=2**50, dimensions=12_000,
        rows=("A" * (12_000 * 4 * 4 // 3),) * (worker_encode._MOST_NUMBERS // 12_000),
    )  # fmt: skip
    assert len(encode(numbers)) < MAX_FRAME
    label = Label(label=2**20 - 1, score=0.12345678901234567, start=2**31 - 1, end=2**31 - 1)
    labels = Labels(id=2**40, prompt_tokens=2**50, rows=((label,) * worker_encode._MOST_LABELS,))
    assert len(encode(labels)) < MAX_FRAME


def test_spans_need_a_tokenizer_that_knows_where_tokens_stand(loaded, heard):
    model, _ = loaded("bert")
    slow = dataclasses.replace(model, task=Task.TAG, tokenizer=SimpleNamespace(is_fast=False))
    with pytest.raises(LoadRefused):
        Encoder(slow, Pooling(), limits_for(), heard)
    Encoder(dataclasses.replace(model, task=Task.TAG), Pooling(), limits_for(), heard)


def embed(number: int) -> Embed:
    return Embed(id=number, texts=("a ship",))


def test_who_hangs_up_before_its_turn_is_not_answered(loaded, heard):
    model, _ = loaded("bert")
    arrived = [
        embed(1),
        embed(2),
        Classify(id=3, texts=("x",)),
        Cancel(id=2),
        Cancel(id=3),
        embed(4),
    ]
    assert [answer.id for answer in run(model, heard, arrived)] == [1, 4]
    assert [beat.waiting for beat in heard.of(Beat)] == [1, 0]


def test_who_hangs_up_while_another_runs_is_not_answered(loaded, heard):
    model, _ = loaded("bert")
    encoder = Encoder(model, Pooling(), limits_for(prefill_tokens=16), heard)
    passes = []
    forward = encoder._forward

    def hanging_up(rows):
        if not passes:  # the first is in its last batch, those who wait for it are dropped
            for number in (1, 2, 3):
                encoder.inbox.put(Cancel(id=number))
            encoder.inbox.put(Stop())
        passes.append(len(rows))
        return forward(rows)

    encoder._forward = hanging_up
    for number in (1, 2, 3, 4):
        encoder.inbox.put(embed(number))
    encoder.run()
    assert [answer.id for answer in heard.of(Vectors)] == [1, 4]
    assert passes == [1, 1]


def test_what_waits_has_a_limit_and_the_rest_is_told_at_once(loaded, heard):
    model, _ = loaded("bert")
    encoder = Encoder(model, Pooling(), limits_for(waiting=2), heard)
    for item in (embed(1), embed(2), embed(3), Cancel(id=1), embed(4), embed(5)):
        encoder.inbox.put(item)
    assert [(failed.id, failed.fault) for failed in heard.of(Failed)] == [
        (3, Fault.BUSY),
        (5, Fault.BUSY),
    ]
    encoder.inbox.put(Stop())
    encoder.run()
    assert [answer.id for answer in heard.of(Vectors)] == [2, 4]


def test_who_comes_and_goes_while_another_runs_is_not_kept(loaded, heard):
    model, _ = loaded("bert")
    encoder = Encoder(model, Pooling(), limits_for(waiting=2), heard)
    forward = encoder._forward

    def busy(rows):
        for number in range(2, 100):
            encoder.inbox.put(embed(number))
            encoder.inbox.put(Cancel(id=number))
            assert len(encoder.inbox) == 0
        encoder.inbox.put(Stop())
        return forward(rows)

    encoder._forward = busy
    encoder.inbox.put(embed(1))
    encoder.run()
    assert [answer.id for answer in heard.messages if not isinstance(answer, Beat)] == [1]


def test_a_long_request_of_somebody_who_hung_up_is_not_finished(loaded, heard):
    model, _ = loaded("bert")
    encoder = Encoder(model, Pooling(), limits_for(prefill_tokens=1), heard)
    passes = []
    forward = encoder._forward

    def hanging_up(rows):
        passes.append(len(rows))
        if len(passes) == 2:
            encoder.inbox.put(Cancel(id=1))
        return forward(rows)

    encoder._forward = hanging_up
    for item in (Embed(id=1, texts=("a ship",) * 9), embed(2), Stop()):
        encoder.inbox.put(item)
    encoder.run()
    assert [answer.id for answer in heard.of(Vectors)] == [2]
    assert passes == [1, 1, 1]


def test_a_cancel_of_nobody_and_of_what_is_done_changes_nothing(loaded, heard):
    model, _ = loaded("bert")
    arrived = [Cancel(id=7), embed(1), Cancel(id=9), embed(2)]
    assert [answer.id for answer in run(model, heard, arrived)] == [1, 2]
    heard.messages.clear()
    assert [answer.id for answer in run(model, heard, [embed(1), Cancel(id=1)])] == []


def test_what_comes_after_stop_is_told_so(loaded, heard):
    model, _ = loaded("bert")
    encoder = Encoder(model, Pooling(), limits_for(prefill_tokens=16), heard)
    for item in (embed(1), Stop(), embed(2)):
        encoder.inbox.put(item)
    encoder.run()
    assert [vectors.id for vectors in heard.of(Vectors)] == [1]
    assert [(failed.id, failed.fault) for failed in heard.of(Failed)] == [(2, Fault.BUSY)]

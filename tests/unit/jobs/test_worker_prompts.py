"""What a tokenizer cannot take is refused; nothing that a client sends makes a worker deaf."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from pratique.core.wire import Embed, Failed, Fault, Generate, Stop, Tokenize, Vectors
from pratique.errors import FormatError
from pratique.jobs import worker
from pratique.jobs.worker_encode import Encoder, Pooling
from pratique.jobs.worker_prompts import Prompts, Refused
from tests.support.serving import limits_for

KINDS = {
    "wordpiece": models.WordPiece({"a": 0, "##b": 1}, unk_token="[UNK]"),
    "words": models.WordLevel({"a": 0}, unk_token="[UNK]"),
    "unigram": models.Unigram([("a", -1.0)]),
    "bpe": models.BPE({"a": 0}, [], unk_token="[UNK]"),
}


def without_unknown(kind: str) -> Any:
    """A tokenizer whose vocabulary has no word for what it does not know."""
    made = Tokenizer(KINDS[kind])
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made)


@pytest.mark.parametrize("kind", list(KINDS))
def test_text_for_which_there_are_no_tokens_is_refused(kind):
    prompts = Prompts(without_unknown(kind), context=9, vocabulary=2)
    assert prompts.of_generate(Generate(id=1, text="a")) == [0]
    for refused in (
        lambda: prompts.of_generate(Generate(id=1, text="a z")),
        lambda: prompts.of_tokenize(Tokenize(id=1, text="a z")),
    ):
        with pytest.raises(Refused) as caught:
            refused()
        assert caught.value.fault is Fault.TOKENIZER_REFUSED


@pytest.mark.parametrize("kind", list(KINDS))
def test_vectors_of_such_text_are_refused_and_others_are_made(loaded, heard, kind):
    model = dataclasses.replace(loaded("bert")[0], tokenizer=without_unknown(kind))
    encoder = Encoder(model, Pooling(), limits_for(), heard)
    for item in (Embed(id=1, texts=("a", "z")), Embed(id=2, texts=("a",)), Stop()):
        encoder.inbox.put(item)
    encoder.run()
    assert [(one.id, one.fault) for one in heard.of(Failed)] == [(1, Fault.TOKENIZER_REFUSED)]
    assert [one.id for one in heard.of(Vectors)] == [2]


class _Exit(BaseException):
    pass


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (None, 0),
        (OSError(), 0),
        (FormatError("x"), worker.EXIT_LANGUAGE),
        (MemoryError(), worker.EXIT_MEMORY),
        (RuntimeError("s3cr3t"), worker.EXIT_BUG),
        (Exception("s3cr3t"), worker.EXIT_BUG),
        (KeyboardInterrupt(), worker.EXIT_BUG),
    ],
)
def test_a_worker_that_no_longer_reads_ends(monkeypatch, heard, error, code):
    """A thread that died alone left a worker that heard nothing, and everybody waiting."""
    codes = []

    def ended(value: int) -> None:
        codes.append(value)
        raise _Exit

    def take(_: Any) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(worker.os, "_exit", ended)
    desk: Any = SimpleNamespace(take=take)
    with pytest.raises(_Exit):
        worker._read(desk, iter([Stop()]), heard)
    assert codes == [code]

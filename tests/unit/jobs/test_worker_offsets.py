"""Where each scored token stands in its choice's text: whole, streamed, cut, and within characters."""

import base64
import itertools
import json
from typing import Any

import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.pre_tokenizers import ByteLevel

from pratique.core.wire import Delta, Done, Finish, Sampling, ScoredToken
from pratique.jobs.worker_bytes import by_letters, bytes_of
from pratique.jobs.worker_prompts import Prompts
from pratique.jobs.worker_text import TextStream
from tests.support import model_tokenizers
from tests.unit.jobs.test_worker_grammar import asked, run
from tests.unit.jobs.test_worker_text import decode_bytes

BROKEN = "\N{REPLACEMENT CHARACTER}"
SAID = {"const": "a ship, Grüße 日本語 🚢; the end"}
TEXT = json.dumps(SAID["const"], ensure_ascii=False)
LLAMA = pytest.mark.parametrize("architecture", ["llama", "gemma3"])


def said(heard: Any, done: Done) -> tuple[str, list[ScoredToken]]:
    deltas = [d for d in heard.of(Delta) if (d.id, d.index) == (done.id, done.index)]
    text = "".join(d.text for d in deltas) + done.text
    return text, [s for d in deltas for s in d.scores] + list(done.scores)


@LLAMA
@pytest.mark.parametrize("stream", [False, True])
def test_each_token_stands_where_it_is_said_to(loaded, heard, architecture, stream):
    model = loaded(architecture)[0]
    found = run(model, heard, asked(1, schema=SAID, logprobs=0, stream=stream, n=2))
    for done in found.values():
        text, scores = said(heard, done)
        assert text == TEXT
        assert len(scores) == done.completion_tokens
        offsets = [score.offset for score in scores]
        assert offsets == sorted(offsets)
        assert offsets[0] == 0
        whole = [score for score in scores if BROKEN not in score.token]
        assert len(whole) > 5
        for score in whole[:-1]:
            assert text.startswith(score.token, score.offset)
        # nothing is skipped: between two tokens there is what the first of them says
        for one, two in itertools.pairwise(scores):
            between = text[one.offset : two.offset]
            assert between == one.token or BROKEN in one.token


def test_the_bytes_of_tokens_make_the_text(loaded, heard):
    """A client puts characters together from their pieces, each of which reads as U+FFFD."""
    request = asked(1, schema=SAID, logprobs=20)
    (done,) = run(loaded("llama")[0], heard, request).values()
    assert any(BROKEN in score.token for score in done.scores)
    assert b"".join(base64.b64decode(score.data) for score in done.scores) == TEXT.encode()
    for other in (top for score in done.scores for top in score.top):
        assert base64.b64decode(other.data).decode("utf-8", "replace") == other.token


@pytest.mark.parametrize("kind", ["byte_bpe", "fallback_bpe"])
def test_each_token_has_its_bytes_in_either_kind(tmp_path, kind):
    rows = model_tokenizers.write_tokenizer(tmp_path, kind)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    prompts = Prompts(tokenizer, context=99, vocabulary=rows)
    ids = tokenizer.encode("é ☃ 日", add_special_tokens=False)
    pieces = [prompts.piece(token) for token in ids]
    assert any(BROKEN in text for text, _ in pieces)
    said = b"".join(data for _, data in pieces)
    assert said.decode().replace(" ", "") == "é☃日"  # alone, a token may lose the space before it


@given(st.integers(0, 255))
def test_names_of_bytes_are_read(byte):
    data = bytes([byte])
    text = data.decode("utf-8", "replace")
    assert bytes_of(f"<0x{byte:02X}>", text) == data if text == BROKEN else text.encode()
    backend = ByteLevel(add_prefix_space=False).pre_tokenize_str(
        data.decode("latin-1")
    )  # a name for each byte of UTF-8
    name = "".join(part for part, _ in backend)
    assert by_letters(name) == data.decode("latin-1").encode()


@pytest.mark.parametrize("name", ["<0xe2>", "<0xE2", "€", "", "ab", "<0x41>", None])
def test_what_does_not_spell_what_the_decoder_says_is_no_name_of_bytes(name):
    assert bytes_of(str(name), BROKEN) == BROKEN.encode()


def test_streams_say_the_same_offsets_as_a_whole(loaded, heard):
    model = loaded("llama")[0]
    free = {"schema": None, "logprobs": 1, "max_tokens": 40, "ignore_eos": True}
    (whole,) = run(model, heard, asked(5, **free)).values()
    heard.messages.clear()
    (done,) = run(model, heard, asked(5, **free, stream=True)).values()
    text, scores = said(heard, done)
    assert text == whole.text
    assert scores == list(whole.scores)


def test_the_token_that_ends_an_answer_stands_at_its_end(loaded, heard):
    ending = Sampling(temperature=0, logit_bias={1: 100.0})
    request = asked(1, schema=None, logprobs=0).model_copy(update={"sampling": ending})
    (done,) = run(loaded("llama")[0], heard, request).values()
    assert (done.text, [s.offset for s in done.scores]) == ("", [0])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("stop", ["ship", "p, G", "Grüße", "日本", '"a'])
def test_what_a_stop_string_cuts_off_stands_at_the_end(loaded, heard, stop, stream):
    request = asked(1, schema=SAID, logprobs=0, stream=stream, stop=(stop,))
    (done,) = run(loaded("llama")[0], heard, request).values()
    text, scores = said(heard, done)
    assert (done.finish, text) == (Finish.STOP, TEXT[: TEXT.find(stop)])
    assert max(score.offset for score in scores) == len(text)
    assert [s.offset for s in scores] == sorted(s.offset for s in scores)


@pytest.mark.parametrize("stop", ["aab", "aaaab", "aab;", "b; b"])
@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
def test_a_stream_says_no_offset_that_its_end_takes_back(loaded, heard, architecture, stop):
    """What could still become a stop string is held; so is where its tokens stand."""
    model = loaded(architecture)[0]
    said_so = {"const": "xaaaab; b; aaaaaab; bb; b; b"}
    ask = {"schema": said_so, "logprobs": 0, "stop": (stop,)}
    (whole,) = run(model, heard, asked(1, **ask)).values()
    heard.messages.clear()
    (done,) = run(model, heard, asked(1, **ask, stream=True)).values()
    text, scores = said(heard, done)
    assert text == whole.text
    assert scores == list(whole.scores)
    sent = 0
    for piece in [*heard.of(Delta), done]:
        sent += len(piece.text)
        assert all(score.offset <= sent for score in piece.scores)


@given(st.text(st.characters(exclude_characters=BROKEN, exclude_categories=["Cs"]), max_size=30))
def test_a_piece_of_a_character_stands_where_the_character_does(text):
    stream = TextStream(decode_bytes, eager=True)
    for at, byte in enumerate(data := text.encode()):
        assert stream.length == len(data[:at].decode("utf-8", "ignore"))
        stream.push(byte)
    stream.finish()
    assert stream.length == len(text)

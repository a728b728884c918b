"""The conversation between gateway and worker is strict, bounded and lossless."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pratique.core import wire
from pratique.core.wire import (
    Cancel,
    Delta,
    Done,
    Finish,
    Frames,
    Generate,
    Sampling,
    Stop,
    encode,
    parse_from_worker,
    parse_to_worker,
)
from pratique.errors import FormatError

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=50)


@given(st.lists(TEXT, max_size=8), st.integers(1, 40))
def test_frames_survive_any_cutting(texts, size):
    messages = [Delta(id=at, index=0, text=text) for at, text in enumerate(texts)]
    data = b"".join(encode(message) for message in messages)
    frames = Frames()
    got = [
        parse_from_worker(body)
        for at in range(0, len(data), size)
        for body in frames.feed(data[at : at + size])
    ]
    assert got == messages
    assert not frames.incomplete


@given(
    st.builds(
        Generate,
        id=st.integers(0, 2**53 - 1),
        text=TEXT,
        n=st.integers(1, 128),
        stop=st.lists(TEXT, max_size=4).map(tuple),
        sampling=st.builds(
            Sampling,
            temperature=st.none() | st.floats(0, 2),
            seed=st.none() | st.integers(-(2**63), 2**64 - 1),
        ),
    )
)
def test_requests_come_out_as_they_went_in(request_):
    (body,) = Frames().feed(encode(request_))
    assert parse_to_worker(body) == request_


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_format_error(data):
    for parse in (parse_to_worker, parse_from_worker):
        with pytest.raises(FormatError):
            parse(data)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"op":"stop","more":1}',
        b'{"op":"cancel"}',
        b'{"op":"cancel","id":-1}',
        b'{"op":"cancel","id":"x"}',
        b'{"op":"generate","id":1,"n":1000}',
        b'{"op":"generate","id":1,"sampling":{"temperature":NaN}}',
        b'{"op":"loaded"}',
        b"[" * 100_000,
    ],
)
def test_what_is_not_the_language_is_refused(body):
    with pytest.raises(FormatError):
        parse_to_worker(body)


def test_each_side_speaks_only_its_part():
    (body,) = Frames().feed(encode(Stop()))
    with pytest.raises(FormatError):
        parse_from_worker(body)
    (body,) = Frames().feed(
        encode(Done(id=1, index=0, text="", finish=Finish.STOP, completion_tokens=1))
    )
    with pytest.raises(FormatError):
        parse_to_worker(body)


def test_an_oversize_frame_is_refused_before_it_arrives():
    with pytest.raises(FormatError):
        list(Frames().feed(struct.pack(">I", wire.MAX_FRAME + 1)))


def test_lone_surrogates_cannot_be_sent():
    with pytest.raises(FormatError):
        encode(Generate(id=1, text="\ud800"))


def test_refusals_do_not_quote():
    with pytest.raises(FormatError) as caught:
        parse_to_worker(b'{"op":"cancel","id":"a secret"}')
    assert "secret" not in str(caught.value)


def test_look_alikes_pass():
    assert parse_to_worker(b'{"op":"cancel","id":1}') == Cancel(id=1)
    assert parse_to_worker(b' {"id": 1, "op": "cancel"} ') == Cancel(id=1)

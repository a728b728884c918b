import itertools
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pratique.confine import parser_lock, wire

frames = st.lists(
    st.tuples(st.sampled_from([wire.NOTE, wire.ANSWER, wire.ERROR, b"?"]), st.binary(max_size=60))
)


def encode(frames):
    return b"".join(wire.HEADER.pack(kind, len(body)) + body for kind, body in frames)


def cut(data, points):
    edges = [0, *sorted(point % (len(data) + 1) for point in points), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@given(frames, st.lists(st.integers(0, 10_000)))
def test_frames_survive_any_cut(sent, points):
    parser = wire.Frames(1000)
    assert [f for part in cut(encode(sent), points) for f in parser.feed(part)] == sent


@given(st.binary(max_size=200), st.lists(st.integers(0, 200)))
def test_any_bytes_are_frames_or_refused_however_cut(data, points):
    def read(parts):
        parser, found = wire.Frames(64), []
        try:
            for part in parts:
                found.extend(parser.feed(part))
        except wire.TooLong:
            found.append("too long")
        return found

    assert read(cut(data, points)) == read([data])


@pytest.mark.parametrize(("kind", "limit"), [(wire.ANSWER, 100), (wire.NOTE, wire.NOTE_LIMIT)])
def test_a_length_is_judged_before_its_body_comes(kind, limit):
    assert list(wire.Frames(100).feed(wire.HEADER.pack(kind, limit))) == []
    with pytest.raises(wire.TooLong):
        list(wire.Frames(100).feed(wire.HEADER.pack(kind, limit + 1)))


def test_the_start_message_leaves_the_request_in_the_pipe():
    start = wire.Start("pratique.jobs.x", parser_lock().to_json(), 3, 4, 5, -1)
    reader, writer = os.pipe()
    os.write(writer, wire.start_message(start) + b"request")
    os.close(writer)
    found = wire.read_start(reader)
    assert (found.module, found.life, found.control, found.out) == ("pratique.jobs.x", 3, 4, 5)
    assert wire.read_all(reader) == b"request"
    os.close(reader)


@pytest.mark.parametrize("sent", [b"", b"\x05", b"\x05\x00\x00\x00{}"])
def test_a_start_that_is_cut_short_is_no_start(sent):
    reader, writer = os.pipe()
    os.write(writer, sent)
    os.close(writer)
    with pytest.raises(EOFError):
        wire.read_start(reader)
    os.close(reader)


@given(st.text(max_size=5000))
def test_notes_fit_their_frame(text):
    reader, writer = os.pipe()
    wire.send_note(writer, text)
    os.close(writer)
    ((kind, body),) = wire.Frames(0).feed(wire.read_all(reader))
    os.close(reader)
    assert kind == wire.NOTE
    assert text.encode(errors="replace").startswith(body)

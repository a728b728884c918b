"""Released text is whole characters, never a piece of a stop string, and adds up."""

from hypothesis import given
from hypothesis import strategies as st

from pratique.jobs.worker_text import TextStream


def decode_bytes(ids: list[int]) -> str:
    """A byte-level tokenizer: broken characters come out as U+FFFD."""
    return bytes(ids).decode("utf-8", "replace")


@given(st.text(max_size=40))
def test_pieces_add_up_to_the_text(text):
    stream = TextStream(decode_bytes, eager=True)
    pieces = [stream.push(byte) for byte in text.encode()]
    assert "".join(pieces) + stream.finish() == text
    if "\N{REPLACEMENT CHARACTER}" not in text:
        assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)


@given(st.text("abc", max_size=30), st.lists(st.text("abc", min_size=1, max_size=4), max_size=3))
def test_nothing_of_a_stop_string_gets_out(text, stops):
    stream = TextStream(decode_bytes, stops=tuple(stops), eager=True)
    out = ""
    for byte in text.encode():
        out += stream.push(byte)
        if stream.stopped:
            break
    out += stream.finish()
    # the first moment at which some stop string is complete
    ends = [text.find(s) + len(s) for s in stops if s in text]
    if not ends:
        assert out == text
        return
    seen = text[: min(ends)]
    assert out == seen[: min(seen.find(s) for s in stops if s in seen)]


def test_a_broken_end_is_said_once_it_is_certain():
    stream = TextStream(decode_bytes, eager=True)
    assert stream.push(0xE2) == ""
    assert stream.push(0x82) == ""
    assert stream.finish() == "\N{REPLACEMENT CHARACTER}"


def test_without_readers_nothing_is_decoded_until_the_end():
    calls = []

    def decode(ids: list[int]) -> str:
        calls.append(list(ids))
        return decode_bytes(ids)

    stream = TextStream(decode)
    for byte in b"hello":
        assert stream.push(byte) == ""
    assert not calls
    assert stream.finish() == "hello"

"""Released text is whole characters, never a piece of a stop string, and adds up."""

import pytest
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


@given(
    st.lists(
        st.sampled_from([b"\x80", b"\xe6", b"\xf0\x9f", b"\xe6\x97", b"\xe6\x97\xa5", b"a"]),
        max_size=3,
    ),
    st.integers(1, 120),
)  # fmt: skip
def test_pieces_of_broken_text_add_up_too(parts, times):
    data = b"".join(parts) * times
    stream = TextStream(decode_bytes, eager=True)
    said = "".join(stream.push(byte) for byte in data) + stream.finish()
    assert said == decode_bytes(list(data))
    assert stream.length == len(said)


@pytest.mark.parametrize(
    "tokens",
    [
        [0x80],  # no character at all
        [0xF0, 0x9F],
        [0xE6],
        [300],  # a special token: no text
        [0xE6, 300, 300],
        [301],  # ends one character and begins another: no place where it could be cut
    ],
)
def test_tokens_that_never_make_a_character_are_not_decoded_for_ever(tokens):
    most = 0

    def decode(ids: list[int]) -> str:
        nonlocal most
        most = max(most, len(ids))
        spelled = {300: b"", 301: b"\xa5\xe6"}
        return b"".join(spelled.get(i) or (bytes([i]) if i < 256 else b"") for i in ids).decode(
            "utf-8", "replace"
        )

    stream = TextStream(decode, eager=True)
    for at in range(6000):
        stream.push(tokens[at % len(tokens)])
    assert most < 2500


def test_a_space_after_many_tokens_without_text_is_not_lost():
    """Some decoders drop the space that the first of their tokens begins with."""

    def decode(ids: list[int]) -> str:
        return bytes(i for i in ids if i < 256).decode().removeprefix(" ")

    stream = TextStream(decode, eager=True)
    ids = [*b"a ship", *[300] * 500, *b" sails"]
    assert "".join(stream.push(token) for token in ids) == "a ship sails"


def test_a_character_that_comes_late_is_whole():
    stream = TextStream(decode_bytes, eager=True)
    ship = "🚢".encode()
    said = "".join(stream.push(byte) for byte in [*(b"\x80" * 200), *ship])
    assert said.endswith("🚢")
    assert said == "\N{REPLACEMENT CHARACTER}" * 200 + "🚢"


@given(st.text("abc", max_size=30), st.lists(st.text("abc", min_size=1, max_size=4), max_size=3))
def test_nothing_of_a_stop_string_gets_out(text, stops):
    stream = TextStream(decode_bytes, stops=tuple(stops), eager=True)
    out = ""
    for byte in text.encode():
        out += stream.push(byte)
        if stream.stopped:
            break
    out += stream.finish()
    assert stream.length == len(out)
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

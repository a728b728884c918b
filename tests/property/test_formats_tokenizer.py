"""Parsers of tokenizer files: any bytes give a value or a FormatError; what is written is read back."""

import base64
import json
import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from pratique.errors import FormatError
from pratique.formats.tokenizer import (
    parse_sentencepiece,
    parse_tekken,
    parse_tiktoken,
    parse_tokenizer_config,
    parse_tokenizer_json,
    parse_vocab_json,
    parse_vocab_txt,
)
from pratique.formats.tokenizer.charsmap import parse_charsmap
from pratique.formats.tokenizer.view import spell_bytes
from pratique.vet.tokenizer.within import problems_within

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "model",
                    "type",
                    "vocab",
                    "merges",
                    "added_tokens",
                    "id",
                    "content",
                    "BPE",
                    "Unigram",
                    "x",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


def varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


@given(st.binary(max_size=400))
def test_sentencepiece_any_bytes(data: bytes) -> None:
    try:
        parse_sentencepiece(data)
    except FormatError:
        return


pieces = st.lists(
    st.tuples(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        st.floats(width=32, allow_nan=False, allow_infinity=False),
        st.integers(1, 6),
    ),
    min_size=1,
    max_size=20,
)


@given(pieces)
def test_sentencepiece_round_trip(rows: list[tuple[str, float, int]]) -> None:
    data = b"".join(
        field(
            1,
            field(1, text.encode())
            + bytes([2 << 3 | 5])
            + struct.pack("<f", score)
            + bytes([3 << 3])
            + varint(role),
        )
        for text, score, role in rows
    )
    found = parse_sentencepiece(data)
    assert [(p.text, p.score) for p in found.pieces] == [(t, s) for t, s, _ in rows]


@given(pieces, st.data())
def test_sentencepiece_cut_anywhere(
    rows: list[tuple[str, float, int]], data: st.DataObject
) -> None:
    whole = b"".join(field(1, field(1, text.encode())) for text, _, _ in rows)
    cut = data.draw(st.integers(0, len(whole) - 1))
    try:
        found = parse_sentencepiece(whole[:cut])
    except FormatError:
        return
    assert len(found.pieces) < len(rows)


@given(json_values)
@settings(max_examples=300)
def test_any_json(value: object) -> None:
    for parse in (parse_tokenizer_json, parse_tekken, parse_tokenizer_config, parse_vocab_json):
        try:
            found = parse(value)
        except FormatError:
            continue
        if parse is parse_tokenizer_json:
            list(problems_within(found))


@given(st.lists(st.binary(min_size=1, max_size=9), unique=True, min_size=1, max_size=30))
def test_tiktoken_round_trip(tokens: list[bytes]) -> None:
    data = b"".join(base64.b64encode(t) + f" {i}\n".encode() for i, t in enumerate(tokens))
    assert [p.text for p in parse_tiktoken(data).pieces] == [spell_bytes(t) for t in tokens]


@given(st.binary(max_size=300))
def test_text_forms_any_bytes(data: bytes) -> None:
    for parse in (parse_tiktoken, parse_vocab_txt):
        try:
            parse(data)
        except FormatError:
            continue


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r")), max_size=20
    )
)
def test_vocab_txt_round_trip(tokens: list[str]) -> None:
    data = "".join(t + "\n" for t in tokens).encode()
    assert [p.text for p in parse_vocab_txt(data).pieces] == tokens


@given(st.binary(max_size=6000))
@settings(max_examples=60)
def test_charsmap_any_bytes(data: bytes) -> None:
    try:
        for _ in parse_charsmap(data):
            pass
    except FormatError:
        return


@given(st.lists(st.integers(0, 2**32 - 1), min_size=256, max_size=512))
@settings(max_examples=60, deadline=None)
def test_charsmap_any_trie_ends(units: list[int]) -> None:
    data = struct.pack("<I", 4 * len(units)) + struct.pack(f"<{len(units)}I", *units) + b"x\0"
    try:
        for _ in parse_charsmap(data):
            pass
    except FormatError:
        return


def test_duplicate_ids_survive_parsing_for_the_gate_to_name() -> None:
    value = {"model": {"type": "WordLevel", "vocab": {"a": 0, "b": 0}, "unk_token": "a"}}
    found = parse_tokenizer_json(json.loads(json.dumps(value)))
    assert [p.message for p in problems_within(found)] == [
        "two tokens share one id: 'a' and 'b' (id 0)"
    ]

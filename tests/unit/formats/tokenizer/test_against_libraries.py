"""Our view of each form is what the form's own library reads, on tokenizers that nobody here wrote."""

import json
from importlib import resources
from pathlib import Path

import pytest
import sentencepiece
from tokenizers import Tokenizer

from pratique.errors import FormatError
from pratique.formats.tokenizer import (
    ModelKind,
    parse_sentencepiece,
    parse_tekken,
    parse_tiktoken,
    parse_tokenizer_json,
    parse_vocab_txt,
)
from pratique.formats.tokenizer.charsmap import parse_charsmap
from pratique.formats.tokenizer.view import BYTE_ALPHABET, spell_bytes, unspell
from tests.support import tokenizers as kit

DATA = resources.files("mistral_common") / "data"
SENTENCEPIECE = sorted(p.name for p in DATA.iterdir() if ".model" in p.name)


@pytest.mark.parametrize("name", SENTENCEPIECE)
def test_sentencepiece_reads_as_its_library_does(name: str) -> None:
    data = (DATA / name).read_bytes()
    ours = parse_sentencepiece(data)
    theirs = sentencepiece.SentencePieceProcessor(model_proto=data)
    assert [p.text for p in ours.pieces] == [
        theirs.id_to_piece(i) for i in range(theirs.get_piece_size())
    ]
    assert [p.score for p in ours.pieces] == [
        theirs.get_score(i) for i in range(theirs.get_piece_size())
    ]
    assert [p.id for p in ours.pieces if p.role == "control"] == [
        i for i in range(theirs.get_piece_size()) if theirs.is_control(i)
    ]
    assert [p.id for p in ours.pieces if p.role == "byte"] == [
        i for i in range(theirs.get_piece_size()) if theirs.is_byte(i)
    ]
    assert ours.settings["bos_id"] == theirs.bos_id()
    assert ours.settings["pad_id"] == theirs.pad_id() == -1


def test_tekken_numbers_tokens_as_mistral_common_does() -> None:
    from mistral_common.tokens.tokenizers.tekken import Tekkenizer

    path = DATA / "tekken_240911.json"
    ours = parse_tekken(json.loads(path.read_text(encoding="utf-8")))
    theirs = Tekkenizer.from_file(str(path))
    assert ours.top_id + 1 == theirs.n_words
    table = ours.ids()
    assert table["<s>"] == theirs.bos_id
    assert table["</s>"] == theirs.eos_id
    for number in (1000, 1256, 5000, 131_071):
        text = next(p.text for p in ours.pieces if p.id == number)
        assert unspell(text) == theirs.id_to_byte_piece(number)


@pytest.mark.parametrize("base", kit.GOOD, ids=lambda b: b.__name__)
def test_tokenizer_json_reads_as_its_library_does(base: kit.Base, tmp_path: Path) -> None:
    path = base(tmp_path / "t") / "tokenizer.json"
    ours = parse_tokenizer_json(json.loads(path.read_text(encoding="utf-8")))
    theirs = Tokenizer.from_file(str(path))
    assert ours.ids() == theirs.get_vocab(with_added_tokens=True)


def test_vocab_txt_equals_the_vocabulary_of_the_same_model(tmp_path: Path) -> None:
    directory = kit.minilm(tmp_path)
    table = parse_vocab_txt((directory / "vocab.txt").read_bytes())
    fast = parse_tokenizer_json(json.loads((directory / "tokenizer.json").read_text()))
    assert table.kind is ModelKind.WORDPIECE
    assert table.ids() == fast.ids()


def test_tiktoken_lines() -> None:
    ours = parse_tiktoken(b"IQ== 0\nIg== 1\n")
    assert [(p.text, p.id) for p in ours.pieces] == [("!", 0), ('"', 1)]


@pytest.mark.parametrize(
    "data", [b"IQ 0\n", b"IQ== x\n", b"IQ==\n", b"IR== 0\n", b" 0\n", b"IQ== -1\n"]
)
def test_tiktoken_refuses(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_tiktoken(data)


def test_byte_alphabet_is_a_bijection() -> None:
    assert len(set(BYTE_ALPHABET)) == 256
    assert unspell(spell_bytes(bytes(range(256)))) == bytes(range(256))


def test_charsmap_rules_are_those_that_sentencepiece_applies(tmp_path: Path) -> None:
    directory = kit.unigram(tmp_path)
    data = (directory / "spiece.model").read_bytes()
    rules = dict(parse_charsmap(parse_sentencepiece(data).pipeline.charsmap or b""))
    assert rules["ﬁ"] == "fi"
    assert rules["Ａ"] == "A"
    normalize = sentencepiece.SentencePieceNormalizer(model_file=str(directory / "spiece.model"))
    for text in ("ﬁ", "Ａ", "①", "㎏"):
        assert normalize.normalize(text).strip("▁ ") == rules[text]


def test_tekken_refuses_text_that_is_not_its_bytes() -> None:
    value = {
        "config": {"default_vocab_size": 2, "default_num_special_tokens": 1},
        "vocab": [{"rank": 0, "token_bytes": "IQ==", "token_str": "?"}],
    }
    with pytest.raises(FormatError, match="is not the text of"):
        parse_tekken(value)

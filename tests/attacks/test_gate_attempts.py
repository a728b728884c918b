"""What a second pair of eyes got past the gate once, each beside the look-alike that must pass."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pratique.core.candidate import Candidate
from pratique.core.stages import Stage
from pratique.formats.policy import load_policy
from pratique.vet.examine import examine
from tests.support.models import write_model

Change = Callable[[Path], object]
_TEMPLATE = "chat_template.jinja"


def _answer(directory: Path) -> tuple[str, str]:
    """The worst disposition, and what the blocking findings say."""
    found = examine(Candidate("x", directory), load_policy("strict"), Stage.CONTENT).findings
    kinds = {f.disposition.value for f in found}
    worst = next((k for k in ("refuse", "approve") if k in kinds), "pass")
    return worst, " ".join(f"{f.check} {f.path}: {f.message}" for f in found if f.blocks)


def _put(name: str, text: str) -> Change:
    def change(directory: Path) -> None:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text, encoding="utf-8")

    return change


def _set(name: str, **values: Any) -> Change:
    def change(directory: Path) -> None:
        path = directory / name
        old = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        _put(name, json.dumps(old | values))(directory)

    return change


def _tokenizer(edit: Callable[[dict[str, Any]], object]) -> Change:
    def change(directory: Path) -> None:
        path = directory / "tokenizer.json"
        value = json.loads(path.read_text(encoding="utf-8"))
        edit(value)
        path.write_text(json.dumps(value), encoding="utf-8")

    return change


def _all(*changes: Change) -> Change:
    def change(directory: Path) -> None:
        for one in changes:
            one(directory)

    return change


def _exchange_ends(value: dict[str, Any]) -> None:
    """Give the padding the id of the end of text, and the other way round, wherever it is written."""
    vocab, added = value["model"]["vocab"], value["added_tokens"]
    vocab["<|pad|>"], vocab["<|end|>"] = vocab["<|end|>"], vocab["<|pad|>"]
    added[0]["content"], added[1]["content"] = added[1]["content"], added[0]["content"]


def _added(content: str) -> Change:
    def edit(value: dict[str, Any]) -> None:
        row = dict(value["added_tokens"][1], content=content, id=len(value["model"]["vocab"]))
        value["added_tokens"].append(row)

    return _tokenizer(edit)


def _stripped(value: dict[str, Any]) -> None:
    strip = {"type": "Strip", "content": "a", "start": 5, "stop": 5}
    value["decoder"] = {"type": "Sequence", "decoders": [value["decoder"], strip]}


def _growing(content: str, steps: int) -> Change:
    step = {"type": "Replace", "pattern": {"Regex": "."}, "content": content}
    normalizer = {"type": "Sequence", "normalizers": [step] * steps}
    return _tokenizer(lambda value: value.update(normalizer=normalizer))


def _padding(number: int, text: str) -> Change:
    row = {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None,
           "pad_id": number, "pad_type_id": 0, "pad_token": text}  # fmt: skip
    return _tokenizer(lambda value: value.update(padding=row))


def _modules(cls: str, path: str) -> Change:
    first = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}
    second = {"idx": 1, "name": "1", "path": path, "type": f"sentence_transformers.models.{cls}"}
    return _put("modules.json", json.dumps([first, second]))


_TURNS = "{% for m in messages %}{{ '<|' + ROLE + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
_LOOPS = "{% for a in range(N) %}{% for b in range(N) %}{% for c in range(N) %}{% endfor %}{% endfor %}{% endfor %}"
_DOUBLING = "{% set ns = namespace(x='aaaa') %}{% for i in range(N) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}"
_TOOL_USE = (
    "{{ bos_token }}{% for tool in tools %}{{ tool | tojson }}{% endfor %}"
    + _TURNS.replace("ROLE", "m['role']")
)
_META = {"quantizer": ["gptqmodel:1.4.0"], "uri": "https://github.com/modelcloud/gptqmodel"}
_GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 128}

REFUSED: dict[str, tuple[Change, str]] = {
    "merges-reversed": (_tokenizer(lambda v: v["model"]["merges"].reverse()), "out of order"),
    "merges-gone": (_tokenizer(lambda v: v["model"]["merges"].clear()), "made by no merge"),
    "ends-exchanged": (_tokenizer(_exchange_ends), "exchanged"),
    "eos-a-word": (_set("tokenizer_config.json", eos_token="a"), "ordinary token 'a'"),
    "padding-elsewhere": (_padding(77, "<|pad|>"), "padding writes id 77"),
    "decoder-panics": (_tokenizer(_stripped), "library fails"),
    "growing-normalizer": (_growing("a" * 1000, 4), "times longer"),
    "dropout": (_tokenizer(lambda v: v["model"].update(dropout=0.9)), "dropout 0.9"),
    "blank-letter": (_added("<|us\u115fer|>"), "U+115F"),
    "marked-letter": (_added("<|end|>\u0301"), "looks like"),
    "space-behind": (_added("<|assistant|> "), "looks like"),
    "role-swapped": (
        _put(_TEMPLATE, _TURNS.replace("ROLE", "('system' if m['role'] == 'user' else 'user')")),
        "another's marker",
    ),
    "endless-template": (
        _put(_TEMPLATE, _LOOPS.replace("N", "1000") + _TURNS.replace("ROLE", "m['role']")),
        "does not end",
    ),
    "doubling-template": (
        _put(_TEMPLATE, _DOUBLING.replace("N", "60") + _TURNS.replace("ROLE", "m['role']")),
        "MiB of memory",
    ),
    "kernel-from-a-path": (_set("config.json", kernel_config={"N": "/tmp/x:N"}), "from the path"),
    "quantiser-elsewhere": (
        _set("config.json", quantization_config=_GPTQ | {"weights": "https://evil.example/w"}),
        "points to",
    ),
    "module-without-weights": (_modules("Dense", "2_Dense"), "has weights"),
    "foreign-tokenizer": (
        _put("sentence_bert_config.json", json.dumps({"tokenizer_name_or_path": "evil/tokenizer"})),
        "takes the tokenizer from",
    ),
    "bare-git": (
        _all(_put("b/HEAD", "ref: x"), _put("b/objects/x", "a"), _put("b/refs/x", "a")),
        "bare git repository",
    ),
}  # fmt: skip

ACCEPTED: dict[str, Change] = {
    "untouched": lambda directory: directory,
    "merges-as-text": _tokenizer(
        lambda v: v["model"].update(merges=[" ".join(m) for m in v["model"]["merges"]])
    ),
    "other-end-of-text": _set("tokenizer_config.json", eos_token="<|user|>"),
    "no-dropout": _tokenizer(lambda v: v["model"].update(dropout=0.0)),
    "padding": _padding(0, "<|pad|>"),
    "library's-default-padding": _padding(0, "[PAD]"),
    "added-marker": _added("<|tool|>"),
    "plain-turns": _put(_TEMPLATE, _TURNS.replace("ROLE", "m['role']")),
    "some-loops": _put(_TEMPLATE, _LOOPS.replace("N", "9") + _TURNS.replace("ROLE", "m['role']")),
    "some-doubling": _put(
        _TEMPLATE, _DOUBLING.replace("N", "5") + _TURNS.replace("ROLE", "m['role']")
    ),
    "tool-use-only": _put(_TEMPLATE, _TOOL_USE),
    "names-a-token-that-is-not-there": _put(
        _TEMPLATE, "{{ bos_token + '' }}" + _TURNS.replace("ROLE", "m['role']")
    ),
    "quantiser-says-who-it-is": _set("config.json", quantization_config=_GPTQ | {"meta": _META}),
    "module-without-parameters": _modules("Normalize", "2_Normalize"),
    "own-tokenizer": _put("sentence_bert_config.json", json.dumps({"max_seq_length": 128})),
    "a-file-called-head": _put("b/HEAD", "ref: x"),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("redteam")
    return lambda name: write_model(folder / name.replace("/", "_"), "llama", padded_rows=8)


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, base: Callable[[str], Path]) -> None:
    change, words = REFUSED[name]
    directory = base(f"bad-{name}")
    change(directory)
    worst, said = _answer(directory)
    assert worst == "refuse"
    assert words in said


@pytest.mark.parametrize("name", ACCEPTED)
def test_look_alike_passes(name: str, base: Callable[[str], Path]) -> None:
    directory = base(f"good-{name}")
    ACCEPTED[name](directory)
    assert _answer(directory) == ("pass", "")


def test_any_creative_commons_is_none(tmp_path: Path) -> None:
    # The Hub's tag "cc" covers the non-commercial ones too.
    directory = write_model(tmp_path / "m", "llama")
    _put("README.md", "---\nlicense: cc\n---\n# x\n")(directory)
    assert _answer(directory)[0] == "approve"
    _put("README.md", "---\nlicense: cc-by-4.0\n---\n# x\n")(directory)
    assert _answer(directory) == ("pass", "")


# --- a GGUF file's own vocabulary ------------------------------------------------------------------


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _gguf(tokens: list[str], *, eos: int = 2, rows: int | None = None, scores: int | None = None) -> bytes:  # fmt: skip
    count = len(tokens) if scores is None else scores
    keys = [
        _text("general.architecture") + struct.pack("<I", 8) + _text("llama"),
        _text("general.license") + struct.pack("<I", 8) + _text("mit"),
        _text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, len(tokens)) + b"".join(map(_text, tokens)),
        _text("tokenizer.ggml.scores") + struct.pack(f"<IIQ{count}f", 9, 6, count, *([0.0] * count)),
        _text("tokenizer.ggml.eos_token_id") + struct.pack("<II", 4, eos),
    ]  # fmt: skip
    shape = (8, len(tokens) if rows is None else rows)
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, len(keys)) + b"".join(keys)
    head += _text("token_embd.weight") + struct.pack("<IQQIQ", 2, *shape, 0, 0)
    return head + bytes(-len(head) % 32) + bytes(4 * shape[0] * shape[1])


_TOKENS = ["<unk>", "<s>", "</s>", "hello", "world"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (_gguf([*_TOKENS, "world"]), "'world' as 4 and 5"),
        (_gguf(_TOKENS, eos=3), "'hello' (id 3)"),
        (_gguf(_TOKENS, eos=99), "eos_token_id is 99"),
        (_gguf(_TOKENS, rows=4), "4 rows for 5 tokens"),
        (_gguf(_TOKENS, scores=3), "5 tokens but 3 scores"),
    ],
    ids=["twice", "eos-a-word", "eos-nowhere", "rows", "scores"],
)
def test_gguf_vocabulary_refused(data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(data)
    worst, said = _answer(tmp_path)
    assert worst == "refuse"
    assert words in said


def test_gguf_vocabulary_passes(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(_gguf(_TOKENS))
    (tmp_path / "padded.gguf").write_bytes(_gguf(_TOKENS, rows=64))
    assert _answer(tmp_path) == ("pass", "")


def test_a_rewriting_step_that_does_not_grow_is_run(tmp_path: Path) -> None:
    directory = write_model(tmp_path / "m", "llama")
    _growing("ab", 3)(directory)
    worst, said = _answer(directory)
    assert worst == "approve"
    assert "times longer" not in said

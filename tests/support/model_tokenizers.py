"""Tokenizers for the small random models: trained in milliseconds on a few lines, each kind once.

`write_tokenizer(directory, kind)` writes what a repository has, and says how many ids there are.
"""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

Vocabulary = Literal["byte_bpe", "fallback_bpe", "wordpiece", "unigram"]

VOCABULARIES: Final[tuple[Vocabulary, ...]] = ("byte_bpe", "fallback_bpe", "wordpiece", "unigram")
CHAT_TEMPLATE: Final = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' }}"
    "{{ message['content'] }}{{ '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
_CORPUS: Final = (
    "A ship that has pratique may enter the port after its quarantine.",
    "The courier carries the bundle; the vetter sealed it; the approver signed it.",
    "Weights are numbers, pickles are programs: refuse the programs, keep the numbers.",
    "def admit(bundle, trust, policy): return verify(bundle, trust) and store(bundle)",
    "0123456789 3.14159 maria.keller@example.org +49 30 1234567 Grüße, 日本語, עברית, 🚢",
    "Hello world! Is this model online? No: there is no way out, and nothing comes in unseen.",
)

_ROLES: Final = ("<|system|>", "<|user|>", "<|assistant|>")
_BERT_SPECIALS: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_SPECIALS: Final = ("<|pad|>", "<|end|>", "<unk>", *_ROLES)


def write_tokenizer(directory: Path, kind: Vocabulary = "byte_bpe") -> int:
    """Write tokenizer.json, tokenizer_config.json (vocab.txt too for WordPiece); return the ids.

    For all but WordPiece, id 0 is the padding and id 1 the end of text, and there is a chat
    template; each role marker is one special token.
    """
    tokenizer = Tokenizer.from_str(_trained(kind))
    (directory / "tokenizer.json").write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
    if kind == "wordpiece":
        vocab = tokenizer.get_vocab()
        (directory / "vocab.txt").write_text(
            "".join(f"{token}\n" for token in sorted(vocab, key=vocab.__getitem__)),
            encoding="utf-8",
        )
        names = ("pad", "unk", "cls", "sep", "mask")
        config: dict[str, Any] = {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": True,
            **{f"{n}_token": t for n, t in zip(names, _BERT_SPECIALS, strict=True)},
        }
    else:
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "pad_token": "<|pad|>",
            "eos_token": "<|end|>",
            "unk_token": "<unk>",
        }
        (directory / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    config |= {"model_max_length": 256, "clean_up_tokenization_spaces": False}
    write_json(directory / "tokenizer_config.json", config)
    return int(tokenizer.get_vocab_size())


@functools.cache
def _trained(kind: Vocabulary) -> str:
    return str(_TRAINERS[kind]().to_str())


def _byte_bpe() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=384,
        special_tokens=list(_SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return tokenizer


def _fallback_bpe() -> Tokenizer:
    """BPE over characters with `<0xNN>` for the rest, as sentencepiece conversions have it."""
    specials = [*_SPECIALS, *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(
        vocab_size=448, special_tokens=specials, limit_alphabet=64, show_progress=False
    )
    draft = Tokenizer(models.BPE(unk_token="<unk>"))
    draft.normalizer = normalizers.Replace(" ", "▁")
    draft.train_from_iterator(_CORPUS, trainer)
    state = json.loads(draft.to_str())
    model = state["model"] | {"byte_fallback": True, "fuse_unk": True}
    # The byte pieces are vocabulary, not special tokens: else the tokenizer would find "<0x41>" in text.
    added = [t for t in state["added_tokens"] if not t["content"].startswith("<0x")]
    tokenizer = Tokenizer.from_str(json.dumps(state | {"model": model, "added_tokens": added}))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return tokenizer


def _wordpiece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=320, special_tokens=list(_BERT_SPECIALS), show_progress=False
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    ends = [(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    return tokenizer


def _unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=192, special_tokens=list(_SPECIALS), unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    return tokenizer


_TRAINERS: Final[dict[Vocabulary, Callable[[], Tokenizer]]] = {
    "byte_bpe": _byte_bpe,
    "fallback_bpe": _fallback_bpe,
    "wordpiece": _wordpiece,
    "unigram": _unigram,
}


def write_json(path: Path, value: object) -> None:
    """Write JSON as save_pretrained does: two spaces, UTF-8, a newline at the end."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

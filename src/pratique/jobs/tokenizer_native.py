"""Encode a corpus with the native libraries, inside the lock, and say where two forms differ.

The native parsers read hostile files here and nowhere else. Request and answer are JSON::

    {"pairs": [[PATH_OF_TOKENIZER_JSON, PATH_OF_SENTENCEPIECE_MODEL or ""], …], "lines": [TEXT, …]}
    {"pairs": [{"compared": N, "differences": [{"text", "fast", "slow"}], "losses": [{"text", "back"}],
                "error": ""}]}
"""

import json
from collections.abc import Callable
from typing import Final

_MAX_SHOWN: Final = 5


def run(request: bytes, note: Callable[[str], None]) -> bytes:
    """Answer one request; a library's failure is reported, not raised."""
    asked = json.loads(request)
    answers = []
    for fast, slow in asked["pairs"]:
        note(fast or slow)
        try:
            answers.append(_compare(fast, slow, asked["lines"]))
        except Exception as error:  # noqa: BLE001 - the seam to foreign parsers: a refusal, not a crash
            answers.append({"error": f"{type(error).__name__}: {error}"[:200]})
    return json.dumps({"pairs": answers}).encode()


def _compare(fast: str, slow: str, lines: list[str]) -> dict[str, object]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(fast)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    model = None
    if slow:
        import sentencepiece

        model = sentencepiece.SentencePieceProcessor(model_file=slow)
    differences: list[dict[str, object]] = []
    losses: list[dict[str, str]] = []
    for line in lines:
        ids = tokenizer.encode(line, add_special_tokens=False).ids
        back = tokenizer.decode(ids, skip_special_tokens=False)
        if "".join(back.split()) != "".join(line.split()) and len(losses) < _MAX_SHOWN:
            losses.append({"text": line, "back": back})
        if model is None:
            continue
        pieces = [model.id_to_piece(i) for i in model.encode(line)]
        tokens = [tokenizer.id_to_token(i) for i in ids]
        if _plain(tokens) != _plain(pieces) and len(differences) < _MAX_SHOWN:
            differences.append({"text": line, "fast": tokens[:64], "slow": pieces[:64]})
    return {
        "compared": len(lines) if slow else 0,
        "vocabulary": tokenizer.get_vocab_size(with_added_tokens=True),
        "differences": differences,
        "losses": losses,
        "error": "",
    }


def _plain(tokens: list[str | None]) -> list[str]:
    """Unknown tokens are spelled by their text in one library and by `<unk>` in the other."""
    return [t for t in tokens if t is not None and t not in {"<unk>", "▁"}]

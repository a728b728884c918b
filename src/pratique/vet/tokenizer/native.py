"""What the native libraries make of a tokenizer: ids on a corpus, form against form, and back again.

The libraries' own parsers meet hostile files here and nowhere else: inside the gate's confined
child. A library that fails is a problem; one that dies ends the child, which is a refusal too.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from pratique.core.ids import shown
from pratique.vet.tokenizer.corpus import LINES
from pratique.vet.tokenizer.problem import Problem, note

_SHOWN: Final = 3
_LOSSES: Final = 3
MAX_GROWTH: Final = 4_096
"""The most that a pipeline may multiply a text by, before a library is let near it."""


def problems_of_natives(fast: str, slow: str | None, root: str, path: str) -> Iterator[Problem]:
    """Load tokenizer.json (and a sentencepiece model) and compare them on the corpus.

    `fast` and `slow` are paths on disk, `path` is the repository's name for `fast`. Differences on
    runs of white space are noted: published conversions have them. Others are refused.
    """
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the child has few threads and needs none
    yield from _guarded(_compared(fast, slow, root, path), path)


def growth(steps: object) -> int:
    """How many times longer the steps of a pipeline can make a text, at most: one factor a step."""
    factor = 1
    pending = [steps]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            content = value.get("content")
            if value.get("type") == "Replace" and isinstance(content, str):
                factor *= max(1, len(content))
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)
    return factor


def _guarded(problems: Iterator[Problem], path: str) -> Iterator[Problem]:
    """A native library that panics is a problem of the file; pyo3's panics are no `Exception`."""
    try:
        yield from problems
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 - the seam to a foreign library: a refusal
        yield Problem(path, f"the tokenizer library fails on it: {shown(str(error))}")


def _compared(fast: str, slow: str | None, root: str, path: str) -> Iterator[Problem]:
    try:
        tokenizer = _loaded(Path(root, fast))
        model = None if slow is None else _sentencepiece(Path(root, slow))
    except Exception as error:  # noqa: BLE001 - the seam to a foreign parser: a refusal
        yield Problem(path, f"the tokenizer library does not load it: {shown(str(error))}")
        return
    yield from _losses(tokenizer, path)
    if model is not None and slow is not None:
        yield from _differences(tokenizer, model, path, slow)


def _loaded(path: Path) -> Any:  # noqa: ANN401 - the library has no types
    from tokenizers import Tokenizer  # noqa: PLC0415 - only repositories with one pay for it

    # From bytes: the libraries take no path that is not UTF-8, and a folder may well be called so.
    tokenizer = Tokenizer.from_buffer(path.read_bytes())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _sentencepiece(path: Path) -> Any:  # noqa: ANN401 - the library has no types
    from sentencepiece import SentencePieceProcessor  # noqa: PLC0415 - as above

    return SentencePieceProcessor(model_proto=path.read_bytes())


def _losses(tokenizer: Any, path: str) -> Iterator[Problem]:  # noqa: ANN401
    lost: list[str] = []
    for line in LINES:
        ids = tokenizer.encode(line, add_special_tokens=False).ids
        back = tokenizer.decode(ids, skip_special_tokens=False)
        if "".join(back.split()) != "".join(line.split()):
            lost.append(f"{shown(line, 30)} comes back as {shown(back, 30)}")
    if lost:
        yield note(
            path,
            f"{len(lost)} of {len(LINES)} lines do not come back whole (case, unknown characters): "
            + "; ".join(lost[:_LOSSES]),
        )


def _differences(tokenizer: Any, model: Any, path: str, slow: str) -> Iterator[Problem]:  # noqa: ANN401
    spaced: list[str] = []
    wrong: list[str] = []
    for line in LINES:
        pieces = [model.id_to_piece(i) for i in model.encode(line)]
        ids = tokenizer.encode(line, add_special_tokens=False).ids
        tokens = [tokenizer.id_to_token(i) for i in ids]
        if _plain(tokens) == _plain(pieces):
            continue
        at = next((i for i, (a, b) in enumerate(zip(tokens, pieces, strict=False)) if a != b), 0)
        text = f"{shown(line, 30)}: {tokens[at : at + 3]} here, {pieces[at : at + 3]} in {slow}"
        (spaced if _odd_space(line) else wrong).append(text)
    if wrong:
        yield Problem(
            path,
            f"{len(wrong)} lines are cut otherwise than by {slow}: " + "; ".join(wrong[:_SHOWN]),
        )
    if spaced:
        yield note(path, f"runs of white space are cut otherwise than by {slow}: {spaced[0]}")


def _odd_space(line: str) -> bool:
    """Whether the line has what converters are known to treat otherwise: runs, edges, controls."""
    return (
        "  " in line
        or line != line.strip()
        or not line
        or any(c.isspace() and c != " " for c in line)
        or any(ord(c) < 32 or ord(c) == 127 for c in line)
    )


def _plain(tokens: Sequence[str | None]) -> list[str]:
    """Unknown tokens are spelled by their text in one library and by `<unk>` in the other."""
    return [t for t in tokens if t is not None and t not in {"<unk>", "▁"}]

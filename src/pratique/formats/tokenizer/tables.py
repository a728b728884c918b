"""`vocab.json` with `merges.txt`, and `vocab.txt`: the forms before tokenizer.json."""

from pratique.core.ids import shown
from pratique.errors import FormatError
from pratique.formats.tokenizer.view import (
    MAX_MERGES,
    MAX_TOKENS,
    ModelKind,
    Piece,
    Vocabulary,
    bounded,
    mapping,
    token_id,
    token_text,
    unspell,
)


def parse_vocab_json(
    value: object,
    merges: bytes | None = None,
    form: str = "vocab.json",
    merges_form: str = "merges.txt",
) -> Vocabulary:
    """Read a parsed vocab.json (token → id) and the bytes of its merges.txt, if there is one.

    Raises:
        FormatError: another shape, a merges line that is not a pair, too many entries.
    """
    pieces = bounded(
        (
            Piece(token_text(text, form), token_id(number, f"{form}[{shown(text)}]"))
            for text, number in mapping(value, form).items()
        ),
        form,
    )
    pairs = () if merges is None else parse_merges(merges, merges_form)
    sample = pieces[: min(len(pieces), 4096)]
    spelled = sum(unspell(piece.text) is not None for piece in sample)
    return Vocabulary(
        form=form,
        kind=ModelKind.TABLE if merges is None else ModelKind.BPE,
        pieces=pieces,
        merges=pairs,
        byte_level=merges is not None and spelled >= 0.98 * len(sample),
    )


def parse_merges(data: bytes, form: str = "merges.txt") -> tuple[tuple[str, str], ...]:
    """Read merges.txt: an optional `#version` line, then one pair a line, in rank order.

    Raises:
        FormatError: not UTF-8, a line that is not two tokens, too many lines.
    """
    lines = _lines(data, form)
    if lines and lines[0].startswith("#version"):
        lines = lines[1:]
    if len(lines) > MAX_MERGES:
        raise FormatError(f"{form}: more than {MAX_MERGES} merges")
    pairs: list[tuple[str, str]] = []
    for number, line in enumerate(lines, 1):
        parts = line.split(" ")
        if len(parts) != 2 or not all(parts):
            raise FormatError(f"{form}: merge {number} is not a pair: {shown(line)}")
        pairs.append((parts[0], parts[1]))
    return tuple(pairs)


def parse_vocab_txt(data: bytes, form: str = "vocab.txt") -> Vocabulary:
    """Read vocab.txt: one token a line, its line number (from 0) is its id. BERT's form.

    Raises:
        FormatError: not UTF-8, too many lines.
    """
    lines = _lines(data, form)
    if len(lines) > MAX_TOKENS:
        raise FormatError(f"{form}: more than {MAX_TOKENS} tokens")
    # BertTokenizer strips only the line end; so a blank line is a token, and is kept as one.
    pieces = tuple(Piece(token_text(text, form), number) for number, text in enumerate(lines))
    prefixed = any(piece.text.startswith("##") for piece in pieces)
    return Vocabulary(
        form=form,
        kind=ModelKind.WORDPIECE if prefixed else ModelKind.TABLE,
        pieces=pieces,
        continuing_prefix="##" if prefixed else "",
    )


def _lines(data: bytes, form: str) -> list[str]:
    """Split at LF or CRLF only: other Unicode line ends are legitimate token text."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"{form}: byte {error.start} is not UTF-8") from error
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    if lines and not lines[-1]:
        lines.pop()
    return lines

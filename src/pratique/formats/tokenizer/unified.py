"""`tokenizer.json` (the `tokenizers` library): vocabulary, merges, added tokens, pipeline.

Every key is known or the file is refused: the library ignores none of these silently, and neither
do we. Shapes were read from tokenizers 0.22's serialisation.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from pratique.core.ids import shown
from pratique.errors import FormatError
from pratique.formats.tokenizer.view import (
    MAX_MERGES,
    MAX_TOKENS,
    AddedToken,
    ModelKind,
    Piece,
    Pipeline,
    Vocabulary,
    bounded,
    flag,
    items,
    mapping,
    token_id,
    token_text,
)

_TOP_KEYS: Final = frozenset(
    "version truncation padding added_tokens normalizer pre_tokenizer post_processor decoder model".split()
)
_ADDED_KEYS: Final = frozenset("id content single_word lstrip rstrip normalized special".split())
_MODEL_KEYS: Final[dict[ModelKind, frozenset[str]]] = {
    ModelKind.BPE: frozenset(
        "type dropout unk_token continuing_subword_prefix end_of_word_suffix fuse_unk "
        "byte_fallback ignore_merges vocab merges".split()
    ),
    ModelKind.WORDPIECE: frozenset(
        "type unk_token continuing_subword_prefix max_input_chars_per_word vocab".split()
    ),
    ModelKind.UNIGRAM: frozenset("type unk_id vocab byte_fallback".split()),
    ModelKind.WORDLEVEL: frozenset("type vocab unk_token".split()),
}


def parse_tokenizer_json(value: object, form: str = "tokenizer.json") -> Vocabulary:
    """Read a parsed tokenizer.json.

    Guarantees the shape of every part; does NOT check that ids are unique or merges possible.

    Raises:
        FormatError: an unknown key, another shape, or more entries than the limits.
    """
    top = mapping(value, form)
    _known(top, _TOP_KEYS, form)
    if top.get("version", "1.0") != "1.0":
        raise FormatError(f"{form}: version {shown(repr(top['version']))} is not known")
    model = mapping(top.get("model"), f"{form}: model")
    kind = _kind(model, form)
    _known(model, _MODEL_KEYS[kind], f"{form}: model")
    pipeline = Pipeline(
        normalizer=top.get("normalizer"),
        pre_tokenizer=top.get("pre_tokenizer"),
        post_processor=top.get("post_processor"),
        decoder=top.get("decoder"),
        truncation=top.get("truncation"),
        padding=top.get("padding"),
    )
    return Vocabulary(
        form=form,
        kind=kind,
        pieces=bounded(_pieces(model, kind, form), form),
        added=tuple(_added(top.get("added_tokens"), form)),
        merges=tuple(_merges(model.get("merges"), form)) if kind is ModelKind.BPE else (),
        unk=_unk(model, kind, form),
        byte_level=_mentions(pipeline, "ByteLevel"),
        byte_fallback=flag(model, "byte_fallback", form),
        ignore_merges=flag(model, "ignore_merges", form),
        continuing_prefix=_text(model, "continuing_subword_prefix", form),
        end_of_word_suffix=_text(model, "end_of_word_suffix", form),
        pipeline=pipeline,
        settings={
            k: v
            for k, v in model.items()
            if k in {"dropout", "fuse_unk", "max_input_chars_per_word"}
        },
    )


def _known(value: Mapping[str, object], keys: frozenset[str], where: str) -> None:
    if unknown := sorted(set(value) - keys):
        raise FormatError(f"{where}: unknown entry {shown(unknown[0])}")


def _kind(model: Mapping[str, object], form: str) -> ModelKind:
    declared = model.get("type")
    if declared is None:
        # Files of tokenizers < 0.10 leave the type out; the library then tries each in turn.
        if "merges" in model:
            return ModelKind.BPE
        if "unk_id" in model:
            return ModelKind.UNIGRAM
        return ModelKind.WORDPIECE if "max_input_chars_per_word" in model else ModelKind.WORDLEVEL
    for kind in _MODEL_KEYS:
        if declared == kind.value:
            return kind
    raise FormatError(f"{form}: model type {shown(repr(declared))} is not known")


def _pieces(model: Mapping[str, object], kind: ModelKind, form: str) -> Iterator[Piece]:
    where = f"{form}: vocab"
    if kind is ModelKind.UNIGRAM:
        for number, row in enumerate(items(model.get("vocab"), where, MAX_TOKENS)):
            pair = items(row, where, 2)
            if len(pair) != 2 or type(pair[1]) not in (float, int):
                raise FormatError(f"{where}: entry {number} is not [token, score]")
            score = pair[1]
            assert isinstance(score, (float, int))  # the line above
            yield Piece(token_text(pair[0], where), number, float(score))
        return
    for text, number_ in mapping(model.get("vocab"), where).items():
        yield Piece(token_text(text, where), token_id(number_, f"{where}[{shown(text)}]"))


def _added(value: object, form: str) -> Iterator[AddedToken]:
    where = f"{form}: added_tokens"
    for row in items(value if value is not None else [], where, MAX_TOKENS):
        entry = mapping(row, where)
        _known(entry, _ADDED_KEYS, where)
        yield AddedToken(
            content=token_text(entry.get("content"), where),
            id=token_id(entry.get("id"), where),
            special=flag(entry, "special", where),
            lstrip=flag(entry, "lstrip", where),
            rstrip=flag(entry, "rstrip", where),
            single_word=flag(entry, "single_word", where),
            normalized=flag(entry, "normalized", where, default=True),
        )


def _merges(value: object, form: str) -> Iterator[tuple[str, str]]:
    where = f"{form}: merges"
    for number, row in enumerate(items(value, where, MAX_MERGES)):
        # Both spellings are current: "a b", and ["a", "b"] since tokenizers 0.20.
        parts = row.split(" ") if isinstance(row, str) else row
        if not isinstance(parts, list) or len(parts) != 2:
            raise FormatError(f"{where}: entry {number} is not a pair: {shown(repr(row))}")
        yield token_text(parts[0], where), token_text(parts[1], where)


def _unk(model: Mapping[str, object], kind: ModelKind, form: str) -> str | None:
    if kind is ModelKind.UNIGRAM:
        if (number := model.get("unk_id")) is None:
            return None
        vocab = items(model.get("vocab"), form, MAX_TOKENS)
        index = token_id(number, f"{form}: unk_id")
        if index >= len(vocab):
            raise FormatError(f"{form}: unk_id {index} is past the vocabulary's end")
        return token_text(items(vocab[index], form, 2)[0], form)
    unk = model.get("unk_token")
    return None if unk is None else token_text(unk, f"{form}: unk_token")


def _text(model: Mapping[str, object], key: str, form: str) -> str:
    value = model.get(key)
    return "" if value is None else token_text(value, f"{form}: {key}")


def _mentions(pipeline: Pipeline, kind: str) -> bool:
    """Whether a step of this type is anywhere in the pipeline (they nest in Sequence)."""
    todo: list[object] = [pipeline.normalizer, pipeline.pre_tokenizer, pipeline.decoder]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            if value.get("type") == kind:
                return True
            todo.extend(value.values())
        elif isinstance(value, list):
            todo.extend(value)
    return False

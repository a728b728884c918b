"""Rules against the model: every id has an embedding row, every id that config names is special."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pratique.vet.tokenizer.problem import Problem, looks_special, note, tok

_INPUT_TAILS: Final = (
    "embed_tokens.weight", "word_embeddings.weight", "wte.weight", "embed_in.weight",
    "shared.weight", "tok_embeddings.weight", "token_embedding.weight", "embeddings.weight",
    "tokens_embed.weight", "word_embedding.weight", "wordpiece_embeddings.weight",
)  # fmt: skip
_OUTPUT_TAILS: Final = (
    "lm_head.weight", "embed_out.weight", "cls.predictions.decoder.weight", "output_projection.weight",
    "lm_head.decoder.weight",
)  # fmt: skip
_EXACT_OUTPUTS: Final = frozenset({"output.weight"})
# Not the text vocabulary, although the names end alike.
_OTHER_EMBEDDINGS: Final = (
    "position", "token_type", "patch", "vision", "visual", "audio", "image", "time", "speaker",
    "relative", "segment", "rotary", "entity", "codebook", "semantic", "coarse", "fine", "class_embed",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rows:
    """One embedding matrix over the vocabulary. `rows` is its first dimension."""

    tensor: str
    rows: int
    file: str
    output: bool = False


def embedding_rows(shapes: Mapping[str, tuple[Sequence[int], str]]) -> list[Rows]:
    """Find the vocabulary's embeddings among tensors given as name → (shape, file)."""
    found: list[Rows] = []
    for name, (shape, file) in shapes.items():
        if len(shape) != 2 or any(word in name for word in _OTHER_EMBEDDINGS):
            continue
        if name.endswith(_OUTPUT_TAILS) or name in _EXACT_OUTPUTS:
            found.append(Rows(name, shape[0], file, output=True))
        elif name.endswith(_INPUT_TAILS):
            found.append(Rows(name, shape[0], file))
    return found


def problems_with_rows(
    form: str, table: Mapping[str, int], rows: Sequence[Rows], vocab_size: object
) -> Iterator[Problem]:
    """Every token's id must be a row of every embedding; more rows than ids is padding."""
    if not table:
        return
    text, top = max(table.items(), key=lambda item: item[1])
    for matrix in rows:
        if top >= matrix.rows:
            beyond = sum(number >= matrix.rows for number in table.values())
            yield Problem(
                form,
                f"{tok(text, top)} has no row in {matrix.tensor} ({matrix.rows} rows, {matrix.file}); "
                f"{beyond} tokens are beyond the end",
                remedy="the tokenizer belongs to another model, or the embeddings were cut",
            )
        elif top + 1 < matrix.rows and not matrix.output:
            yield note(form, f"{matrix.rows - top - 1} padding rows above {tok(text, top)}")
        if type(vocab_size) is int and vocab_size != matrix.rows:
            yield Problem(
                "config.json",
                f"vocab_size is {vocab_size}, but {matrix.tensor} has {matrix.rows} rows",
                remedy="config.json and the weights are from different models",
            )
    if not rows and type(vocab_size) is int and top >= vocab_size:
        yield Problem(form, f"{tok(text, top)} is not below config.json's vocab_size {vocab_size}")


def problems_with_ids(
    form: str,
    ids: Mapping[str, object],
    names: Mapping[int, str],
    special: frozenset[str],
    size: int | None,
) -> Iterator[Problem]:
    """Ids that config.json or generation_config.json name: in range, and a special token's.

    An ordinary word as end of text cuts answers off where an attacker likes; as padding it is a
    common and harmless habit, and a note.
    """
    for role, value in ids.items():
        for number in value if isinstance(value, list) else [value]:
            if number is None or number == -1:
                continue
            if type(number) is not int or number < 0 or (size is not None and number >= size):
                yield Problem(form, f"{role} {number!r} is not an id of this vocabulary")
                continue
            text = names.get(number)
            if text is None or text in special or looks_special(text):
                continue
            forced = role.startswith("forced_") and text.strip("▁Ġ ").isalpha()
            if forced or role in {"eos_token_id", "bos_token_id", "decoder_start_token_id"}:
                yield Problem(form, f"{role} {number} is the ordinary token {tok(text, number)}")
            else:
                yield note(form, f"{role} {number} is the ordinary token {tok(text, number)}")


def problems_of_ends(
    form: str, roles: Mapping[str, str], names: Mapping[str, int], special: frozenset[str]
) -> Iterator[Problem]:
    """Say when the tokenizer begins or ends text with a word that people write."""
    for role in ("bos_token", "eos_token"):
        text = roles.get(role)
        if text is None or text in special or text not in names:
            continue
        if text.strip("▁Ġ ").isalnum():
            yield Problem(form, f"{role} is the ordinary token {tok(text, names[text])}")


def problems_of_exchange(
    form: str, config: Mapping[str, object], roles: Mapping[str, str], names: Mapping[str, int]
) -> Iterator[Problem]:
    """Two roles that config numbers the other way round than the tokenizer: ids were exchanged.

    One role that differs is common (a chat model's own end of text); two that cross are not.
    """
    ids = {role: names.get(text) for role, text in roles.items()}
    pairs = (("bos", "eos"), ("pad", "eos"), ("bos", "pad"))
    for first, second in pairs:
        here, there = config.get(f"{first}_token_id"), config.get(f"{second}_token_id")
        if here is None or there is None or here == there:
            continue
        if here == ids.get(f"{second}_token") and there == ids.get(f"{first}_token"):
            yield Problem(
                form,
                f"{first}_token_id {here} is {tok(roles[f'{second}_token'])} and {second}_token_id "
                f"{there} is {tok(roles[f'{first}_token'])}: the tokenizer has them exchanged",
            )


def problems_of_eos(
    form: str, config_eos: object, generation_eos: object, tokenizer_eos: int | None, name: str
) -> Iterator[Problem]:
    """Say when the model's end of text and the tokenizer's differ: common in fine-tunes, worth knowing."""
    stops: set[int] = set()
    for value in (config_eos, generation_eos):
        stops.update(v for v in (value if isinstance(value, list) else [value]) if type(v) is int)
    if tokenizer_eos is not None and stops and tokenizer_eos not in stops:
        yield note(
            form,
            f"the tokenizer ends text with {tok(name, tokenizer_eos)}, the model with {sorted(stops)}",
        )


def problems_with_length(
    prefix: str, limits: Sequence[object], positions: object
) -> Iterator[Problem]:
    """Say when the tokenizer allows more tokens than the model has positions for."""
    for limit in limits:
        # 10³⁰ is transformers' way to write "not set".
        if isinstance(limit, int) and type(positions) is int and positions < limit < 10**15:
            yield note(
                f"{prefix}tokenizer_config.json",
                f"model_max_length {limit} is more than config.json's {positions} positions",
            )


def problems_of_suppression(form: str, generation: Mapping[str, object]) -> Iterator[Problem]:
    """A generation config that forbids the end of text makes every answer run to its limit.

    `begin_suppress_tokens` is left alone: Whisper's holds its end of text, at the first place only.
    """
    eos = generation.get("eos_token_id")
    ends = {e for e in (eos if isinstance(eos, list) else [eos]) if type(e) is int}
    suppressed = generation.get("suppress_tokens")
    banned = set(suppressed) if isinstance(suppressed, list) and _all_ints(suppressed) else set()
    words = generation.get("bad_words_ids")
    for word in words if isinstance(words, list) else []:
        if isinstance(word, list) and len(word) == 1 and _all_ints(word):
            banned.add(word[0])
    if ends and ends <= banned:
        yield Problem(form, f"the end of text ({sorted(ends)}) is suppressed: no answer would end")


def _all_ints(values: list[object]) -> bool:
    return all(type(value) is int for value in values)

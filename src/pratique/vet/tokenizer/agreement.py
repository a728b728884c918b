"""Rules between forms: every form that is present must give the same token ↔ id map."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pratique.formats.tokenizer import AddedToken, ModelKind, Piece, SpecialTokens, Vocabulary
from pratique.vet.tokenizer.problem import Problem, looks_special, note, tok

_SHOWN: Final = 5
# Fillers of fairseq's dictionary that CamemBERT's converter keeps.
_CAMEMBERT: Final = frozenset({"<s>NOTUSED", "</s>NOTUSED"})


def problems_between(one: Vocabulary, other: Vocabulary) -> Iterator[Problem]:
    """Compare two forms of one tokenizer; `one` is the form that the loader prefers."""
    if _is_sentencepiece(other) or _is_sentencepiece(one):
        spm, flat = (one, other) if _is_sentencepiece(one) else (other, one)
        yield from _against_sentencepiece(spm, flat)
        return
    yield from _same_map(one, other)
    if one.merges and other.merges:
        yield from _same_merges(one, other)


def _is_sentencepiece(vocabulary: Vocabulary) -> bool:
    return "unk_id" in vocabulary.settings


def _same_map(one: Vocabulary, other: Vocabulary) -> Iterator[Problem]:
    left, right = one.ids(), other.ids()
    added = {a.content for a in one.added} | {a.content for a in other.added}
    wrong = 0
    for text, number in right.items():
        found = left.get(text)
        if found == number:
            continue
        if found is None and text in added:
            continue
        wrong += 1
        if wrong <= _SHOWN:
            where = "is missing" if found is None else f"is {found}"
            yield Problem(one.form, f"{tok(text, number)} of {other.form} {where} in {one.form}")
    for text, number in left.items():
        if text not in right and text not in added:
            wrong += 1
            if wrong <= _SHOWN:
                yield Problem(
                    one.form, f"{tok(text, number)} of {one.form} is missing in {other.form}"
                )
    if wrong > _SHOWN:
        yield Problem(one.form, f"{wrong} tokens differ between {one.form} and {other.form}")


def _same_merges(one: Vocabulary, other: Vocabulary) -> Iterator[Problem]:
    if tuple(one.merges) == tuple(other.merges):
        return
    for rank, (left, right) in enumerate(zip(one.merges, other.merges, strict=False)):
        if left != right:
            yield Problem(
                one.form,
                f"merge {rank} is {tok(left[0])} + {tok(left[1])} in {one.form}, "
                f"{tok(right[0])} + {tok(right[1])} in {other.form}",
            )
            return
    yield Problem(
        one.form,
        f"{one.form} has {len(one.merges)} merges, {other.form} has {len(other.merges)}",
    )


def _against_sentencepiece(spm: Vocabulary, flat: Vocabulary) -> Iterator[Problem]:
    """Normal pieces must keep their ids, or be shifted all by one number (fairseq's conversions).

    Control pieces may be renamed or renumbered by a converter; they are compared by the checks of
    special tokens.
    """
    table = flat.ids()
    pairs = [(p, table[p.text]) for p in spm.pieces if _kept(p) and p.text in table]
    shifts = Counter(found - piece.id for piece, found in pairs)
    shift = shifts.most_common(1)[0][0] if shifts else 0
    wrong = 0
    for piece in spm.pieces:
        if not _kept(piece):
            continue
        found = table.get(piece.text)
        if found is None:
            wrong += 1
            if wrong <= _SHOWN:
                yield Problem(flat.form, f"{tok(piece.text, piece.id)} of {spm.form} is missing")
            continue
        if found - piece.id != shift:
            wrong += 1
            if wrong <= _SHOWN:
                expected = piece.id + shift
                yield Problem(
                    flat.form, f"{tok(piece.text, found)} should be {expected} after {spm.form}"
                )
    if wrong > _SHOWN:
        yield Problem(flat.form, f"{wrong} pieces differ between {spm.form} and {flat.form}")
    if shift:
        yield note(flat.form, f"ids are those of {spm.form} shifted by {shift}")
    yield from _extra_pieces(spm, flat)
    yield from _same_scores(spm, flat)


def _kept(piece: Piece) -> bool:
    """Whether converters keep this piece under its text (T5's fillers are renumbered)."""
    filler = piece.role == "user" and piece.text.startswith("<extra_id_")
    return piece.role in {"normal", "user", "byte"} and not filler


def _extra_pieces(spm: Vocabulary, flat: Vocabulary) -> Iterator[Problem]:
    known = {piece.text for piece in spm.pieces} | {a.content for a in flat.added}
    if flat.kind is ModelKind.TABLE:
        return
    extra = [
        p
        for p in flat.pieces
        if p.text not in known and not looks_special(p.text) and p.text not in _CAMEMBERT
    ]
    for piece in extra[:_SHOWN]:
        yield Problem(flat.form, f"{tok(piece.text, piece.id)} is not in {spm.form}")
    if len(extra) > _SHOWN:
        yield Problem(flat.form, f"{len(extra)} tokens of {flat.form} are not in {spm.form}")


def _same_scores(spm: Vocabulary, flat: Vocabulary) -> Iterator[Problem]:
    if flat.kind is not ModelKind.UNIGRAM or spm.kind is not ModelKind.UNIGRAM:
        return
    scores = {p.text: p.score for p in spm.pieces if p.role == "normal"}
    wrong = 0
    for piece in flat.pieces:
        expected = scores.get(piece.text)
        if expected is None or piece.score is None:
            continue
        # tokenizer.json writes doubles of the model's 32-bit floats.
        if abs(expected - piece.score) > 1e-4 * max(1.0, abs(expected)):
            wrong += 1
            if wrong <= _SHOWN:
                yield Problem(
                    flat.form,
                    f"the score of {tok(piece.text, piece.id)} is {piece.score:.4f}, "
                    f"{expected:.4f} in {spm.form}",
                )


def problems_in_tables(
    table: Mapping[str, int], tokens: Sequence[AddedToken], form: str, base: str
) -> Iterator[Problem]:
    """Compare a list of tokens with ids (added_tokens.json, added_tokens_decoder) with a map."""
    by_id = {number: text for text, number in table.items()}
    for token in tokens:
        if token.id is None:
            continue
        found = table.get(token.content)
        if found is not None and found != token.id:
            yield Problem(form, f"{tok(token.content, token.id)} is {found} in {base}")
        elif found is None and (other := by_id.get(token.id)) is not None:
            yield Problem(form, f"{tok(token.content, token.id)} is {tok(other)} in {base}")


def problems_of_roles(
    table: Mapping[str, int], settings: Sequence[SpecialTokens], base: Vocabulary
) -> Iterator[Problem]:
    """Each token in a role exists, is flagged special, and all files name the same one for it."""
    first: dict[str, tuple[str, str]] = {}
    flags = {token.content: token.special for token in base.added}
    for special in settings:
        extra = {token.content for token in special.decoder}
        for role, token in special.roles.items():
            text = token.content
            if text not in table and text not in extra:
                yield Problem(special.form, f"{role} {tok(text)} is not a token of {base.form}")
            elif flags.get(text) is False and role != "pad_token":
                yield Problem(
                    base.form, f"{role} {tok(text, table.get(text))} is not flagged special"
                )
            form, agreed = first.setdefault(role, (special.form, text))
            if agreed != text:
                message = f"{role} is {tok(text, table.get(text))} here, {tok(agreed, table.get(agreed))} in {form}"
                if role == "pad_token":
                    yield note(special.form, message)
                else:
                    yield Problem(special.form, message)
        for token in special.decoder:
            if token.content in flags and flags[token.content] != token.special:
                yield Problem(
                    special.form,
                    f"{tok(token.content, token.id)} is special in one of {special.form} and "
                    f"{base.form}, and ordinary in the other",
                )

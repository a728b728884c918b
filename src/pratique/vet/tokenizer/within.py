"""Rules within one form: ids unique, merges possible, special tokens single, bytes covered."""

from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

from pratique.formats.tokenizer import AddedToken, ModelKind, Vocabulary
from pratique.formats.tokenizer.view import BYTE_ALPHABET
from pratique.vet.tokenizer.problem import Problem, is_byte, looks_special, note, tok

_SHOWN: Final = 5
# How few exceptions to an otherwise perfect order count as tampering rather than as no order at all.
_MAX_EXCEPTIONS: Final = 16
_MIN_ORDERED: Final = 64
_MIN_DEAD: Final = 8


def problems_within(vocabulary: Vocabulary) -> Iterator[Problem]:
    """Yield what contradicts itself within one form."""
    yield from _unique(vocabulary)
    yield from _added(vocabulary)
    yield from _steady(vocabulary)
    yield from _dense(vocabulary)
    yield from _unk(vocabulary)
    yield from _bytes_covered(vocabulary)
    if vocabulary.merges:
        yield from _merges(vocabulary)
        yield from _merge_order(vocabulary)
        yield from _merges_reachable(vocabulary)
    yield from _tokens_made(vocabulary)
    yield from _scores(vocabulary)
    yield from _scores_possible(vocabulary)
    yield from _padding(vocabulary)
    yield from _ends_are_control(vocabulary)


def _unique(vocabulary: Vocabulary) -> Iterator[Problem]:
    """One id a token, one token an id (tokenizers keeps the last of each, silently)."""
    by_id: dict[int, str] = {}
    by_text: dict[str, int] = {}
    for piece in vocabulary.pieces:
        other = by_id.setdefault(piece.id, piece.text)
        if other != piece.text:
            yield Problem(
                vocabulary.form,
                f"two tokens share one id: {tok(other)} and {tok(piece.text, piece.id)}",
            )
        number = by_text.setdefault(piece.text, piece.id)
        if number != piece.id:
            yield Problem(
                vocabulary.form,
                f"a token is listed twice: {tok(piece.text)} as {number} and {piece.id}",
            )


def _added(vocabulary: Vocabulary) -> Iterator[Problem]:
    table = {piece.text: piece.id for piece in vocabulary.pieces}
    by_id = {piece.id: piece.text for piece in vocabulary.pieces}
    seen: dict[str, AddedToken] = {}
    taken: dict[int, AddedToken] = {}
    for token in vocabulary.added:
        if not token.content:
            yield Problem(vocabulary.form, f"an added token is empty (id {token.id})")
            continue
        if token.content in seen:
            yield Problem(vocabulary.form, f"added twice: {tok(token.content, token.id)}")
        seen[token.content] = token
        if token.id is None:
            continue
        if (first := taken.setdefault(token.id, token)).content != token.content:
            yield Problem(
                vocabulary.form,
                f"two added tokens share one id: {tok(first.content)} and {tok(token.content, token.id)}",
            )
        inner = table.get(token.content)
        if inner is not None and inner != token.id:
            yield Problem(
                vocabulary.form,
                f"added token {tok(token.content, token.id)} shadows the vocabulary's own id {inner}",
            )
        own = by_id.get(token.id)
        if own is not None and own != token.content:
            yield Problem(
                vocabulary.form,
                f"added token {tok(token.content, token.id)} takes the id of {tok(own)}",
            )


def _steady(vocabulary: Vocabulary) -> Iterator[Problem]:
    """The same text gives the same ids: dropout is for training, and cuts at random."""
    dropout = vocabulary.settings.get("dropout")
    if dropout is not None and dropout != 0:
        yield Problem(vocabulary.form, f"dropout {dropout!s:.20} cuts the same text differently")


def _dense(vocabulary: Vocabulary) -> Iterator[Problem]:
    used = {piece.id for piece in vocabulary.pieces}
    used.update(a.id for a in vocabulary.added if a.id is not None)
    if not used:
        yield Problem(vocabulary.form, "the vocabulary is empty")
        return
    holes = max(used) + 1 - len(used)
    if holes:
        first = next(i for i in range(max(used) + 1) if i not in used)
        yield note(
            vocabulary.form, f"{holes} ids below {max(used)} are unused, the first is {first}"
        )


def _unk(vocabulary: Vocabulary) -> Iterator[Problem]:
    if vocabulary.unk is not None and vocabulary.unk not in vocabulary.ids():
        yield Problem(vocabulary.form, f"the unknown token {tok(vocabulary.unk)} is not a token")


def _bytes_covered(vocabulary: Vocabulary) -> Iterator[Problem]:
    """Byte-level and byte-fallback vocabularies must hold all 256 bytes, or text gets lost."""
    if not vocabulary.pieces:
        return
    table = vocabulary.ids()
    if vocabulary.byte_fallback:
        missing = [f"<0x{b:02X}>" for b in range(256) if f"<0x{b:02X}>" not in table]
        if missing:
            yield Problem(
                vocabulary.form,
                f"byte fallback is on, but {len(missing)} byte tokens are missing, first {tok(missing[0])}",
            )
    elif vocabulary.byte_level and vocabulary.kind in {ModelKind.BPE, ModelKind.RANKS}:
        suffix = vocabulary.end_of_word_suffix
        lost = [c for c in BYTE_ALPHABET if c not in table and c + suffix not in table]
        if lost and vocabulary.unk is None and len(lost) <= _MAX_EXCEPTIONS:
            yield Problem(
                vocabulary.form,
                f"{len(lost)} of 256 byte tokens are missing, first {tok(lost[0])}: text would be lost",
            )
        elif lost:
            yield note(vocabulary.form, f"{len(lost)} of 256 byte tokens are not in the vocabulary")


def _merges(vocabulary: Vocabulary) -> Iterator[Problem]:
    """Each merge joins two tokens that exist into one that exists, once."""
    table = {piece.text: piece.id for piece in vocabulary.pieces}
    seen: set[tuple[str, str]] = set()
    shown = 0
    for rank, pair in enumerate(vocabulary.merges):
        result = joined(vocabulary, pair)
        message = None
        if absent := [part for part in (*pair, result) if part not in table]:
            message = f"merge {rank} ({tok(pair[0])} + {tok(pair[1])}) needs {tok(absent[0])}, which is no token"
        elif pair in seen:
            message = f"merge {rank} ({tok(pair[0])} + {tok(pair[1])}) is listed twice"
        seen.add(pair)
        if message is not None:
            shown += 1
            if shown <= _SHOWN:
                yield Problem(vocabulary.form, message)


def joined(vocabulary: Vocabulary, pair: tuple[str, str]) -> str:
    """Return the token that a merge makes."""
    prefix = vocabulary.continuing_prefix
    second = pair[1].removeprefix(prefix) if prefix else pair[1]
    return pair[0] + second


def _merge_order(vocabulary: Vocabulary) -> Iterator[Problem]:
    """Trained and converted vocabularies number merge results in rank order; a swap breaks it.

    Vocabularies renumbered as a whole (RoBERTa sorts by frequency) have no such order, and are
    left alone: only a few exceptions in an otherwise perfect order are a sign of tampering.
    """
    table = {piece.text: piece.id for piece in vocabulary.pieces}
    first: dict[str, None] = {}
    for pair in vocabulary.merges:
        first.setdefault(joined(vocabulary, pair))
    results = [text for text in first if text in table and not _blank(text)]
    yield from _out_of_order(
        vocabulary.form, [(text, table[text]) for text in results], "merge order", "rank"
    )


def _merges_reachable(vocabulary: Vocabulary) -> Iterator[Problem]:
    """A merge needs parts that earlier merges made. A list that was turned round or shuffled is dead.

    Single exceptions are common (pieces put in by hand), so only a rule broken on the whole speaks.
    """
    made: dict[str, int] = {}
    for rank, pair in enumerate(vocabulary.merges):
        made.setdefault(joined(vocabulary, pair), rank)
    built, late = 0, []
    for rank, pair in enumerate(vocabulary.merges):
        ranks = [made[part] for part in pair if part in made]
        built += bool(ranks)
        if any(other > rank for other in ranks):
            late.append((rank, pair))
    if len(late) > _MIN_DEAD and len(late) * 5 > built:
        rank, pair = late[0]
        yield Problem(
            vocabulary.form,
            f"{len(late)} of {built} merges come before the merges that make their parts, first merge "
            f"{rank} ({tok(pair[0])} + {tok(pair[1])}): the list is out of order",
        )


def _tokens_made(vocabulary: Vocabulary) -> Iterator[Problem]:
    """A BPE vocabulary whose words no merge makes has lost its merges."""
    whole = vocabulary.form.endswith("tokenizer.json")
    if vocabulary.kind is not ModelKind.BPE or vocabulary.ignore_merges or not whole:
        return
    results = {joined(vocabulary, pair) for pair in vocabulary.merges}
    added = {token.content for token in vocabulary.added}
    words = [
        p
        for p in vocabulary.pieces
        if len(p.text.removesuffix(vocabulary.end_of_word_suffix)) > 1
        and p.text not in added
        and not looks_special(p.text)
        and not is_byte(p.text)
        and not _blank(p.text)
    ]
    unmade = [p for p in words if p.text not in results]
    if len(unmade) > _MIN_DEAD and len(unmade) * 2 > len(words):
        yield Problem(
            vocabulary.form,
            f"{len(unmade)} of {len(words)} words are made by no merge, first {tok(unmade[0].text, unmade[0].id)}",
        )


def _scores_possible(vocabulary: Vocabulary) -> Iterator[Problem]:
    """Unigram scores are log-probabilities: a word at or above 0 always wins over its neighbours.

    Publishers give 0 to markers and to punctuation of their own (ALBERT), never to a word.
    """
    if vocabulary.kind is not ModelKind.UNIGRAM:
        return
    for piece in vocabulary.pieces:
        score, text = piece.score, piece.text.strip("▁")
        if score is None or score < 0 or piece.role != "normal":
            continue
        if score > 0 or (len(text) > 1 and text.isalpha()):
            yield Problem(
                vocabulary.form,
                f"{tok(piece.text, piece.id)} has the score {score}, above every real probability",
            )
            return


def _padding(vocabulary: Vocabulary) -> Iterator[Problem]:
    """The padding that is written into tokenizer.json is one token under one id."""
    padding = vocabulary.pipeline.padding
    if not isinstance(padding, dict):
        return
    text, number = padding.get("pad_token"), padding.get("pad_id")
    # The library's own default, whatever the vocabulary is.
    if (text, number) == ("[PAD]", 0):
        return
    if isinstance(text, str) and vocabulary.ids().get(text) != number:
        yield Problem(
            vocabulary.form,
            f"padding writes id {number!s:.20} for {tok(text)}, which has another id or none",
        )


def _ends_are_control(vocabulary: Vocabulary) -> Iterator[Problem]:
    """Normal sentencepiece pieces are matched pieces in a user's text: its own begin and end may not be such."""
    if not any(piece.role == "control" for piece in vocabulary.pieces):
        return
    for piece in vocabulary.pieces:
        if piece.text in {"<s>", "</s>"} and piece.role == "normal":
            yield Problem(
                vocabulary.form,
                f"{tok(piece.text, piece.id)} is an ordinary piece, so text can hold it",
            )


def _scores(vocabulary: Vocabulary) -> Iterator[Problem]:
    """Sentencepiece writes normal pieces by falling score; a swapped pair breaks it."""
    if vocabulary.kind not in {ModelKind.UNIGRAM, ModelKind.BPE}:
        return
    pieces = [
        p
        for p in vocabulary.pieces
        if p.score is not None and p.role == "normal" and not _blank(p.text)
    ]
    if vocabulary.kind is ModelKind.UNIGRAM:
        pieces = [p for p in pieces if p.score != 0.0]
    falling = sorted(pieces, key=lambda p: -(p.score or 0.0))
    scores = {p.score for p in pieces}
    if len(scores) * 10 < len(pieces) * 9:
        return  # too many ties to speak of an order
    yield from _out_of_order(
        vocabulary.form, [(p.text, p.id) for p in falling], "score order", "score"
    )


def _blank(text: str) -> bool:
    """Runs of white space are put in by hand, out of order, in real vocabularies (Llama, Mistral)."""
    return not text.strip("▁ĠĊĉč \t\n\r")


def _out_of_order(form: str, rows: list[tuple[str, int]], what: str, by: str) -> Iterator[Problem]:
    if len(rows) < _MIN_ORDERED:
        return
    odd = _exceptions([number for _, number in rows])
    if odd and len(odd) <= _MAX_EXCEPTIONS:
        names = ", ".join(tok(*rows[i]) for i in odd[:_SHOWN])
        yield Problem(
            form,
            f"ids follow the {what} everywhere but at {names}: the id was moved, or its {by} was",
        )


def _exceptions(numbers: list[int]) -> list[int]:
    """Positions outside a longest rising subsequence (patience sorting, O(n log n))."""
    tails: list[int] = []
    tail_at: list[int] = []
    previous: list[int] = [-1] * len(numbers)
    for at, number in enumerate(numbers):
        place = bisect_right(tails, number)
        if place > 0:
            previous[at] = tail_at[place - 1]
        if place == len(tails):
            tails.append(number)
            tail_at.append(at)
        else:
            tails[place] = number
            tail_at[place] = at
    keep: set[int] = set()
    at = tail_at[-1] if tail_at else -1
    while at >= 0:
        keep.add(at)
        at = previous[at]
    return [i for i in range(len(numbers)) if i not in keep]

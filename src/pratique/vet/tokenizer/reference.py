"""Against a reference: which ids moved, were added, were renamed since an admitted base model.

A fine-tune that only adds tokens passes. A permutation, a renamed or a lost token does not: the
base model's weights give those ids their meaning.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pratique.core.ids import shown
from pratique.formats.tokenizer import Vocabulary
from pratique.vet.tokenizer.problem import Problem, note, tok

_SHOWN: Final = 5
_REMEDY: Final = "ask the publisher why; an id's meaning is in the base model's weights"


def problems_against(
    form: str, table: Mapping[str, int], reference: Mapping[str, int]
) -> Iterator[Problem]:
    """Compare token → id maps. Ids that moved or were renamed are refused, added tokens noted."""
    by_id = {number: text for text, number in table.items()}
    moved = [(t, i) for t, i in reference.items() if t in table and table[t] != i]
    lost = [(t, i) for t, i in reference.items() if t not in table]
    for text, number in sorted(moved, key=lambda row: row[1])[:_SHOWN]:
        yield Problem(form, f"{tok(text)} was id {number}, is {table[text]}", remedy=_REMEDY)
    for text, number in sorted(lost, key=lambda row: row[1])[:_SHOWN]:
        now = by_id.get(number)
        became = "is gone" if now is None else f"is now {tok(now)}"
        yield Problem(form, f"{tok(text, number)} {became}", remedy=_REMEDY)
    if len(moved) + len(lost) > _SHOWN:
        yield Problem(
            form, f"{len(moved)} tokens moved and {len(lost)} are gone or renamed", remedy=_REMEDY
        )
    added = sorted((i, t) for t, i in table.items() if t not in reference)
    if added and not lost:
        names = ", ".join(tok(t, i) for i, t in added[:_SHOWN])
        yield note(form, f"{len(added)} tokens were added to the reference: {names}")


def problems_of_behaviour(vocabulary: Vocabulary, reference: Vocabulary) -> Iterator[Problem]:
    """Compare how text is cut: merges in order (further ones may follow), and the pipeline."""
    ours, theirs = vocabulary.merges, reference.merges
    for rank, pair in enumerate(theirs):
        if rank >= len(ours) or ours[rank] != pair:
            found = "gone" if rank >= len(ours) else " + ".join(map(shown, ours[rank]))
            yield Problem(
                vocabulary.form,
                f"merge {rank} was {' + '.join(map(shown, pair))}, is {found}",
                remedy=_REMEDY,
            )
            break
    for name in ("normalizer", "pre_tokenizer", "decoder"):
        if getattr(vocabulary.pipeline, name) != getattr(reference.pipeline, name):
            yield Problem(
                vocabulary.form, f"the {name} differs from the reference's", remedy=_REMEDY
            )


def problems_of_templates(
    form: str, templates: Sequence[str], reference: Sequence[str]
) -> Iterator[Problem]:
    """Say when the chat template is not the reference's: fine-tunes change it, reviewers want to know."""
    if set(templates) != set(reference):
        yield note(
            form, "the chat template differs from the reference's", "review it by its digest"
        )

"""From findings that overlap to spans that do not.

The rule: nothing that any detector found is left uncovered. Findings that overlap become one
span over all of them; the type of the strongest names it.
"""

from collections.abc import Iterable

from pratique.redact.types import EntityType, Span

# The strongest first: what gives access, then what identifies, then what merely locates.
_ORDER = (
    EntityType.URL_CREDENTIAL,
    EntityType.COOKIE,
    EntityType.SECRET,
    EntityType.CRYPTO,
    EntityType.IBAN,
    EntityType.CARD,
    EntityType.EMAIL,
    EntityType.PASSPORT,
    EntityType.NATIONAL_ID,
    EntityType.MEDICAL_ID,
    EntityType.DATE_OF_BIRTH,
    EntityType.MAC,
    EntityType.IP,
    EntityType.PHONE,
    EntityType.ADDRESS,
    EntityType.PERSON,
)
_RANK = {kind: rank for rank, kind in enumerate(_ORDER)}


def resolve(found: Iterable[Span]) -> tuple[Span, ...]:
    """Return sorted, disjoint spans that cover everything in ``found``."""
    out: list[Span] = []
    for span in sorted(found):
        if span.end <= span.start:
            continue
        if out and span.start < out[-1].end:
            last = out[-1]
            out[-1] = Span(last.start, max(last.end, span.end), _stronger(last, span))
        else:
            out.append(span)
    return tuple(out)


def _stronger(one: Span, other: Span) -> EntityType:
    return one.type if _RANK[one.type] <= _RANK[other.type] else other.type

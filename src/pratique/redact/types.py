"""What redaction finds and gives back: entity types, spans and redacted text.

The rule: a span says *where* and *what kind*, never *what*; no type here carries the value
that was found.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple, Protocol

from pratique.redact.view import View


class EntityType(StrEnum):
    """The sixteen kinds of personal or secret data that redaction names."""

    EMAIL = "EMAIL"
    PHONE = "PHONE"
    CARD = "CARD"
    IBAN = "IBAN"
    IP = "IP"
    MAC = "MAC"
    PERSON = "PERSON"
    ADDRESS = "ADDRESS"
    DATE_OF_BIRTH = "DATE_OF_BIRTH"
    PASSPORT = "PASSPORT"
    NATIONAL_ID = "NATIONAL_ID"
    SECRET = "SECRET"  # noqa: S105  the name of a kind, not a secret
    URL_CREDENTIAL = "URL_CREDENTIAL"
    COOKIE = "COOKIE"
    CRYPTO = "CRYPTO"
    MEDICAL_ID = "MEDICAL_ID"


class Span(NamedTuple):
    """A half-open range of Unicode code points, and what was found there."""

    start: int
    end: int
    type: EntityType

    @classmethod
    def of(cls, bounds: tuple[int, int], kind: EntityType) -> "Span":
        """Return the span over ``bounds``."""
        return cls(bounds[0], bounds[1], kind)


@dataclass(frozen=True, slots=True)
class Redacted:
    """The outcome of redacting one text.

    Attributes:
        text: the text with every span replaced by its token.
        spans: half-open code-point ranges of the *input*, sorted, disjoint.
        counts: how many spans of each type; types that were not found are absent.
        withheld: empty, or why the whole text was replaced instead of being read: "too long",
            "time-out" or "error". Then one span of type SECRET covers the whole input.
    """

    text: str
    spans: tuple[Span, ...]
    counts: Mapping[EntityType, int] = field(default_factory=lambda: MappingProxyType({}))
    withheld: str = ""


class Detector(Protocol):
    """One way of finding entities; one file each under ``redact/detectors``.

    A detector reads one decoded view and returns spans in the view's own offsets. It keeps
    no state, never raises on any text and does work linear in the view's length.
    """

    name: str

    def find(self, view: View) -> list[Span]:
        """Return what was found, in any order; spans may overlap."""
        ...

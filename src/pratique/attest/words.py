"""Digests as short words that can be read aloud over a telephone.

Proquints (D. S. Wilkerson, "A Proposal for Proquints", arXiv 0901.4016): sixteen bits become one
five-letter word that can be pronounced in many languages. Eight words are 128 bits, enough that
nobody finds a second root with the same words.
"""

from typing import Final

from pratique.core.ids import parse_digest
from pratique.errors import UsageError

WORDS: Final = 8
_CONSONANTS: Final = "bdfghjklmnprstvz"
_VOWELS: Final = "aiou"


def spell(digest: str, words: int = WORDS) -> str:
    """Return the first `words` * 16 bits of a hex digest as words joined by spaces."""
    raw = bytes.fromhex(parse_digest(digest))
    return " ".join(_word(int.from_bytes(raw[2 * i : 2 * i + 2])) for i in range(words))


def matches(digest: str, given: str) -> bool:
    """Say whether `given` (64 hex digits, or all eight words) names `digest`.

    Case, hyphens and repeated blanks in words do not matter. Raises UsageError for anything shorter:
    a fingerprint that was cut proves little.
    """
    text = " ".join(given.replace("-", " ").split()).lower()
    if len(text.replace(" ", "")) == 64:
        return text.replace(" ", "") == digest
    if len(text.split()) != WORDS or any(len(word) != 5 for word in text.split()):
        raise UsageError(
            "a fingerprint is 64 hex digits or eight five-letter words",
            hint="read it as `pratique trust status DIR` shows it at the source",
        )
    return text == spell(digest)


def _word(bits: int) -> str:
    return (
        _CONSONANTS[bits >> 12 & 15]
        + _VOWELS[bits >> 10 & 3]
        + _CONSONANTS[bits >> 6 & 15]
        + _VOWELS[bits >> 4 & 3]
        + _CONSONANTS[bits & 15]
    )

"""People's names known from a list.

The rule: a capitalised given name followed by a capitalised word that is no everyday word is
a name; so is a family name followed by a given one. A given name alone never is.
"""

from functools import cache
from importlib.resources import files
from typing import NamedTuple

from pratique.redact.eponyms import is_eponym, is_maker
from pratique.redact.names import ALSO_NAMES, NAME, NOT_NAMES, trimmed, words_of
from pratique.redact.types import EntityType, Span
from pratique.redact.view import View


class _Lists(NamedTuple):
    given: frozenset[bytes]
    family: frozenset[bytes]
    common: frozenset[bytes]

    def is_given(self, word: bytes) -> bool:
        """Say whether a word is a given name, or one joined by dashes."""
        return word in self.given or (b"-" in word and word.split(b"-")[0] in self.given)

    def is_family(self, word: bytes, *, after: bytes) -> bool:
        """Say whether a word can be the family name of the given name ``after``."""
        if word in self.family:
            return not (after in self.common and word in self.common)
        if after in self.common or len(after) < _SURE_GIVEN or is_maker(after):
            return False
        return len(word) > 1 and word not in self.common


_SURE_GIVEN = 3


class GazetteerDetector:
    """Finds names from the list."""

    name = "gazetteer"

    def find(self, view: View) -> list[Span]:
        """Return name spans; see `Detector.find`."""
        lists = _lists()
        found = []
        for match in NAME.matches(view):
            span = trimmed(view, *match.span())
            if span is None:
                continue
            words = words_of(view, *span)
            if (
                len(words) >= 2
                and (best := _known(view, words, lists))
                and not is_eponym(view.lowered[best[0] : best[1]])
            ):
                found.append(Span.of(best, EntityType.PERSON))
        return found


def _known(view: View, words: list[tuple[int, int]], lists: _Lists) -> tuple[int, int] | None:
    if _touched(view, words[0][0], words[-1][1]):
        return None
    texts = [view.lowered[a:b].rstrip(b".") for a, b in words]
    for index in range(len(texts) - 1):
        if not lists.is_given(texts[index]):
            continue
        last = len(texts) - 1
        while last > index and not (
            lists.is_family(texts[last], after=texts[index])
            and (texts[last] in lists.family or not _is_acronym(view, words[index], words[last]))
        ):
            last -= 1
        if last > index:
            return words[index][0], words[last][1]
    initial = len(texts[0]) == 1 and view.skeleton[words[0][1] - 1 : words[0][1]] == b"."
    if initial and texts[-1] in lists.family and texts[-1] not in lists.common:
        return words[0][0], words[-1][1]
    # Family name first: "Nagy Katalin", "NGUYEN Van An".
    if texts[0] in lists.family and lists.is_given(texts[-1]) and texts[0] not in lists.common:
        return words[0][0], words[-1][1]
    return None


def _is_acronym(view: View, given: tuple[int, int], word: tuple[int, int]) -> bool:
    """Dell BIOS: capitals behind a word that is not in capitals."""
    return (
        view.skeleton[word[0] : word[1]].isupper()
        and not view.skeleton[given[0] : given[1]].isupper()
    )


def _touched(view: View, start: int, end: int) -> bool:
    """Part of an identifier, a path or a host name."""
    before, after = view.skeleton[start - 1 : start] if start else b"", view.skeleton[end : end + 1]
    return (
        (before != b"" and before in b"_-/\\@#$.")
        or after in {b"_", b"(", b"/", b"@", b"\\", b"="}
        or after.isdigit()
    )


@cache
def _lists() -> _Lists:
    """Read the lists that travel with the package: skeletons in lower case, one a line."""
    folder = files("pratique.redact") / "data"
    given, family, common = (
        frozenset((folder / f"{name}.txt").read_bytes().split(b"\n")) - {b""}
        for name in ("given", "family", "common")
    )
    return _Lists(given - NOT_NAMES, family - (NOT_NAMES - ALSO_NAMES), common)

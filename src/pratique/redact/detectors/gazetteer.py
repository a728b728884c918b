"""People's names known from a list.

The rule: a run of capitalised words is a name when its first word is a given name and another
is a family name on the list; a given name alone only when a verb shows that it is somebody.
"""

from functools import cache
from importlib.resources import files

from pratique.redact.names import NAME, NOT_NAMES, trimmed, words_of
from pratique.redact.pattern import Keywords
from pratique.redact.types import EntityType, Span
from pratique.redact.view import View

_SOMEBODY = Keywords(
    "met", "met with", "spoke to", "spoke with", "talk to", "talked to", "tell", "told", "ask", "asked", "emailed", "call", "called", "texted", "invited", "with", "thanked", "thank you", "thanks", "by", "for", "and", "from", "to", "about", "my friend", "my colleague", "my boss", "my wife", "my husband", "my brother", "my sister", "my son", "my daughter", "contact", "is", "i'm", "i am", "this is", "name",
)  # fmt: skip
_DOES = Keywords("said", "says", "asked", "told", "wrote", "called", "emailed", "lives", "works", "worked", "was born", "born", "has", "is", "was", "will", "went", "sagte", "wohnt", "arbeitet", "vit", "habite", "vive", "trabaja", "abita", "lavora", "mora", "'s")


class GazetteerDetector:
    """Finds names from the list."""

    name = "gazetteer"

    def find(self, view: View) -> list[Span]:
        """Return name spans; see `Detector.find`."""
        given, family = _lists()
        found = []
        for match in NAME.matches(view):
            span = trimmed(view, *match.span())
            if span is None:
                continue
            words = words_of(view, *span)
            if len(words) >= 2 and (best := _known(view, words, given, family)):
                found.append(Span(*best, EntityType.PERSON))
        return found


def _known(view: View, words: list[tuple[int, int]], given: frozenset[bytes], family: frozenset[bytes]) -> tuple[int, int] | None:
    if _touched(view, words[0][0], words[-1][1]):
        return None
    texts = [view.lowered[a:b].rstrip(b".") for a, b in words]
    for index, text in enumerate(texts[:-1]):
        if not any(part in given for part in (text, *text.split(b"-"))) and not (len(text) == 1 and index == 0):
            continue
        for last in range(len(texts) - 1, index, -1):
            parts = (texts[last], *texts[last].split(b"-"))
            if any(part in family for part in parts) and len(texts[last]) > 1:
                if len(text) == 1 and last == index + 1 and texts[last] in given:
                    continue
                return words[index][0], words[last][1]
        following = texts[index + 1]
        if len(following) == 1 and index + 2 < len(texts):
            return words[index][0], words[index + 2][1]
    # Family name first: "Nagy Katalin", "NGUYEN Van An".
    if len(texts) in {2, 3} and texts[0] in family and texts[-1] in given and texts[0] not in NOT_NAMES:
        return words[0][0], words[-1][1]
    return None


def _touched(view: View, start: int, end: int) -> bool:
    """Part of an identifier, a path or a host name."""
    before, after = view.skeleton[start - 1 : start] if start else b"", view.skeleton[end : end + 1]
    return (before != b"" and before in b"_-/\\@#$.") or after in {b"_", b"(", b"/", b"@", b"\\", b"="} or after.isdigit()


@cache
def _lists() -> tuple[frozenset[bytes], frozenset[bytes]]:
    """Read the lists that travel with the package: skeletons in lower case, one a line."""
    folder = files("pratique.redact") / "data"
    given = (folder / "given.txt").read_bytes().split(b"\n")
    family = (folder / "family.txt").read_bytes().split(b"\n")
    return frozenset(given) - {b""} - NOT_NAMES, frozenset(family) - {b""} - NOT_NAMES

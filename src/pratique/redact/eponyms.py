"""Things that bear the name of a person: firms, goods, prizes, methods, places.

The rule: a list of names alone cannot tell Calvin Klein the label from a neighbour. Such names
are left to the detectors that read the words around, so "Dear Calvin Klein" is still redacted.
"""

from functools import cache
from importlib.resources import files

_LONGEST = 3


def is_eponym(name: bytes) -> bool:
    """Say whether a name, a skeleton in lower case, is or begins with one on the list."""
    words = name.replace(b"-", b" ").replace(b".", b" ").split()
    known = _known()
    return any(tuple(words[:size]) in known for size in range(2, _LONGEST + 1))


def is_maker(word: bytes) -> bool:
    """Say whether a given name is rather known as what begins the names of goods and places."""
    return (word,) in _known()


@cache
def _known() -> frozenset[tuple[bytes, ...]]:
    lines = (files("pratique.redact") / "data" / "eponyms.txt").read_bytes().split(b"\n")
    return frozenset(tuple(line.split()) for line in lines if line)

#!/usr/bin/env python3
"""Make the lists of names that redaction reads, from Faker's person providers (MIT).

Needs `pip install faker` (40.54.0 made the committed lists); writes two files of names as
skeletons in lower case, one a line, sorted: the same version gives the same bytes.

    python scripts/make_names.py src/pratique/redact/data
"""

import importlib
import pkgutil
import sys
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import faker.providers.person as person

from pratique.redact.skeleton import skeleton

# Given names in the lists that are everyday words, or places, far more often than names.
NOT_GIVEN = {
    b"an", b"art", b"can", b"cloud", b"data", b"de", b"east", b"may", b"new", b"rich", b"san", b"so", b"sue", b"the", b"token", b"van", b"von", b"will",
}  # fmt: skip
NOT_FAMILY = {b"de", b"di", b"da", b"del", b"la", b"le", b"van", b"von", b"of", b"and", b"the", b"an", b"so", b"to", b"do"}
CLASS_BYTES = b"\x82\x84\x85\x01()[]0123456789"


def collect() -> tuple[set[bytes], set[bytes]]:
    """Return given and family names of all locales as skeletons."""
    given: set[bytes] = set()
    family: set[bytes] = set()
    for module in pkgutil.iter_modules(person.__path__):
        provider = importlib.import_module(f"faker.providers.person.{module.name}").Provider
        for name in dir(provider):
            value = getattr(provider, name)
            if not isinstance(value, (tuple, list, dict, set)):
                continue
            if name.startswith(("first_names", "first_romanized")):
                given |= skeletons(value)
            elif name.startswith(("last_names", "last_romanized")):
                family |= skeletons(value)
    return given - NOT_GIVEN, family - NOT_FAMILY


def skeletons(names: Iterable[object]) -> set[bytes]:
    """Return the words of the names that a skeleton can tell apart."""
    found = set()
    for name in names:
        if not isinstance(name, str):
            continue
        for word in unicodedata.normalize("NFC", name).split():
            folded = skeleton(word.lower()).rstrip(b".")
            if len(folded) > 1 and not any(byte in folded for byte in CLASS_BYTES):
                found.add(folded)
    return found


def main() -> None:
    """Write ``given.txt`` and ``family.txt`` into the folder named on the command line."""
    folder = Path(sys.argv[1])
    for file, names in zip(("given.txt", "family.txt"), collect(), strict=True):
        (folder / file).write_bytes(b"\n".join(sorted(names)) + b"\n")
        print(file, len(names))


if __name__ == "__main__":
    main()

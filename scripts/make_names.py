#!/usr/bin/env python3
"""Make the lists of names that redaction reads.

Given and family names, countries and states come from Faker's providers (MIT; 40.54.0 made the
committed lists, `pip install faker`); common words from the docstrings of Python's standard
library (PSF licence; 3.11). Writes words as skeletons in lower case, one a line, sorted: the
same versions give the same bytes.

    python scripts/make_names.py src/pratique/redact/data
"""

import ast
import importlib
import pkgutil
import re
import sys
import sysconfig
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from faker.providers import address, person

from pratique.redact.skeleton import skeleton

# Given names in the lists that are everyday words, or places, far more often than names.
NOT_GIVEN = {
    b"an", b"art", b"can", b"monte", b"cloud", b"data", b"de", b"east", b"may", b"new", b"rich", b"san", b"so", b"sue", b"the", b"token", b"van", b"von", b"will",
}  # fmt: skip
NOT_FAMILY = {
    b"monte",
    b"de",
    b"di",
    b"da",
    b"del",
    b"la",
    b"le",
    b"van",
    b"von",
    b"of",
    b"and",
    b"the",
    b"an",
    b"so",
    b"to",
    b"do",
}
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


PLACES = ("countries", "states", "provinces", "regions")
PLACE_LOCALES = (
    "en_US",
    "en_GB",
    "en",
    "de_DE",
    "fr_FR",
    "es_ES",
    "es",
    "it_IT",
    "pt_BR",
    "nl_NL",
    "en_CA",
    "en_AU",
    "en_IN",
)
_PLAIN_WORD = re.compile(r"(?<![\w.'`*-])[a-z]{2,}(?![\w'`*(-])")
_LEAST = 2


def places() -> set[bytes]:
    """Return the words of the names of countries and their parts."""
    found: set[bytes] = set()
    for locale in PLACE_LOCALES:
        try:
            provider = importlib.import_module(f"{address.__name__}.{locale}").Provider
        except ModuleNotFoundError:
            continue
        for name in PLACES:
            found |= skeletons(getattr(provider, name, ()))
    return found


def common() -> set[bytes]:
    """Return words that Python's own documentation writes in lower case at least twice."""
    counts: Counter[str] = Counter()
    root = Path(sysconfig.get_paths()["stdlib"])
    for file in sorted([*root.glob("*.py"), *root.glob("[!s]*/*.py")]):
        if not {"test", "tests", "lib2to3", "site-packages"} & set(file.parts):
            counts.update(_PLAIN_WORD.findall(" ".join(docstrings(file))))
    return {word.encode() for word, count in counts.items() if count >= _LEAST}


def docstrings(file: Path) -> list[str]:
    """Return the docstrings of a module, its classes and functions."""
    try:
        tree = ast.parse(file.read_text("utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return []
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, kinds)]


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
    """Write ``given.txt``, ``family.txt`` and ``common.txt`` into the folder named."""
    folder = Path(sys.argv[1])
    given, family = collect()
    lists = {"given.txt": given, "family.txt": family, "common.txt": common() | (places() - family)}
    for file, names in lists.items():
        (folder / file).write_bytes(b"\n".join(sorted(names)) + b"\n")
        print(file, len(names))


if __name__ == "__main__":
    main()

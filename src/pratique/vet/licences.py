"""From what a repository says of its licence to one id and category. Nothing is guessed.

Ids and categories are ScanCode's, by `license-expression`. The Hub's own tags are not SPDX: `gpl-3.0`
there means GPL-3.0-only, and `llama3`, `gemma` or `openrail` name custom terms.
"""

import functools
import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

CUSTOM: Final = "Custom terms"
UNKNOWN: Final = "Unknown"

# Hub tags that are not SPDX or ScanCode ids -> (what to call them, category or ScanCode key)
_HUB: Final = MappingProxyType(
    {
        "openrail": CUSTOM, "openrail++": CUSTOM, "bigscience-openrail-m": CUSTOM,
        "creativeml-openrail-m": CUSTOM, "bigscience-bloom-rail-1.0": CUSTOM,
        "bigcode-openrail-m": CUSTOM, "llama2": CUSTOM, "llama3": CUSTOM, "llama3.1": CUSTOM,
        "llama3.2": CUSTOM, "llama3.3": CUSTOM, "llama4": CUSTOM, "gemma": CUSTOM, "deepseek": CUSTOM,
        "fair-noncommercial-research-license": CUSTOM, "apple-amlr": CUSTOM, "apple-ascl": CUSTOM,
        "intel-research": CUSTOM, "h-research": CUSTOM, "grok2-community": CUSTOM, "other": CUSTOM,
        "cc": UNKNOWN, "unknown": UNKNOWN, "none": UNKNOWN, "": UNKNOWN, "tbd": UNKNOWN,
    }
)  # fmt: skip
_SAME: Final = MappingProxyType(
    {
        "gpl": "gpl-3.0", "lgpl": "lgpl-3.0", "agpl": "agpl-3.0", "bsd": "bsd-new",
        "bsd-3-clause": "bsd-new", "bsd-2-clause": "bsd-simplified", "pddl": "pddl-1.0",
        "apache2": "apache-2.0", "apache 2.0": "apache-2.0", "apache license 2.0": "apache-2.0",
        "apache-2": "apache-2.0", "apache": "apache-2.0", "mit license": "mit", "cc0": "cc0-1.0",
        "ecl-2.0": "ecl-2.0", "artistic-2.0": "artistic-perl-1.0", "odbl": "odbl-1.0", "wtfpl": "wtfpl-2.0",
        "bsl-1.0": "boost-1.0", "odc-by": "odc-by-1.0", "gfdl": "gfdl-1.3", "cdla-permissive-2.0": "cdla-permissive-2.0", "isc": "isc",
        "postgresql": "postgresql", "ncsa": "uoi-ncsa", "zlib": "zlib", "mulan-psl": "mulanpsl-2.0",
    }
)  # fmt: skip
# Phrases that only the licence itself has, most specific first -> family.
_TEXTS: Final[tuple[tuple[str, str], ...]] = tuple(
    (pattern, key)
    for key, pattern in {
        "cc-by-nc-4.0": r"attribution-?\s?non-?commercial|cc[- ]by[- ]nc",
        "cc-by-nd-4.0": r"attribution-?\s?noderivatives|cc[- ]by[- ]nd",
        "cc-by-sa-4.0": r"attribution-?\s?sharealike|cc[- ]by[- ]sa",
        "cc-by-4.0": r"creative commons attribution 4\.0|attribution 4\.0 international|cc[- ]by[- ]4",
        "cc0-1.0": r"cc0 1\.0|creative commons zero|creativecommons\.org/publicdomain/zero",
        "llama": r"llama (?:\d(?:\.\d)? )?community license|llama materials",
        "gemma": r"gemma terms of use",
        "openrail": r"open ?rail|responsible ai license",
        "agpl-3.0": r"gnu affero general public license",
        "lgpl-3.0": r"gnu (?:lesser|library) general public license",
        "gpl-3.0": r"gnu general public license",
        "mpl-2.0": r"mozilla public license",
        "apache-2.0": r"apache license,? (?:version )?2\.0|apache license\s+version 2\.0|apache-2\.0",
        "unlicense": r"free and unencumbered software released into the public domain|unlicense\.org",
        "bsd-new": r"redistribution and use in source and binary forms",
        "isc": r"permission to use, copy, modify, and(?:/or)? distribute this software for any purpose",
        "mit": r"permission is hereby granted, free of charge, to any person obtaining a copy|\bmit license\b",
    }.items()
)
_RESTRICTIVE: Final = re.compile(
    r"non-?commercial|not (?:be used )?for (?:any )?commercial|research (?:use|purposes?) only|all rights reserved\.? "
    r"(?:no|you may not)|proprietary and confidential|you may not use|may not be used (?:for|to)|monthly active users|"
    r"evaluation purposes only|no license is granted|academic (?:use|purposes) only|prohibited uses?"
)
_NON_COMMERCIAL: Final = re.compile(
    r"non-?commercial (?:use|purposes?)|not for commercial|no commercial use|commercial use is (?:not|prohibited)|"
    r"research (?:use|purposes?) only|academic (?:use|purposes?) only"
)
PERMISSIVE_TEXTS: Final = frozenset({"apache-2.0", "mit", "bsd-new", "isc", "cc0-1.0", "unlicense"})
CUSTOM_TEXTS: Final = frozenset({"llama", "gemma", "openrail"})


@dataclass(frozen=True, slots=True)
class Licence:
    """One declared licence: the words used, ScanCode's key (or the words), its category."""

    said: str
    key: str
    category: str
    spdx: str | None = None


@functools.cache
def _index() -> "MappingProxyType[str, tuple[str, str, str | None]]":
    """Every id in lower case -> (ScanCode key, category, SPDX id)."""
    import license_expression  # noqa: PLC0415  # only a licence that is declared pays for the index

    found: dict[str, tuple[str, str, str | None]] = {}
    for item in license_expression.get_license_index():
        spdx = item.get("spdx_license_key")
        row = (item["license_key"], item.get("category") or UNKNOWN, spdx)
        for name in (item["license_key"], spdx, *item.get("other_spdx_license_keys", ())):
            if name:
                found.setdefault(str(name).lower(), row)
    return MappingProxyType(found)


def declared(said: str) -> Licence:
    """Return what the words `said` (a Hub tag, an SPDX id or expression) declare."""
    name = said.strip().lower()
    if name in _HUB:
        return Licence(said, name, _HUB[name])
    row = _index().get(_SAME.get(name, name))
    if row is None:
        return Licence(said, name, UNKNOWN)
    return Licence(said, row[0], row[1], row[2])


def parts(said: str) -> tuple[Licence, ...]:
    """Return the licences of a tag or of an SPDX expression (`MIT OR Apache-2.0`), each on its own."""
    words = re.split(r"\s+(?:or|and)\s+|\s*[,/|]\s*", said.strip().strip("()"), flags=re.IGNORECASE)
    return tuple(declared(word) for word in words) if words else (declared(""),)


def of_text(text: str) -> str | None:
    """Return the family of a licence text, or None if none is recognised."""
    plain = re.sub(r"\s+", " ", text.lower())
    for pattern, key in _TEXTS:
        if re.search(pattern, plain[:200_000]):
            return key
    return None


def restricts(text: str) -> str | None:
    """Return the words of `text` that limit who may use it and what for, or None."""
    match = _RESTRICTIVE.search(re.sub(r"\s+", " ", text.lower()))
    return match.group() if match else None


def non_commercial(text: str) -> str | None:
    """Return the words of a permissive text that take the permission back, or None."""
    match = _NON_COMMERCIAL.search(re.sub(r"\s+", " ", text.lower()))
    return match.group() if match else None


def agree(key: str, family: str) -> bool:
    """Whether a declared ScanCode key and the family of a text are one licence, versions aside."""
    if family in CUSTOM_TEXTS:
        return family in key or "rail" in key
    stem = re.sub(r"[-.\d]+(?:-plus|-only|-or-later)?\Z", "", key)
    other = re.sub(r"[-.\d]+\Z", "", family)
    same = {"bsd-simplified": "bsd", "bsd-new": "bsd", "bsd-zero": "bsd", "cc-by-nc-sa": "cc-by-nc",
            "cc-by-nc-nd": "cc-by-nc", "mit-0": "mit"}  # fmt: skip
    return same.get(stem, stem) == same.get(other, other)

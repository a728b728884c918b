"""Reads the marked-up corpora under tests/unit/redact/corpus."""

import re
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "unit" / "redact" / "corpus"
_MARK = re.compile(r"\[\[([A-Z_]+)\|(.*?)\]\](?!\])", re.DOTALL)


def lines(name):
    """Return the texts of a corpus file, ``\\n`` made a newline, comments left out."""
    rows = (FOLDER / f"{name}.txt").read_text("utf-8").split("\n")
    return [row.replace("\\n", "\n") for row in rows if row and not row.startswith("# ")]


def marked(name):
    """Return ``(text, [(start, end, type)])`` for each line of a marked-up corpus."""
    out = []
    for row in lines(name):
        text, spans, at = "", [], 0
        for match in _MARK.finditer(row):
            text += row[at : match.start()]
            spans.append((len(text), len(text) + len(match[2]), match[1]))
            text += match[2]
            at = match.end()
        out.append((text + row[at:], spans))
    return out


def uncovered(spans, found):
    """Return the marked spans that ``found`` does not wholly cover."""
    covered = [set(range(s.start, s.end)) for s in found]
    union = set().union(*covered) if covered else set()
    return [s for s in spans if not set(range(s[0], s[1])) <= union]


def values(detector, text):
    """Return what one detector finds in a text, decoded like the engine decodes it."""
    from pratique.redact import Redactor

    return [text[s.start : s.end] for s in Redactor(detectors=[detector]).spans(text)]

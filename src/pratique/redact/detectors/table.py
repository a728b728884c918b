"""Columns of delimited text, whose heading says what stands below it.

The rule: under a heading that names personal data, every cell of a row with as many cells as the
heading is that data, if it has the form. A heading is a line with at least two cells, none of
them a sentence, and at least one of them known.
"""

import itertools
from collections.abc import Iterator

from pratique.redact.names import NAME
from pratique.redact.pattern import Pattern
from pratique.redact.types import EntityType, Span
from pratique.redact.view import View

_DELIMITERS = (b",", b"\t", b";", b"|")
_HEADINGS = {
    EntityType.DATE_OF_BIRTH: b"dob birthdate dateofbirth birthday birth born geburtsdatum datedenaissance fechadenacimiento datadinascita datadenascimento",
    EntityType.NATIONAL_ID: b"ssn socialsecuritynumber nationalid taxid nationalinsurance nino dni nif nie cpf bsn pesel personnummer cpr codicefiscale aadhaar curp",
    EntityType.PASSPORT: b"passport passportno passportnumber passportnum reisepass passeport pasaporte passaporto",
    EntityType.MEDICAL_ID: b"mrn medicalrecordnumber patientid patientno patientnumber nhs nhsnumber memberid insuranceid",
    EntityType.PHONE: b"phone phonenumber telephone tel mobile cell telefon telefono handy portable celular",
    EntityType.SECRET: b"password passwd pwd secret apikey token accesstoken passwort contrasena motdepasse",
    EntityType.PERSON: b"firstname lastname surname fullname givenname familyname patientname customername employeename vorname nachname prenom apellido apellidos cognome",
}
_KINDS = {word: kind for kind, words in _HEADINGS.items() for word in words.split()}
_DATE = Pattern(
    r"\d{1,4}[\-/. ]\s?\d{1,2}[\-/. ]\s?\d{2,4}|\d{1,2}[\-. ][A-Za-z]{3,9}\.?[\-., ]{1,2}\d{2,4}"
)
_NUMBER = Pattern(r"[A-Za-z]{0,5}[\-+( ]{0,2}\d[A-Za-z0-9 .()/\-]{3,26}")
_WORD = Pattern(r"[^\s]{4,200}")
_FORMS = {
    EntityType.DATE_OF_BIRTH: _DATE,
    EntityType.SECRET: _WORD,
    EntityType.PERSON: NAME,
}
_MAX_HEADING, _FEWEST_CELLS = 400, 2


class TableDetector:
    """Finds personal cells by the heading of their column."""

    name = "table"

    def find(self, view: View) -> list[Span]:
        """Return cell spans; see `Detector.find`."""
        found: list[Span] = []
        skeleton = view.skeleton
        columns: dict[int, EntityType] = {}
        mark, width, at = b"", 0, 0
        for line in skeleton.split(b"\n"):
            cells = _cells(line, at, mark) if mark else []
            if columns and len(cells) == width:
                found += _typed(view, cells, columns)
            elif (heading := _heading(line))[2] or len(cells) < _FEWEST_CELLS:
                mark, width, columns = heading
            at += len(line) + 1
        return found


def _heading(line: bytes) -> tuple[bytes, int, dict[int, EntityType]]:
    """Return the delimiter, the number of cells and the columns that are known."""
    if len(line) <= _MAX_HEADING:
        for mark in _DELIMITERS:
            cells = line.split(mark)
            words = [bytes(c for c in cell.lower() if 0x61 <= c <= 0x7A) for cell in cells]
            known = {i: _KINDS[word] for i, word in enumerate(words) if word in _KINDS}
            if len(cells) > 1 and known:
                return mark, len(cells), known
    return b"", 0, {}


def _cells(line: bytes, at: int, mark: bytes) -> list[tuple[int, int]]:
    """Return where the cells of a line stand; a delimiter between quotes parts none."""
    cuts = [-1]
    quoted = False
    for index, byte in enumerate(line):
        if byte == 0x22:
            quoted = not quoted
        elif byte == mark[0] and not quoted:
            cuts.append(index)
    cuts.append(len(line))
    return [(at + a + 1, at + b) for a, b in itertools.pairwise(cuts)]


def _typed(
    view: View, cells: list[tuple[int, int]], columns: dict[int, EntityType]
) -> Iterator[Span]:
    for index, kind in columns.items():
        start, end = cells[index]
        while end > start and view.skeleton[end - 1] in b" \"'\r":
            end -= 1
        while start < end and view.skeleton[start] in b" \"'":
            start += 1
        match = _FORMS.get(kind, _NUMBER).at(view, start, end)
        if match and match.end() == end:
            yield Span(start, end, kind)

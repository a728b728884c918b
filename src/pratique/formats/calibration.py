"""Calibrations as bytes: small, strict, with one meaning."""

import json
import os
import stat
from pathlib import Path
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError

from pratique.core.calibration import (
    CALIBRATION,
    MAX_BYTES,
    MOST_KEPT,
    CalibrationDocument,
    KeptMeasurements,
)
from pratique.core.ids import shown
from pratique.errors import FormatError
from pratique.formats import json_strict

_MAX_KEPT: Final = MOST_KEPT * 2**10
_D = TypeVar("_D", bound=BaseModel)


def parse_calibration(data: bytes) -> CalibrationDocument:
    """Parse `provenance/calibration.json`. Raises FormatError; does NOT say that its figures are true."""
    return _parse(CalibrationDocument, data, MAX_BYTES, "calibration.json")


def read_calibration(provenance: Path) -> CalibrationDocument | None:
    """Read the calibration below a `provenance/`; None if there is none.

    Raises FormatError for a link, a special file, one that is too long, or malformed.
    """
    try:
        handle = os.open(provenance / CALIBRATION, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FormatError(f"calibration.json cannot be read: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise FormatError("calibration.json is not a regular file")
        return parse_calibration(os.read(handle, MAX_BYTES + 1))
    finally:
        os.close(handle)


def parse_kept(data: bytes) -> KeptMeasurements:
    """Parse a home's own measurements of one bundle. Raises FormatError."""
    return _parse(KeptMeasurements, data, _MAX_KEPT, "the file of measurements")


def encode(document: CalibrationDocument | KeptMeasurements) -> bytes:
    """Return the bytes of a document: sorted keys, one form."""
    value = document.model_dump(mode="json", by_alias=True)
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=True) + "\n").encode()


def _parse(kind: type[_D], data: bytes, most: int, what: str) -> _D:
    json_strict.parse_object(data, json_strict.Limits(size=most, depth=4, items=4096))
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"]) or "its figures"
        raise FormatError(
            f"{what} is malformed at {shown(where)}", hint="remove it, and measure again"
        ) from error

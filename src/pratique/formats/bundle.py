"""`bundle.json` as bytes: one spelling, strict, and a clear word about newer versions.

The parser re-encodes what it read and compares: white space, duplicate keys, other escapes or another
order of keys are all "another spelling of the same document" and refused.
"""

import json
import re
from typing import Final

from pydantic import ValidationError

from pratique.core.bundle import SCHEMA, BundleDocument
from pratique.core.ids import shown
from pratique.errors import FormatError, VerificationRefused

MAX_DOCUMENT_BYTES: Final = 256 * 2**20

_OUR_SCHEMA: Final = re.compile(r"pratique\.bundle/v(\d{1,6})\Z")


def encode_bundle_document(document: BundleDocument) -> bytes:
    """Return the canonical bytes: sorted keys, no white space, UTF-8, a final newline."""
    value = document.model_dump(mode="json", by_alias=True)
    return _encode(value)


def parse_bundle_document(data: bytes) -> BundleDocument:
    """Parse canonical bytes.

    Raises:
        FormatError: malformed, inconsistent, or spelt another way.
        VerificationRefused: written by a newer pratique.
    """
    if len(data) > MAX_DOCUMENT_BYTES:
        raise FormatError(f"bundle.json is larger than {MAX_DOCUMENT_BYTES} bytes")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FormatError("bundle.json is not JSON") from error
    _refuse_other_versions(value)
    try:
        document = BundleDocument.model_validate_json(data)
    except ValidationError as error:
        raise FormatError(f"bundle.json is malformed: {_first(error)}") from error
    if encode_bundle_document(document) != data:
        raise FormatError("bundle.json is not in its canonical spelling")
    return document


def _encode(value: object) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode() + b"\n"


def _refuse_other_versions(value: object) -> None:
    schema = value.get("schema") if isinstance(value, dict) else None
    if schema == SCHEMA:
        return
    known = _OUR_SCHEMA.match(schema) if isinstance(schema, str) else None
    if known and int(known[1]) > 1:
        raise VerificationRefused(
            f"the bundle was made by a newer pratique (format v{known[1]}, this one reads v1)",
            hint="update pratique here, or have the bundle sealed again with this version",
        )
    raise FormatError(f"bundle.json has no known schema: {shown(str(schema))}")


def _first(error: ValidationError) -> str:
    """Where and why, without echoing the input."""
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    return shown(f"{where}: {problem['msg']}", 160)

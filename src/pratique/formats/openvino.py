"""OpenVINO graphs: plain XML, operators of the published sets, constants inside the .bin file."""

import re
from typing import Final
from xml.parsers import expat

from pratique.errors import FormatError

_OPSET: Final = re.compile(r"opset\d{1,2}\Z")


def constants_end(data: bytes) -> int:
    """Return how many bytes of constants the graph needs. Raises FormatError for other operators."""
    end = 0

    def element(name: str, attributes: dict[str, str]) -> None:
        nonlocal end
        if name == "layer" and not _OPSET.match(attributes.get("version", "opset1")):
            raise FormatError(
                f"needs operators from {attributes['version']!r}, which must be loaded"
            )
        if name == "data" and "offset" in attributes and "size" in attributes:
            if not (attributes["offset"].isdigit() and attributes["size"].isdigit()):
                raise FormatError("has a constant at a place that is no number")
            end = max(end, int(attributes["offset"]) + int(attributes["size"]))

    def doctype(*_: object) -> None:
        raise FormatError("has a document type, which can name entities and files")

    parser = expat.ParserCreate()
    parser.StartElementHandler = element
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise FormatError(f"is not XML (line {error.lineno})") from error
    return end

"""JSON that can be spelled in one way only per known layout; any other spelling is refused.

A document is accepted if writing it again in one of the named layouts gives the same bytes. That
leaves no room for duplicate keys, odd white space, other escapes or number forms, or text after the
end, so that two readers cannot understand one file differently and no byte can be flipped unnoticed.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Final, NoReturn

from pratique.errors import FormatError

Json = dict[str, "Json"] | list["Json"] | str | int | bool | None

# name -> (indent, item separator, key separator, escape non-ASCII, text after the end)
_LAYOUTS: Final[dict[str, tuple[int | None, str, str, bool, str]]] = {
    "compact": (None, ",", ":", False, ""),  # ours, and model_signing from 1.1
    "spaced": (None, ", ", ": ", True, ""),  # model_signing up to 1.0
    "indent2": (2, ",", ": ", True, ""),  # protobuf's JSON in Python: payloads of model_signing
    "indent4": (4, ",", ": ", False, "\n"),  # the test vectors of the specification
    "go": (None, ", ", ":", False, ""),  # protobuf's JSON in Go: payloads
    "go indented": (2, ",", ": ", False, "\n"),  # and files
}
PAYLOAD_LAYOUTS: Final = ("compact", "indent2", "go")
FILE_LAYOUTS: Final = ("compact", "spaced", "indent2", "indent4", "go indented")


def dump(value: object) -> bytes:
    """Write `value` as RFC 8785 does, for data whose keys are ASCII and numbers are integers."""
    return json.dumps(
        value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
    ).encode()


def dump_in_order(value: object) -> bytes:
    """Write `value` compactly, its keys in the order given."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def parse(data: bytes, what: str, layouts: Iterable[str] = ("compact",)) -> Json:
    """Return the value in `data`. Raises FormatError unless it is spelled as one of `layouts`.

    `what` names the document in messages. The caller has capped the size.
    """
    try:
        value: Json = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_no_duplicates,
            parse_float=_no_number,
            parse_constant=_no_number,
        )
    except _Refused as error:
        raise FormatError(f"{what} {error}") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{what} is not valid JSON") from error
    if not any(_written(value, layout) == data for layout in layouts):
        raise FormatError(f"{what} is not in canonical form: another spelling of the same JSON")
    return value


def only_keys(
    value: Json, what: str, required: tuple[str, ...], optional: tuple[str, ...] = ()
) -> dict[str, Json]:
    """Return `value` as an object with exactly these keys. Raises FormatError otherwise."""
    if not isinstance(value, dict):
        raise FormatError(f"{what} is not a JSON object")
    for key in required:
        if key not in value:
            raise FormatError(f"{what} lacks {key!r}")
    for key in value:
        if key not in required and key not in optional:
            raise FormatError(f"{what} has the unknown field {key[:60]!r}")
    return value


def text(value: Json, what: str) -> str:
    """Return `value` as text. Raises FormatError otherwise."""
    if not isinstance(value, str):
        raise FormatError(f"{what} is not text")
    return value


def items(value: Json, what: str, limit: int) -> Iterator[Json]:
    """Iterate over the list `value` of at most `limit` items. Raises FormatError otherwise."""
    if not isinstance(value, list):
        raise FormatError(f"{what} is not a list")
    if len(value) > limit:
        raise FormatError(f"{what} has more than {limit} entries")
    return iter(value)


class _Refused(ValueError):
    """A reason of our own, to be told from the decoder's."""


def _no_duplicates(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Refused("has a key twice")
    return found


def _no_number(_text: str) -> NoReturn:
    raise _Refused("has a number that is not an integer")


def _written(value: Json, layout: str) -> bytes | None:
    indent, item, key, ascii_only, end = _LAYOUTS[layout]
    try:
        text = json.dumps(value, indent=indent, separators=(item, key), ensure_ascii=ascii_only)
        return (text + end).encode()
    except (UnicodeEncodeError, RecursionError):  # a lone surrogate was escaped in the input
        return None

"""JSON with one meaning: what one reader could take differently from another is refused.

Refused: duplicate keys (compared after unescaping, RFC 8259 section 4), anything but UTF-8, a byte
order mark, lone surrogates, NaN and infinity, numbers that overflow, depth and size beyond limits.
"""

import functools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias, cast

from pratique.core.ids import shown
from pratique.errors import FormatError

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
JsonObject: TypeAlias = dict[str, "Json"]

MIB: Final = 2**20
_SURROGATE_ESCAPE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_MAX_DIGITS: Final = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds for one document. `items` counts commas and brackets, and so bounds memory.

    `special_floats`: whether NaN and infinity, which Python's writer emits and RFC 8259 forbids,
    are read; only for documents that nothing loads. `infinite_keys`: the keys under which infinity
    alone is read (Mamba-like models are saved with `"time_step_limit": [0.0, Infinity]`).
    """

    size: int = 32 * MIB
    depth: int = 64
    items: int = 4_000_000
    special_floats: bool = False
    infinite_keys: frozenset[str] = frozenset()


DEFAULT: Final = Limits()
VOCABULARY: Final = Limits(size=192 * MIB, items=24_000_000)
CONFIGURATION: Final = Limits(
    infinite_keys=frozenset({"time_step_limit", "time_step_max", "mamba_dt_limit", "dt_limit"})
)
UNLOADED: Final = Limits(special_floats=True)


def parse(data: bytes, limits: Limits = DEFAULT) -> Json:
    """Return the value of one JSON document. Raises FormatError with the reason and the place."""
    _check_size(data, limits)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"is not UTF-8 (byte {error.start})") from error
    if text.startswith("\ufeff"):
        raise FormatError("begins with a byte order mark")
    try:
        value = cast("Json", _decoder(limits, data).decode(text))
        if isinstance(value, list | float) and _holds_infinity(value):
            raise FormatError("holds an infinity, which is not JSON")
    except json.JSONDecodeError as error:
        raise FormatError(
            f"is not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from error
    except RecursionError as error:
        raise FormatError(f"is nested deeper than {limits.depth} levels") from error
    _check_depth(value, limits.depth)
    if _SURROGATE_ESCAPE.search(data):
        _check_surrogates(value)
    return value


def parse_object(data: bytes, limits: Limits = DEFAULT) -> JsonObject:
    """Return the document's top-level object. Raises FormatError if it is anything else."""
    value = parse(data, limits)
    if not isinstance(value, dict):
        raise FormatError(f"holds {type_name(value)} where an object belongs")
    return value


def type_name(value: object) -> str:
    """JSON's word for the type of `value`."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a truth value"}
    return names.get(type(value), "null" if value is None else "a number")


def _check_size(data: bytes, limits: Limits) -> None:
    if len(data) > limits.size:
        raise FormatError(f"is larger than {limits.size // MIB} MiB")
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > limits.items:
        raise FormatError(f"holds more than {limits.items} items")


class _Infinite(float):
    """An infinity that is only in order under certain keys; see `_bounded`."""


def _decoder(limits: Limits, data: bytes) -> json.JSONDecoder:
    hook: Callable[[list[tuple[str, object]]], dict[str, object]] = _unique
    constant: Callable[[str], float] = _no_constant
    if limits.special_floats:
        constant = float
    elif b"Infinity" in data and limits.infinite_keys:
        hook, constant = functools.partial(_bounded, limits.infinite_keys), _infinity
    return json.JSONDecoder(
        object_pairs_hook=hook,
        parse_constant=constant,
        parse_int=_integer,
        parse_float=_finite,
    )


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise FormatError(f"has the key {shown(key)} twice in one object")
            seen.add(key)
    return found


def _infinity(text: str) -> float:
    return _Infinite(text) if text != "NaN" else _no_constant(text)


def _bounded(allowed: frozenset[str], pairs: list[tuple[str, object]]) -> dict[str, object]:
    for key, value in pairs:
        if key not in allowed and _holds_infinity(value):
            raise FormatError(f"holds an infinity under {shown(key)}, which is not JSON")
    return _unique(pairs)


def _holds_infinity(value: object) -> bool:
    """Whether a value, or a list at any depth, is infinite; objects have been checked already."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, _Infinite):
            return True
        if isinstance(item, list):
            pending.extend(item)
    return False


def _no_constant(text: str) -> float:
    raise FormatError(f"holds {text}, which is not JSON")


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise FormatError(f"holds a number of {len(text)} digits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if value in {float("inf"), float("-inf")}:
        raise FormatError(f"holds {shown(text, 30)}, which overflows")
    return value


def _check_depth(value: Json, limit: int) -> None:
    level: list[Json] = [value]
    for _ in range(limit):
        level = (
            [
                child
                for parent in level
                for child in (
                    parent.values() if isinstance(parent, dict) else cast("list[Json]", parent)
                )
                if isinstance(child, dict | list)
            ]
            if isinstance(level[0], dict | list)
            else []
        )
        if not level:
            return
    raise FormatError(f"is nested deeper than {limit} levels")


def _check_surrogates(value: Json) -> None:
    stack: list[Json] = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            stack.extend(item)
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
        elif isinstance(item, str) and not item.isascii():
            try:
                item.encode()
            except UnicodeEncodeError as error:
                raise FormatError(f"holds the lone surrogate {item[error.start]!a}") from error

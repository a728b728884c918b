"""Schemas that pass every check and cost the most memory, each in its own way; and an ordinary one."""

import random
import string
from typing import Any, Final

ORDINARY: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "count": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "side": {"enum": ["port", "starboard"]},
    },
    "required": ["name", "count", "tags", "side"],
    "additionalProperties": False,
}


def _list_of(*options: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": {"anyOf": list(options)}}


def _strings(count: int, step: int) -> dict[str, Any]:
    """Strings whose lengths all have to be counted at once."""
    options = ({"minLength": at * step, "maxLength": 100_000 - at} for at in range(count))
    return _list_of(*({"type": "string", **option} for option in options))


def _objects(count: int) -> dict[str, Any]:
    members = {f"r{at}": {"enum": [1, 2]} for at in range(2)}
    inner = {"type": "object", "properties": members}
    return {"type": "object", "properties": {f"q{at}": inner for at in range(count)}}


def _values() -> dict[str, Any]:
    rng = random.Random(1)
    return {"enum": ["".join(rng.choices(string.ascii_letters, k=26)) for _ in range(1990)]}


WORST: Final[dict[str, dict[str, Any]]] = {
    "many strings": _strings(100, 7),
    "strings": _strings(30, 70),
    "long strings": _strings(8, 700),
    "objects": _objects(490),
    "values": {"type": "array", "items": _values()},
    "multiples": _list_of(*({"type": "integer", "multipleOf": unit} for unit in (1000, 999))),
    "pattern": {
        "type": "string",
        "pattern": r"^(\p{L}{1,400}|\p{Lu}{2,300}x|\w{5,200}|[a-z]{3,390}|[0-9a-z]{9,370})*$",
    },
    "lists": {
        "$defs": {
            "a": {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/a"}} for _ in range(30)]}
        },
        "$ref": "#/$defs/a",
    },
}

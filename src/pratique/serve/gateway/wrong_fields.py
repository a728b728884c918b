"""What is wrong with a request, named as its client wrote it.

The validator's own words are about this program: members of a union, classes, patterns. None of them
goes out, and no value of the client's does. A name goes out if a request has a field of that name, or
if it is the very name that is refused.
"""

import functools
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from pratique.core.ids import shown
from pratique.serve.gateway.errors import ApiError

_LONGEST: Final = 120
_MOST: Final = 10_000
_TYPES: Final = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
}
_LIMITS: Final = {
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_long": "has more than {max_length} characters",
    "too_long": "has more than {max_length} entries",
    "too_short": "has fewer than {min_length} entries",
    "string_pattern_mismatch": "is not 1 to 64 letters, digits, '_', '.' and '-'",  # the one pattern
    "value_error": "{error}",
}


def refusal(kind: type[BaseModel], error: ValidationError) -> ApiError:
    """Return the refusal of the first wrong field; an unknown field before all others."""
    if error.error_count() > _MOST:  # to tell which is first, each is looked at
        return ApiError(400, f"more than {_MOST} fields are wrong", code="invalid_value")
    problems = [
        (_path(kind, problem), problem)
        for problem in error.errors(include_url=False, include_input=False)
    ]
    extra = [pair for pair in problems if pair[1]["type"] == "extra_forbidden"]
    # Of what the members of a union say, the one that came furthest is about what the client meant.
    path, problem = max(extra or problems, key=_tells_most)
    name = shown(".".join(path), _LONGEST).strip("'\"")
    what = problem["type"]
    if what == "extra_forbidden":
        return ApiError(400, f"unsupported field '{name}'", param=name, code="unsupported_field")
    if what == "missing":
        return ApiError(400, f"field '{name}' is missing", param=name, code="missing_field")
    if what in _TYPES:
        words = f"needs {_either([p['type'] for at, p in problems if at == path])}"
    elif what in _LIMITS:
        words = _LIMITS[what].format(**_whole(problem.get("ctx", {})))
    else:
        return ApiError(
            400,
            f"field '{name}': this value is not supported",
            param=name,
            code="unsupported_value",
        )
    return ApiError(400, f"field '{name}': {words}", param=name, code="invalid_value")


def _path(kind: type[BaseModel], problem: Any) -> tuple[str, ...]:  # noqa: ANN401 - pydantic's own dict
    """Return `("messages", "0", "content")`: what pydantic adds for union members is left out."""
    known, parts = _names(kind), [str(part) for part in problem["loc"]]
    own = parts[-1:] if problem["type"] == "extra_forbidden" else []
    # A key that is a number can only be the client's own, too (`logit_bias`).
    kept = [part for part in parts[: len(parts) - len(own)] if part in known or part.isdecimal()]
    return (*kept, *own)


@functools.cache
def _names(kind: type[BaseModel]) -> frozenset[str]:
    """Return the names of all fields that a request may have, at any depth."""
    whole = kind.model_json_schema()
    schemas = [whole, *whole.get("$defs", {}).values()]
    return frozenset(name for schema in schemas for name in schema.get("properties", {}))


def _tells_most(pair: tuple[tuple[str, ...], Any]) -> tuple[int, int]:
    path, problem = pair
    rank = 2 if problem["type"] == "literal_error" else int(problem["type"] not in _TYPES)
    return len(path), rank


def _whole(limits: dict[str, Any]) -> dict[str, Any]:
    """Write 2 and not 2.0."""
    return {
        name: int(limit) if isinstance(limit, float) and limit.is_integer() else limit
        for name, limit in limits.items()
    }


def _either(types: list[str]) -> str:
    """Return `text, a number or a list`: what the members of a union would have taken."""
    words = list(dict.fromkeys(_TYPES[one] for one in types if one in _TYPES))
    return " or ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)

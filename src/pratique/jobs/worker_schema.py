"""What a client's JSON schema may say before anything compiles it.

The compiler (llguidance) refuses much by itself, but it ignores words that it does not know, and some
schemas cost it gigabytes, half a minute or the stack. So a schema is walked first: every keyword must
be one that is enforced, or says nothing about values; sizes and counts have limits; a `$ref` leads to
a schema that was walked; and regular expressions are not intersected with one another.
"""

import json
import math
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final
from urllib.parse import unquote

from pratique.core.schema_words import number_of
from pratique.core.wire import Fault

MOST_BYTES: Final = 64 * 1024
_DEPTH: Final = 32
_SCHEMAS: Final = 2_000
_PROPERTIES: Final = 500
_VALUES: Final = 2_000
_PATTERN: Final = 512
_PATTERNS: Final = 8_192
_MULTIPLE: Final = 10_000
_MULTIPLES: Final = 1_000_000
_DRAFTS: Final = ("draft-06", "draft-07", "2019-09", "2020-12")

# Words about people, not values. `discriminator` (OpenAPI) adds nothing to the `oneOf` it stands by.
_NOTES: Final = frozenset(
    "title description default examples example deprecated readOnly writeOnly $comment discriminator".split()
)
_ENFORCED: Final = frozenset(
    "type enum const properties required additionalProperties patternProperties minProperties "
    "maxProperties items prefixItems minItems maxItems minLength maxLength pattern format minimum "
    "maximum exclusiveMinimum exclusiveMaximum multipleOf".split()
)
_JOINERS: Final = frozenset(("allOf", "anyOf", "oneOf", "$ref"))
_SHELVES: Final = frozenset(("$defs", "definitions"))
_MAPS: Final = ("properties", "patternProperties", "$defs", "definitions")
_LISTS: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_EXPENSIVE: Final = ("pattern", "patternProperties", "multipleOf")


class SchemaRefused(Exception):
    """A schema that is not compiled. `keyword` is a number into core.schema_words.

    `of_tools`: it is a tool's parameters, not the schema of the answer.
    """

    def __init__(
        self, fault: Fault, *, keyword: int = 0, limit: int = 0, of_tools: bool = False
    ) -> None:
        super().__init__(fault.value)
        self.fault = fault
        self.got = keyword
        self.limit = limit
        self.of_tools = of_tools


def check_schema(schema: dict[str, Any]) -> str:
    """Return `schema` as JSON text once it is known to be bounded. Raises SchemaRefused."""
    try:
        text = json.dumps(schema, ensure_ascii=False, allow_nan=False)
        size = len(text.encode())
    except (ValueError, RecursionError) as error:  # infinities, lone surrogates, depth
        raise SchemaRefused(Fault.BAD_SCHEMA) from error
    if size > MOST_BYTES:
        raise SchemaRefused(Fault.SCHEMA_TOO_BIG, limit=MOST_BYTES)
    walk = _Walk()
    walk.schema(schema, "", 0)
    walk.end()
    return text


def _unsupported(keyword: str) -> SchemaRefused:
    return SchemaRefused(Fault.SCHEMA_KEYWORD, keyword=number_of(keyword))


def _count(number: int, limit: int) -> None:
    if number > limit:
        raise SchemaRefused(Fault.SCHEMA_TOO_BIG, limit=limit)


@dataclass(slots=True)
class _Walk:
    seen: set[str] = field(default_factory=set)
    refs: list[str] = field(default_factory=list)
    values: int = 0
    patterns: int = 0
    units: int = 1
    expensive: str = ""
    merges: bool = False

    def schema(self, value: object, pointer: str, depth: int) -> None:
        """Walk one schema and what is in it."""
        self.seen.add(pointer)
        _count(depth, _DEPTH)
        _count(len(self.seen), _SCHEMAS)
        if isinstance(value, bool):
            return
        if not isinstance(value, dict):
            raise SchemaRefused(Fault.BAD_SCHEMA)
        for keyword in value:
            self._known(keyword, value[keyword], root=not pointer)
        self._values(value)
        self._merging(value)
        for inner, path in inside(value):
            self.schema(inner, f"{pointer}/{path}", depth + 1)

    def end(self) -> None:
        """Check what is known only of the whole."""
        if not self.seen.issuperset(self.refs):
            raise _unsupported("$ref")
        if self.merges and self.expensive:
            raise _unsupported(self.expensive)

    def _known(self, keyword: str, value: object, *, root: bool) -> None:
        if keyword == "$schema":
            if not root or not isinstance(value, str) or not any(d in value for d in _DRAFTS):
                raise _unsupported(keyword)
        elif keyword == "$id":
            if not root or not isinstance(value, str):
                raise _unsupported(keyword)
        elif keyword == "$ref":
            if not isinstance(value, str) or not value.startswith("#"):
                raise _unsupported(keyword)
            self.refs.append(unquote(value[1:]))
        elif keyword not in _ENFORCED | _NOTES | _JOINERS | _SHELVES:
            raise _unsupported(keyword)

    def _values(self, value: dict[str, Any]) -> None:
        """Count what costs the compiler, and refuse what it would get wrong."""
        enum, required = value.get("enum"), value.get("required", [])
        self.values += len(enum) if isinstance(enum, list) else 0
        self.values += len(required) if isinstance(required, list) else 0
        _count(self.values, _VALUES)
        patterns = [value["pattern"]] if "pattern" in value else []
        patterns += value.get("patternProperties") or []
        for pattern in patterns:
            if not isinstance(pattern, str):
                raise SchemaRefused(Fault.BAD_SCHEMA)
            _count(len(pattern), _PATTERN)
            self.patterns += len(pattern)
        _count(self.patterns, _PATTERNS)
        if isinstance(value.get("items"), list):  # drafts before 2020-12; `prefixItems` says it now
            raise _unsupported("items")
        # Names that `properties` does not list may come twice, and then count once.
        least = value.get("minProperties", 0)
        if isinstance(least, int) and least > max(1, len(set(map(str, required)))):
            raise _unsupported("minProperties")
        if "multipleOf" in value:
            self._multiple(value["multipleOf"])

    def _multiple(self, value: object) -> None:
        """Count the states of remainders: those of several are in step only after all of them."""
        unit = _unit(value)
        self.units = math.lcm(self.units, unit)
        if not 0 < unit <= _MULTIPLE or self.units > _MULTIPLES:
            raise _unsupported("multipleOf")

    def _merging(self, value: dict[str, Any]) -> None:
        """Note where the compiler must intersect schemas: costly with regular expressions."""
        self.expensive = next((k for k in _EXPENSIVE if k in value), self.expensive)
        joiners = _JOINERS & value.keys()
        others = (_ENFORCED - {"type"}) & value.keys()
        several = isinstance(value.get("allOf"), list) and len(value["allOf"]) > 1
        if several or len(joiners) > 1 or (joiners and others):
            self.merges = True


def inside(value: dict[str, Any]) -> list[tuple[object, str]]:
    """Return the schemas in a schema, each with its pointer from here."""
    found: list[tuple[object, str]] = []
    for keyword in _MAPS:
        inner = value.get(keyword, {})
        if not isinstance(inner, dict):
            raise SchemaRefused(Fault.BAD_SCHEMA)
        _count(len(inner), _PROPERTIES)
        found += [(item, f"{keyword}/{_escaped(name)}") for name, item in inner.items()]
    for keyword in _LISTS:
        items = value.get(keyword, [])
        if not isinstance(items, list):
            raise SchemaRefused(Fault.BAD_SCHEMA)
        found += [(item, f"{keyword}/{at}") for at, item in enumerate(items)]
    found += [(value[k], k) for k in ("items", "additionalProperties") if k in value]
    return found


def _escaped(name: str) -> str:
    """Return a name as a JSON pointer holds it (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def _unit(value: object) -> int:
    """Return a multiple's digits as a number: the compiler's automaton has a state per unit. 0: none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return 0
    if value <= 0:
        return 0
    return int("".join(map(str, Decimal(str(value)).normalize().as_tuple().digits)))

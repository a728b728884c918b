"""What a grammar may come to in memory, told from its schemas before anything compiles them.

The compiler has no limit in bytes. What it holds grows with the schemas, with the states that its lexer
meets while an answer is written, and with the answer's length. A state is larger the more strings with
rules of their own could stand in the same place: so these are counted along `anyOf` and its kind, where
they add up. The factors are measured (llguidance 1.9, schemas that were made to cost the most), rounded up.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

from pratique.jobs.worker_schema import inside

MOST_STATES: Final = 10_000
FEWEST_STATES: Final = 500
_PER_SCHEMA: Final = 10_000
_PER_BYTE: Final = 24
_PER_STATE: Final = 1_500
_PER_STRING: Final = 450
_PER_TOKEN: Final = 64
_PER_OPTION: Final = 64
"""Bytes of a token of the answer for each way in which what was written may have been meant."""
_PATTERN_WEIGHT: Final = 4
_STATES_PER_TOKEN: Final = 32
_DEEPEST: Final = 200
_SCALARS: Final = frozenset(("string", "number", "integer", "boolean", "null"))
_NUMBER: Final = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class Cost:
    """Bytes of a grammar: `compiled` once for all its choices, the rest for each of them.

    `states` are as many lexer states as its answers may need, of `state` bytes.
    """

    compiled: int
    states: int
    state: int
    token: int


def cost_of(schemas: Sequence[dict[str, Any]], *, answer: int) -> Cost:
    """Return what one grammar of all of `schemas` may come to over `answer` tokens.

    The schemas were checked (worker_schema).
    """
    found = [_Tree(schema) for schema in schemas]
    text = sum(len(json.dumps(schema)) for schema in schemas)
    counted = min(sum(map(_states, _nodes(found))), _STATES_PER_TOKEN * answer)
    needed = 2 * FEWEST_STATES + text // 8 + counted
    return Cost(
        compiled=2**16 + _PER_SCHEMA * sum(len(tree.nodes) for tree in found) + _PER_BYTE * text,
        states=min(needed, MOST_STATES),
        state=_PER_STATE + _PER_STRING * max((tree.width() for tree in found), default=0),
        token=_PER_TOKEN + _PER_OPTION * sum(map(_options, _nodes(found))),
    )


def _nodes(trees: Sequence["_Tree"]) -> Iterator[dict[str, Any]]:
    for tree in trees:
        yield from tree.nodes.values()


@dataclass(slots=True)
class _Tree:
    """A schema's parts by their pointers."""

    root: dict[str, Any]
    nodes: dict[str, dict[str, Any]] = field(init=False, default_factory=dict)
    _known: dict[int, int] = field(init=False, default_factory=dict)
    _open: set[int] = field(init=False, default_factory=set)
    _all: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        left: list[tuple[object, str]] = [(self.root, "")]
        while left:
            value, pointer = left.pop()
            if isinstance(value, dict):
                self.nodes[pointer] = value
                left += [(item, f"{pointer}/{path}") for item, path in inside(value)]
        self._all = sum(map(_weight, self.nodes.values()))

    def width(self) -> int:
        """Return how many strings with rules of their own may compete in one place, by weight."""
        return max(map(self._width, self.nodes.values()))

    def _width(self, value: object) -> int:
        if not isinstance(value, dict):
            return 0
        key = id(value)
        if key in self._open or len(self._open) > _DEEPEST:
            # It contains itself: anything may come to stand beside anything.
            return self._all
        if key not in self._known:
            self._open.add(key)
            joined = sum(map(self._width, _joined(value)))
            if isinstance(ref := value.get("$ref"), str):
                joined += self._width(self.nodes.get(unquote(ref[1:])))
            within = max((self._width(item) for item, _ in inside(value)), default=0)
            self._known[key] = min(max(_weight(value) + joined, within), self._all)
            self._open.discard(key)
        return self._known[key]


def _joined(value: dict[str, Any]) -> list[object]:
    return [option for word in ("allOf", "anyOf", "oneOf") for option in value.get(word, [])]


def _weight(value: dict[str, Any]) -> int:
    """How much one schema adds to a state where it may stand."""
    patterns = ("pattern" in value) + len(value.get("patternProperties", ()))
    lengths = "minLength" in value or "maxLength" in value or "multipleOf" in value
    return patterns * _PATTERN_WEIGHT + ("format" in value) + lengths


def _states(value: dict[str, Any]) -> int:
    """How many states the strings of one schema may need."""
    lengths = [value.get(word) for word in ("minLength", "maxLength", "multipleOf")]
    counted = sum(min(int(n), MOST_STATES) for n in lengths if isinstance(n, int | float))
    patterns = [value.get("pattern", ""), *value.get("patternProperties", ())]
    spelled = sum(
        16 * len(text) + 8 * sum(map(int, _NUMBER.findall(text))) for text in map(str, patterns)
    )
    return 4 * counted + spelled + 64 * ("format" in value)


def _options(value: dict[str, Any]) -> int:
    """How many ways there are to read what one schema lets be written, beyond the first."""
    ways = sum(1 for option in _joined(value) if not _is_scalar(option))
    return max(0, ways - 1)


def _is_scalar(option: object) -> bool:
    if not isinstance(option, dict):
        return isinstance(option, bool)
    kinds = option.get("type")
    named = set(map(str, kinds)) if isinstance(kinds, list) else {kinds}
    return named <= _SCALARS or "const" in option or "enum" in option

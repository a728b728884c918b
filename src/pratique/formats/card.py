"""A model card's front matter: plain YAML, read event by event; no tags, no tricks with aliases.

Scalars stay text: the gate compares words, and `no` must not become False.
"""

from typing import Final, TypeAlias

from pratique.core.ids import shown
from pratique.errors import FormatError

Yaml: TypeAlias = "dict[str, Yaml] | list[Yaml] | str"
MAX_FRONT_MATTER: Final = 8 * 2**20
_MAX_DEPTH: Final = 24
_MAX_EVENTS: Final = 2_000_000


def split_card(text: str) -> tuple[str | None, str]:
    """Return (front matter or None, body) of a card. Raises FormatError if it has no end."""
    normal = text.replace("\r\n", "\n").lstrip("\ufeff")
    if not normal.startswith("---\n"):
        return None, normal
    end = normal.find("\n---", 3)
    while end >= 0 and normal[end + 4 : end + 5] not in {"", "\n", " "}:
        end = normal.find("\n---", end + 4)
    if end < 0:
        raise FormatError("has front matter without an end")
    return normal[4 : end + 1], normal[end + 4 :]


def parse_front_matter(text: str) -> tuple[dict[str, Yaml], tuple[str, ...]]:
    """Return the mapping and the keys that it has twice (the first value is kept).

    Raises FormatError for tags, for aliases that would multiply, and for anything but a mapping.
    """
    import yaml  # noqa: PLC0415  # only repositories with a card pay for it

    if len(text) > MAX_FRONT_MATTER:
        raise FormatError(f"has front matter larger than {MAX_FRONT_MATTER // 2**20} MiB")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    builder = _Builder()
    try:
        for count, event in enumerate(yaml.parse(text, Loader=loader)):
            if count > _MAX_EVENTS:
                raise FormatError("has front matter with too many parts")
            builder.feed(event)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 2})" if mark else ""
        raise FormatError(f"has front matter that is not YAML{where}") from error
    value = builder.value
    if value is None or value == "":
        return {}, ()
    if not isinstance(value, dict):
        raise FormatError("has front matter that is not a mapping")
    return value, tuple(builder.repeated)


class _Builder:
    """Folds YAML events into plain values."""

    def __init__(self) -> None:
        self.value: Yaml | None = None
        self.repeated: list[str] = []
        self._stack: list[tuple[dict[str, Yaml] | list[Yaml], list[str]]] = []
        self._anchors: dict[str, Yaml] = {}

    def feed(self, event: object) -> None:
        """Take one event. Raises FormatError."""
        tag = getattr(event, "tag", None)
        if tag is not None and not str(tag).startswith("tag:yaml.org,2002:"):
            raise FormatError(f"has the YAML tag {shown(str(tag))}")
        if tag is not None and "python" in str(tag):
            raise FormatError(f"has the YAML tag {shown(str(tag))}")
        match type(event).__name__:
            case "MappingStartEvent":
                self._open({}, event)
            case "SequenceStartEvent":
                self._open([], event)
            case "MappingEndEvent" | "SequenceEndEvent":
                self._stack.pop()
            case "ScalarEvent":
                self._add(str(event.value), event)  # type: ignore[attr-defined]  # ScalarEvent
            case "AliasEvent":
                target = self._anchors.get(str(event.anchor), "")  # type: ignore[attr-defined]  # AliasEvent
                if not isinstance(target, str):
                    raise FormatError("has a YAML alias of more than plain text")
                self._add(target, None)
            case _:
                pass

    def _open(self, value: dict[str, Yaml] | list[Yaml], event: object) -> None:
        if len(self._stack) >= _MAX_DEPTH:
            raise FormatError(f"is nested deeper than {_MAX_DEPTH} levels")
        self._add(value, event)
        self._stack.append((value, []))

    def _add(self, value: Yaml, event: object) -> None:
        if event is not None and (anchor := getattr(event, "anchor", None)):
            self._anchors[str(anchor)] = value
        if not self._stack:
            if self.value is not None:
                raise FormatError("has more than one document in its front matter")
            self.value = value
            return
        parent, keys = self._stack[-1]
        if isinstance(parent, list):
            parent.append(value)
        elif not keys:
            if not isinstance(value, str):
                raise FormatError("has a YAML key that is not text")
            keys.append(value)
        else:
            key = keys.pop()
            if key in parent:
                self.repeated.append(key)
            parent.setdefault(key, value)

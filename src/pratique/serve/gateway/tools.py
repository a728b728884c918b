"""Calls of tools in a model's text, in the form that its admitted template teaches.

The text is the model's and nobody vouches for it: what does not parse stays text, a call of a tool
that the client did not offer stays text, and nothing is ever executed here. Arguments go out letter for
letter: read and written again, a number could become another, or no JSON, and half a character a crash.
"""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from pratique.core.wire import ToolForm

_OPEN: Final = "<tool_call>"
_CLOSE: Final = "</tool_call>"
_LONGEST: Final = 2**20
_SPACE: Final = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Call:
    """One call: a tool's name and its arguments as JSON text, as the model wrote them."""

    name: str
    arguments: str
    id: str = field(default_factory=lambda: f"call_{secrets.token_hex(12)}")

    def plain(self) -> dict[str, Any]:
        """Return it in the form of chat completions."""
        function = {"name": self.name, "arguments": self.arguments}
        return {"id": self.id, "type": "function", "function": function}


@dataclass(frozen=True, slots=True)
class Reading:
    """How an answer is read: which calls are looked for, and whether more than one counts.

    `beside_json`: the answer may be JSON of a schema, too, so that only what has arguments is a call.
    """

    offered: frozenset[str]
    form: ToolForm
    several: bool = True
    beside_json: bool = False

    def split(self, text: str) -> tuple[str, list[Call]]:
        """Return the text without well-formed calls of offered tools, and those calls."""
        rest, calls = self.parts(text)
        return (rest.strip() if calls else rest), calls

    def parts(self, text: str) -> tuple[str, list[Call]]:
        """As `split`, with the spaces that stood around calls."""
        if not self.offered:
            return text, []
        rest, calls = self._tagged(text) if self.form is ToolForm.TAGGED else self._whole(text)
        if not calls:
            return text, []
        return rest, calls if self.several else calls[:1]

    def certain(self, text: str) -> int:
        """Return how much of an unfinished answer is text whatever comes, and can be sent."""
        if not self.offered:
            return len(text)
        if self.form is ToolForm.TAGGED:
            at = text.find(_OPEN)
            return len(text) - _overlap(text, _OPEN) if at < 0 else at
        start = text.lstrip(_SPACE)
        return 0 if not start or start[0] in "{[" else len(text)

    def _tagged(self, text: str) -> tuple[str, list[Call]]:
        kept, calls, at = [], [], 0
        while (start := text.find(_OPEN, at)) >= 0:
            inside = _skip(text, start + len(_OPEN))
            value, end = _value_at(text, inside)
            call = self._call(value, text, inside, "arguments")
            if call is None or not text.startswith(_CLOSE, end):
                kept.append(text[at : start + len(_OPEN)])
                at = start + len(_OPEN)
                continue
            kept.append(text[at:start])
            calls.append(call)
            at = end + len(_CLOSE)
        return "".join((*kept, text[at:])), calls

    def _whole(self, text: str) -> tuple[str, list[Call]]:
        """Read an answer that is nothing but one call, or a list of them."""
        start = _skip(text, 0)
        value, end = _value_at(text, start)
        if end != len(text):
            return text, []
        several = isinstance(value, list)
        values = value if isinstance(value, list) else [value]
        places = [at for at, _ in _items(text, start)] if several else [start]
        word = "parameters" if self.form is ToolForm.BARE else "arguments"
        calls = [self._call(item, text, at, word) for item, at in zip(values, places, strict=True)]
        found = [call for call in calls if call is not None]
        return ("", found) if len(found) == len(calls) else (text, [])

    def _call(self, value: object, text: str, at: int, word: str) -> Call | None:
        """Return the call that `value`, which begins at `at`, is."""
        if not isinstance(value, dict):
            return None
        name, arguments = value.get("name"), value.get(word, None if self.beside_json else {})
        if not isinstance(name, str) or name not in self.offered or not isinstance(arguments, dict):
            return None
        return Call(name, _written(text, at, word))


def _value_at(text: str, at: int) -> tuple[object, int]:
    """Parse the JSON value at `at`; return it, or None, and where what follows its spaces begins.

    Its numbers are not read: they may be too long or too large for any number here.
    """
    if len(text) - at > _LONGEST:
        return None, at
    try:
        value, end = _JSON.raw_decode(text, at)
    except (ValueError, RecursionError):
        return None, at
    return value, _skip(text, end)


def _items(text: str, at: int) -> Iterator[tuple[int, int]]:
    """Yield where each item, or name and value, of the list or object at `at` begins and ends.

    The text is known to be JSON.
    """
    at = _skip(text, at + 1)
    while text[at] not in "]}":
        _, end = _JSON.raw_decode(text, at)
        yield at, end
        at = _skip(text, end)
        if text[at] in ",:":
            at = _skip(text, at + 1)


def _written(text: str, at: int, word: str) -> str:
    """Return what stands under the name `word` in the object at `at`; the last, as JSON is read."""
    places = [text[start:end] for start, end in _items(text, at)]
    named = zip(places[::2], places[1::2], strict=True)
    return {json.loads(name): value for name, value in named}.get(word, "{}")


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _refuse(word: str) -> object:
    raise ValueError(word)


_JSON: Final = json.JSONDecoder(
    parse_constant=_refuse, parse_float=lambda _: 0.0, parse_int=lambda _: 0
)


def _overlap(text: str, mark: str) -> int:
    """Length of the longest end of `text` with which `mark` could begin."""
    sizes = range(min(len(text), len(mark) - 1), 0, -1)
    return next((size for size in sizes if text.endswith(mark[:size])), 0)


class Held:
    """One choice's text on its way to the client: what could be a call is held back until it is known."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._text = ""
        self._spoke = False

    def push(self, text: str) -> str:
        """Add text; return what can be sent."""
        self._text += text
        size = self._reading.certain(self._text)
        sent, self._text = self._text[:size], self._text[size:]
        self._spoke = self._spoke or bool(sent)
        return sent

    def finish(self, text: str) -> tuple[str, list[Call]]:
        """Add the last text; return what is left to send, and the calls."""
        rest, calls = self._reading.parts(self._text + text)
        if calls:  # spaces between what was sent and what is left are part of the text
            rest = rest.rstrip() if self._spoke else rest.strip()
        return rest, calls

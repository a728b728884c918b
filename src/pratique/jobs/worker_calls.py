"""Grammars of calls of tools: nothing but calls, text in which calls are right, or calls or JSON.

A template teaches its model one form of a call. `<tool_call>` opens the first, and can stand in no text
of JSON that would read as a call: a quote within a string is escaped. The other two are a whole answer,
which is a call if it reads like one. So free text must not begin as JSON there, and an answer of a
schema must not be able to look like a call.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from pratique.core.wire import Fault, ToolForm
from pratique.jobs.worker_schema import SchemaRefused, check_schema

# Between JSON's tokens one space, or a new line with its indentation: no room to ramble.
JSON_OPTIONS: Final[Any] = {  # llguidance.JsonCompileOptions, which exists for type checkers alone
    "lenient": False,
    "coerce_one_of": False,
    "whitespace_pattern": r"( |\n {0,20})",
}
_MOST_CALLS: Final = 16
_LISTED: Final = "[TOOL_CALLS]"
_TAG: Final = "<tool_call>"
_ANY_TEXT: Final = r"/(.|\n)*/"
_NOT_AS_JSON: Final = r"/[ \t\r\n]*([^ \t\r\n{\[](.|\n)*)?/"
_ARGUMENTS: Final = frozenset(("arguments", "parameters"))
_PLAIN: Final = ("string", "number", "integer", "boolean", "null")

# For each form: what all calls begin with, one call around its arguments, what is between calls, what
# they end with. Spaces are as templates teach them: what a model has not seen it writes badly. A brace
# of its own is a word of JSON too, so that calls and an answer in JSON can begin alike.
_FORMS: Final = {
    ToolForm.TAGGED: (
        (),
        ((_TAG + '\n{"name": ',), ', "arguments": ', "}\n</tool_call>"),
        "\n",
        (),
    ),
    ToolForm.BARE: ((), (("{", '"name": '), ', "parameters": ', "}"), "; ", ()),
    ToolForm.LISTED: (("[",), (('{"name": ',), ', "arguments": ', "}"), ", ", ("]",)),
}


class Calls:
    """Calls of `names` among `tools`. Raises SchemaRefused where the form of a call is not known.

    Every tool's parameters are a grammar of their own: `$ref` is theirs.
    """

    def __init__(
        self,
        tools: tuple[dict[str, Any], ...],
        names: tuple[str, ...],
        form: ToolForm,
        specials: Mapping[str, int],
        *,
        several: bool,
    ) -> None:
        if form is ToolForm.NONE or (form is ToolForm.LISTED and _LISTED not in specials):
            raise SchemaRefused(Fault.TOOL_FORM_UNKNOWN)
        self._functions = [f for f in map(_function, tools) if f.get("name") in names]
        self._form = form
        # What separates several is not settled among templates of the bare form.
        self._many = _MOST_CALLS if several and form is not ToolForm.BARE else 1
        mark = f"<[{specials[_LISTED]}]> " if form is ToolForm.LISTED else ""
        start, _, joint, end = _FORMS[form]
        more = f"({_quoted(joint)} call){{0,{self._many - 1}}}" if self._many > 1 else ""
        self._calls = f"calls: {mark}{_quoted(*start)} call {more} {_quoted(*end)}"

    def only(self) -> str:
        """Return the grammar of nothing but calls."""
        return self._whole("start: calls", self._calls)

    def or_json(self, schema: dict[str, Any]) -> str:
        """Return the grammar of calls, or of JSON of a schema that was checked."""
        answer = {"name": "answer", "json_schema": {**schema, "x-guidance": JSON_OPTIONS}}
        return self._whole("start: calls | @answer", self._calls, grammars=[answer])

    def or_text(self) -> str:
        """Return the grammar of any text in which what opens a call must become one."""
        if self._form is not ToolForm.TAGGED:
            return self._whole("start: calls | TEXT", f"TEXT: {_NOT_AS_JSON}", self._calls)
        start = "start: tagged* TEXT" if self._many > 1 else "start: TEXT | tagged"
        opened = f"opened[lazy]: TEXT {_quoted(_TAG)}"
        free = (f"TEXT: {_ANY_TEXT}", opened, "tagged: opened call")
        return self._whole(start, *free, opening=_TAG)

    def _whole(
        self, *rules: str, grammars: list[dict[str, Any]] | None = None, opening: str = ""
    ) -> str:
        """Return `rules` with that of a call, less its `opening`: one alternative for each tool."""
        _, (before, between, after), _, _ = _FORMS[self._form]
        first = _quoted(before[0].removeprefix(opening), *before[1:])
        calls = " | ".join(f"call{at}" for at in range(len(self._functions)))
        lines = ["%llguidance {}", *rules, f"call: {calls}"]
        arguments: list[dict[str, Any]] = []
        for at, function in enumerate(self._functions):
            name = _quoted(json.dumps(str(function["name"])))
            rest = f"{name} {_quoted(between)} @args{at} {_quoted(after)}"
            lines.append(f"call{at}: {first} {rest}")
            arguments.append({"name": f"args{at}", "json_schema": _arguments(function)})
        whole = {"name": "whole", "lark_grammar": "\n".join(lines)}
        return json.dumps({"grammars": [whole, *arguments, *(grammars or [])]})


def parameters_of(
    tools: tuple[dict[str, Any], ...], names: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Return the parameters of the tools called `names`, checked. Raises SchemaRefused."""
    return [_parameters(f) for f in map(_function, tools) if f.get("name") in names]


def may_look_like_a_call(schema: object) -> bool:
    """Whether JSON of `schema` may be an object with a `name` and arguments, or a list (of them).

    True where that is not plain to see: for anything but a `type` that is no object, or an object
    whose properties are listed and not both of them among them.
    """
    if not isinstance(schema, dict):
        return True
    kinds = schema.get("type")
    named = set(kinds if isinstance(kinds, list) else [kinds])
    if named <= set(_PLAIN):
        return False
    listed = schema.get("properties", {}).keys()
    return (
        not named <= {*_PLAIN, "object"}
        or schema.get("additionalProperties") is not False
        or ("name" in listed and bool(_ARGUMENTS & listed))
        or bool({"patternProperties", "$ref", "allOf", "anyOf", "oneOf"} & schema.keys())
    )


def _function(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    found = tool.get("function")
    return found if isinstance(found, Mapping) else {}


def _quoted(*texts: str) -> str:
    return " ".join(json.dumps(text) for text in texts if text)


def _arguments(function: Mapping[str, Any]) -> dict[str, Any]:
    return {**_parameters(function), "x-guidance": JSON_OPTIONS}


def _parameters(function: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool's parameters as the schema of an object, which arguments always are."""
    parameters = dict(function.get("parameters") or {})
    if parameters.setdefault("type", "object") != "object":
        raise SchemaRefused(Fault.BAD_SCHEMA)
    check_schema(parameters)
    return parameters

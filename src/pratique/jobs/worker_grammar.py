"""Answers held to a grammar: JSON of a client's schema, or calls of the tools it offers.

A schema is checked and bounded first (worker_schema), then compiled with limits on the library's own
work; the grammar's mask is looked at once, so that one that can never begin is refused at the start.
The library's words, which quote the schema, go nowhere: what is wrong becomes a fault.
"""

import json
import threading
import weakref
from collections.abc import Mapping
from typing import Any, Final

import llguidance
import numpy as np
from numpy.typing import NDArray

from pratique.core.wire import Fault, Generate, ToolForm
from pratique.jobs.worker_schema import SchemaRefused, check_schema
from pratique.jobs.worker_vocabulary import Vocabulary

# Between JSON's tokens one space, or a new line with its indentation: no room to ramble.
_OPTIONS: Final[Any] = {  # llguidance.JsonCompileOptions, which exists for type checkers alone
    "lenient": False,
    "coerce_one_of": False,
    "whitespace_pattern": r"( |\n {0,20})",
}
_MOST_CALLS: Final = 16
_LISTED: Final = "[TOOL_CALLS]"
_TAG: Final = "<tool_call>"


def _limits() -> llguidance.LLParserLimits:
    """The most work for one grammar: some 10 ms to start and 7 ms a token, at the library's own rates."""
    return llguidance.LLParserLimits(
        max_items_in_row=10_000,
        initial_lexer_fuel=500_000,
        step_lexer_fuel=100_000,
        step_max_items=50_000,
        max_lexer_states=10_000,
        max_grammar_size=100_000,
        precompute_large_lexemes=False,
        verbose_errors=False,
    )


class GrammarMask:
    """One answer's place in its grammar (see worker_sampling.TokenMask)."""

    def __init__(self, matcher: llguidance.LLMatcher, held: tuple[int, ...]) -> None:
        self._matcher = matcher
        self._held = held
        self.failed = False

    def allowed(self, size: int) -> NDArray[np.bool_]:
        """Return which of `size` ids may come next; none, and `failed`, when the limits are reached."""
        found = np.zeros(size, dtype=np.bool_)
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        if self._matcher.is_error():
            self.failed = True
            return found
        told = np.unpackbits(bits, bitorder="little")[:size].view(np.bool_)
        found[: len(told)] = told
        if self._held and found.any():
            kept = found.copy()
            kept[[token for token in self._held if token < size]] = False
            found = kept if kept.any() else found
        self.failed = not found.any()
        return found

    def accept(self, token: int) -> bool:
        """Go on with `token`; return whether nothing can follow. Sets `failed` on what was not allowed."""
        if not self._matcher.consume_token(token):
            self.failed = True
        return bool(self._matcher.is_stopped())


class Grammars:
    """Makes masks for one model. Bounds how many grammars there are at a time."""

    def __init__(
        self,
        tokenizer: Any,  # noqa: ANN401 - transformers
        *,
        rows: int,
        ends: frozenset[int],
        form: ToolForm,
        most: int,
    ) -> None:
        self._tokenizer = tokenizer
        self._rows = rows
        self._ends = ends
        self._form = form
        self._free = threading.Semaphore(most)
        self._vocabulary: Vocabulary | None = None
        self._hopeless = False

    def masks(self, request: Generate) -> tuple[GrammarMask, ...]:
        """Return a mask for each choice of `request`. Waits while too many grammars are in use.

        Raises SchemaRefused. The place is free again when the last mask is forgotten.
        """
        vocabulary = self._known()
        grammar = self._grammar(request, vocabulary)
        self._free.acquire()
        try:
            matcher = self._compiled(grammar, vocabulary)
            held = tuple(self._ends) if request.ignore_eos else ()
            masks = tuple(GrammarMask(matcher.deep_copy(), held) for _ in range(request.n))
        except BaseException:
            self._free.release()
            raise
        _when_all_are_gone(masks, self._free)
        return masks

    def _known(self) -> Vocabulary:
        """The vocabulary, worked out when it is first needed."""
        if self._vocabulary is None and not self._hopeless:
            try:
                self._vocabulary = Vocabulary(self._tokenizer, rows=self._rows, ends=self._ends)
            except Exception:  # noqa: BLE001 - NotByText, or a tokenizer that is not as the library expects
                self._hopeless = True
        if self._vocabulary is None:
            raise SchemaRefused(Fault.SCHEMA_UNSUPPORTED_HERE)
        return self._vocabulary

    def _grammar(self, request: Generate, vocabulary: Vocabulary) -> str:
        if request.schema_ is not None:
            return _of_schema(request.schema_)
        names = request.must_call or request.may_call
        chosen = [tool for tool in request.tools if _function(tool).get("name") in names]
        many = _MOST_CALLS if request.several_calls else 1
        if request.may_call:
            return _of_text_with_calls(chosen, self._form, many)
        return _of_calls(chosen, self._form, vocabulary.specials, many)

    @staticmethod
    def _compiled(grammar: str, vocabulary: Vocabulary) -> llguidance.LLMatcher:
        matcher = llguidance.LLMatcher(vocabulary.tokenizer, grammar, log_level=0, limits=_limits())
        if matcher.is_error() or matcher.get_grammar_warnings():
            raise SchemaRefused(Fault.BAD_SCHEMA)
        first = np.unpackbits(
            np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8), bitorder="little"
        )
        if matcher.is_error() or not first[: vocabulary.rows].any():
            raise SchemaRefused(Fault.BAD_SCHEMA)
        return matcher


def _when_all_are_gone(masks: tuple[GrammarMask, ...], free: threading.Semaphore) -> None:
    left = [len(masks)]

    def one_less() -> None:
        left[0] -= 1
        if not left[0]:
            free.release()

    for mask in masks:
        weakref.finalize(mask, one_less).atexit = False


def _of_schema(schema: dict[str, Any]) -> str:
    check_schema(schema)
    try:
        return llguidance.LLMatcher.grammar_from_json_schema(schema, overrides=_OPTIONS)
    except Exception as error:  # what the library thinks of a client's schema
        raise SchemaRefused(Fault.BAD_SCHEMA) from error


def _function(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    found = tool.get("function")
    return found if isinstance(found, Mapping) else {}


# For each form: what all calls begin with, one call around its arguments, what is between calls, what
# they end with. Spaces are as templates teach them: what a model has not seen it writes badly.
_FORMS: Final = {
    ToolForm.TAGGED: (
        "",
        (_TAG + '\n{"name": ', ', "arguments": ', "}\n</tool_call>"),
        "\n",
        "",
    ),
    ToolForm.BARE: ("", ('{"name": ', ', "parameters": ', "}"), "; ", ""),
    ToolForm.LISTED: ("[", ('{"name": ', ', "arguments": ', "}"), ", ", "]"),
}


def _of_calls(
    tools: list[dict[str, Any]], form: ToolForm, specials: Mapping[str, int], many: int
) -> str:
    """Return the grammar of calls. Every tool's parameters are a grammar of their own: `$ref` is theirs."""
    if form is ToolForm.NONE or (form is ToolForm.LISTED and _LISTED not in specials):
        raise SchemaRefused(Fault.TOOL_FORM_UNKNOWN)
    start, (before, between, after), joint, end = _FORMS[form]
    if form is ToolForm.BARE:
        many = 1  # what separates several is not settled among templates
    mark = f"<[{specials[_LISTED]}]> " if form is ToolForm.LISTED else ""
    start = f"start: {mark}{_quoted(start)} call {_repeated(joint, many)} {_quoted(end)}"
    return _whole([start], tools, before, between, after)


def _of_text_with_calls(tools: list[dict[str, Any]], form: ToolForm, many: int) -> str:
    """Return the grammar of any text in which what opens a call must become one."""
    if form is not ToolForm.TAGGED:
        raise SchemaRefused(
            Fault.TOOL_FORM_UNKNOWN if form is ToolForm.NONE else Fault.STRICT_NEEDS_CHOICE
        )
    _, (before, between, after), _, _ = _FORMS[form]
    start = "start: tagged* TEXT" if many > 1 else "start: TEXT | tagged"
    free = ["TEXT: /(.|\\n)*/", f"opened[lazy]: TEXT {_quoted(_TAG)}", "tagged: opened call"]
    return _whole([start, *free], tools, before.removeprefix(_TAG), between, after)


def _whole(
    rules: list[str], tools: list[dict[str, Any]], before: str, between: str, after: str
) -> str:
    """Return `rules` with that of a call: one alternative for each tool."""
    calls = " | ".join(f"call{at}" for at in range(len(tools)))
    rules = ["%llguidance {}", *rules, f"call: {calls}"]
    grammars: list[dict[str, Any]] = []
    for at, tool in enumerate(tools):
        function = _function(tool)
        name = json.dumps(json.dumps(str(function["name"])))
        rules.append(
            f"call{at}: {_quoted(before)} {name} {_quoted(between)} @args{at} {_quoted(after)}"
        )
        grammars.append({"name": f"args{at}", "json_schema": _arguments(function)})
    return json.dumps(
        {"grammars": [{"name": "calls", "lark_grammar": "\n".join(rules)}, *grammars]}
    )


def _quoted(text: str) -> str:
    return json.dumps(text) if text else ""


def _repeated(joint: str, many: int) -> str:
    return f"({_quoted(joint)} call){{0,{many - 1}}}" if many > 1 else ""


def _arguments(function: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool's parameters as the schema of an object, which arguments always are."""
    parameters = dict(function.get("parameters") or {})
    if parameters.setdefault("type", "object") != "object":
        raise SchemaRefused(Fault.BAD_SCHEMA)
    check_schema(parameters)
    return {**parameters, "x-guidance": _OPTIONS}

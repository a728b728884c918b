"""Answers held to a grammar: JSON of a client's schema, or calls of the tools it offers.

A schema is checked and bounded first (worker_schema), and takes its part of the memory that grammars may
come to (worker_schema_cost, worker_room). Then it is compiled with limits on the library's own work; the
grammar's mask is looked at once, so that one that can never begin is refused at the start.
The library's words, which quote the schema, go nowhere: what is wrong becomes a fault.
"""

from typing import Any, Final

import llguidance
import numpy as np
from numpy.typing import NDArray

from pratique.core.wire import Fault, Generate, ToolForm
from pratique.fit.memory import GRAMMAR, GRAMMAR_SHARE
from pratique.jobs.worker_calls import (
    JSON_OPTIONS,
    Calls,
    may_look_like_a_call,
    parameters_of,
)
from pratique.jobs.worker_room import Room
from pratique.jobs.worker_schema import SchemaRefused, check_schema
from pratique.jobs.worker_schema_cost import FEWEST_STATES, cost_of
from pratique.jobs.worker_vocabulary import Vocabulary

# How the library begins when its limits are reached; its other words are about the schema.
_TOO_LARGE: Final = ("grammar size", "initial lexer configuration")


def _limits(states: int) -> llguidance.LLParserLimits:
    """The most work for one grammar: some 10 ms to start and 7 ms a token, at the library's own rates."""
    return llguidance.LLParserLimits(
        max_items_in_row=10_000,
        initial_lexer_fuel=500_000,
        step_lexer_fuel=100_000,
        step_max_items=50_000,
        max_lexer_states=states,
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
    """Makes masks for one model. All of them together stay within `room` bytes.

    `context` is the longest answer, in tokens.
    """

    def __init__(
        self,
        tokenizer: Any,  # noqa: ANN401 - transformers
        *,
        rows: int,
        ends: frozenset[int],
        form: ToolForm,
        room: int,
        context: int,
    ) -> None:
        self._tokenizer = tokenizer
        self._rows = rows
        self._ends = ends
        self._form = form
        self._room = Room(room)
        self._context = context
        self._vocabulary: Vocabulary | None = None
        self._hopeless = False

    def masks(self, request: Generate) -> tuple[GrammarMask, ...]:
        """Return a mask for each choice of `request`. Waits while others have the memory it may need.

        Raises SchemaRefused. The memory is free again when the last mask is forgotten.
        """
        vocabulary = self._known(request)
        part, states = self._part(request)
        self._room.take(part)
        try:
            matcher = self._matcher(request, vocabulary, _limits(states))
            held = tuple(self._ends) if request.ignore_eos else ()
            masks = tuple(GrammarMask(matcher.deep_copy(), held) for _ in range(request.n))
        except BaseException:
            self._room.give(part)
            raise
        self._room.give_after(masks, part)
        return masks

    def _part(self, request: Generate) -> tuple[int, int]:
        """Return the bytes that `request` may come to, and the lexer states within them.

        Raises SchemaRefused where so much is never free: of the tools, if the schema alone would fit.
        """
        own, tools = _schemas(request)
        part, states = self._shared(request, own + tools)
        if states < FEWEST_STATES:
            fits = not own or self._shared(request, own)[1] >= FEWEST_STATES
            raise SchemaRefused(Fault.SCHEMA_TOO_BIG, of_tools=fits)
        return part, states

    def _shared(self, request: Generate, schemas: list[dict[str, Any]]) -> tuple[int, int]:
        answer = min(request.max_tokens or self._context, self._context)
        cost = cost_of(schemas, answer=answer)
        most = min(GRAMMAR + request.n * GRAMMAR_SHARE, self._room.size)
        fixed = cost.compiled + request.n * answer * cost.token
        states = min(cost.states, (most - fixed) // (request.n * cost.state))
        return fixed + request.n * states * cost.state, states

    def _known(self, request: Generate) -> Vocabulary:
        """The vocabulary, worked out when it is first needed."""
        if self._vocabulary is None and not self._hopeless:
            try:
                self._vocabulary = Vocabulary(self._tokenizer, rows=self._rows, ends=self._ends)
            except Exception:  # noqa: BLE001 - NotByText, or a tokenizer that is not as the library expects
                self._hopeless = True
        if self._vocabulary is None:
            raise SchemaRefused(Fault.SCHEMA_UNSUPPORTED_HERE, of_tools=request.schema_ is None)
        return self._vocabulary

    def _matcher(
        self, request: Generate, vocabulary: Vocabulary, limits: llguidance.LLParserLimits
    ) -> llguidance.LLMatcher:
        """Compile what holds `request`. A refusal says which of schema and tools is at fault.

        A schema that tools stand beside is compiled by itself first: what is wrong with it is wrong
        even where the answer must be a call.
        """
        if request.schema_ is not None:
            alone = self._compiled(_of_schema(request.schema_), vocabulary, limits)
            if not request.must_call and not request.may_call:
                return alone
            self._distinct(request)
        try:
            return self._compiled(self._of_tools(request, vocabulary), vocabulary, limits)
        except SchemaRefused as refused:
            refused.of_tools = True
            raise

    def _distinct(self, request: Generate) -> None:
        """Raise SchemaRefused where an answer of the schema could be read as a call."""
        marked = self._form in {ToolForm.NONE, ToolForm.TAGGED}
        if request.may_call and not marked and may_look_like_a_call(request.schema_):
            raise SchemaRefused(Fault.SCHEMA_LIKE_CALL)

    def _of_tools(self, request: Generate, vocabulary: Vocabulary) -> str:
        calls = Calls(
            request.tools,
            request.must_call or request.may_call,
            self._form,
            vocabulary.specials,
            several=request.several_calls,
        )
        if request.must_call:
            return calls.only()
        return calls.or_text() if request.schema_ is None else calls.or_json(request.schema_)

    @staticmethod
    def _compiled(
        grammar: str, vocabulary: Vocabulary, limits: llguidance.LLParserLimits
    ) -> llguidance.LLMatcher:
        matcher = llguidance.LLMatcher(vocabulary.tokenizer, grammar, log_level=0, limits=limits)
        if matcher.is_error() or matcher.get_grammar_warnings():
            large = matcher.get_error().startswith(_TOO_LARGE)
            raise SchemaRefused(Fault.SCHEMA_TOO_BIG if large else Fault.BAD_SCHEMA)
        first = np.unpackbits(
            np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8), bitorder="little"
        )
        if matcher.is_error() or not first[: vocabulary.rows].any():
            raise SchemaRefused(Fault.BAD_SCHEMA)
        return matcher


def _schemas(request: Generate) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the schema of `request`, if any, and those of its tools, checked. Raises SchemaRefused."""
    own = [] if request.schema_ is None else [request.schema_]
    for schema in own:
        check_schema(schema)
    try:
        return own, parameters_of(request.tools, request.must_call or request.may_call)
    except SchemaRefused as refused:
        refused.of_tools = True
        raise


def _of_schema(schema: dict[str, Any]) -> str:
    check_schema(schema)
    try:
        return llguidance.LLMatcher.grammar_from_json_schema(schema, overrides=JSON_OPTIONS)
    except Exception as error:  # what the library thinks of a client's schema
        raise SchemaRefused(Fault.BAD_SCHEMA) from error

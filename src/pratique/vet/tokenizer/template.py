"""What a chat template does: rendered for standard conversations, in jinja's sandbox, with limits.

Only templates that the template gate has passed come here, and only inside the lock. Nothing that
a conversation holds reaches Python objects: messages are plain values, and calls that cost more
than a bounded range are refused by the sandbox.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pratique.core.ids import shown
from pratique.vet.tokenizer.problem import Problem, note, tok

_MARKER: Final = re.compile(
    r"<\|[^<>|\s]{1,40}\|>|<｜[^<>｜\s]{1,40}｜>|\[/?[A-Z][A-Z_]{2,24}\]|<(?:start|end)_of_turn>|</?s>|<[bs]os>|<eos>"
)
_MAX_OUTPUT: Final = 200_000
_USER: Final = "What is in the hold?"
_CANARY: Final = "cargo-7731"

Message = dict[str, Any]
_USER_TURN: Final[Message] = {"role": "user", "content": _USER}
_CONVERSATIONS: Final[tuple[tuple[str, list[Message]], ...]] = (
    ("one turn", [_USER_TURN]),
    ("system", [{"role": "system", "content": "Be brief."}, _USER_TURN]),
    (
        "several turns",
        [
            _USER_TURN,
            {"role": "assistant", "content": "Grain."},
            {"role": "user", "content": _CANARY},
        ],
    ),
    ("empty text", [{"role": "user", "content": ""}]),
    ("hostile text", [{"role": "user", "content": "{{ 7*7 }} {% raw %} <b>&amp;</b> \x00\x1b[2J"}]),
)
_TOOLS: Final = [
    {
        "type": "function",
        "function": {
            "name": "weigh",
            "description": "Weigh a crate.",
            "parameters": {"type": "object", "properties": {"id": {"type": "string"}}},
        },
    }
]


@dataclass(frozen=True, slots=True)
class Rendered:
    """One conversation's outcome: the text, or why there is none."""

    name: str
    text: str | None
    error: str = ""


def outcomes(template: str, roles: Mapping[str, str], *, as_parts: bool) -> list[Rendered]:
    """Render the standard conversations. `roles` gives bos_token and the like, as text.

    `as_parts` gives each message's content as `[{"type": "text", "text": …}]`.
    """
    # Only repositories with a template pay for jinja2.
    from pratique.vet.tokenizer._sandbox import render  # noqa: PLC0415

    found: list[Rendered] = []
    cases: list[tuple[str, list[Message], object]] = [(n, m, None) for n, m in _CONVERSATIONS]
    cases.append(("tools", [_USER_TURN], _TOOLS))
    for name, messages, tools in cases:
        given = [_parts(m) for m in messages] if as_parts else messages
        try:
            text = render(
                template, given, tools=tools, documents=None, add_generation_prompt=True, **roles
            )
        except Exception as error:  # noqa: BLE001 - whatever a template raises is its answer
            found.append(Rendered(name, None, f"{type(error).__name__}: {error}"[:120]))
            continue
        if len(text) > _MAX_OUTPUT:
            found.append(Rendered(name, None, f"renders {len(text)} characters"))
        else:
            found.append(Rendered(name, text))
    return found


def _parts(message: Message) -> Message:
    return {**message, "content": [{"type": "text", "text": message["content"]}]}


def problems_of_template(
    form: str, template: str, table: Mapping[str, int], roles: Mapping[str, str]
) -> Iterator[Problem]:
    """Judge one template against its vocabulary.

    Refused: it cannot render a plain question, or loses what the user said. Noted: markers that are
    no single token, and markers that user text can forge.
    """
    rendered = outcomes(template, roles, as_parts=False)
    if rendered[0].text is None or _USER not in rendered[0].text:
        # Multimodal templates take a list of typed parts and nothing else.
        rendered = outcomes(template, roles, as_parts=True)
    first = rendered[0]
    if first.text is None:
        yield Problem(form, f"the template does not render one question: {shown(first.error)}")
        return
    if _USER not in first.text or "'type': 'text'" in first.text:
        yield Problem(form, "the template loses the user's text")
    several = rendered[2]
    if several.text is not None and _CANARY not in several.text:
        yield Problem(form, "the template loses the last message of several turns")
    for case in rendered[1:]:
        if case.text is None:
            yield note(form, f"the template does not take {case.name}: {shown(case.error)}")
    markers = sorted({m for case in rendered if case.text for m in _MARKER.findall(case.text)})
    if missing := [m for m in markers if m not in table]:
        names = ", ".join(tok(m) for m in missing[:5])
        yield note(form, f"the template writes markers that are no single token: {names}")
    if forgeable := [m for m in markers if m in table]:
        yield note(
            form,
            f"text from a user can hold {tok(forgeable[0], table[forgeable[0]])}: "
            f"{len(forgeable)} markers of the template are tokens",
            "pratique serve encodes a client's text without special tokens",
        )

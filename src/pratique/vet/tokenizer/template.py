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
_DOCUMENTS: Final = [{"title": "Manifest", "text": "Forty crates.", "content": "Forty crates."}]
# A template may name a token that this tokenizer lacks; that is a gap, not an attack.
_NO_ROLES: Final = {"bos_token": "", "eos_token": "", "pad_token": "", "unk_token": ""}
_FOREIGN_ROLE: Final = re.compile(
    r"(?i)(?:<\|?|\[|<\|im_start\|>|<\|start_header_id\|>|<start_of_turn>)\s*"
    r"(?:system|assistant|model|developer)\s*(?:\|?>|\]|<\|end_header_id\|>|<\|message\|>)?\s*\Z"
)


@dataclass(frozen=True, slots=True)
class Rendered:
    """One conversation's outcome: the text, or why there is none."""

    name: str
    text: str | None
    error: str = ""


def outcomes(
    template: str, roles: Mapping[str, str], *, as_parts: bool, with_tools: bool = False
) -> list[Rendered]:
    """Render the standard conversations. `roles` gives bos_token and the like, as text.

    `as_parts` gives each message's content as `[{"type": "text", "text": …}]`. `with_tools` gives
    every conversation tools and documents. Raises TooLong at the first that does not end.
    """
    # Only repositories with a template pay for jinja2.
    from pratique.vet.tokenizer._sandbox import TooLong, render  # noqa: PLC0415

    found: list[Rendered] = []
    given_tools, given_documents = (_TOOLS, _DOCUMENTS) if with_tools else (None, None)
    cases: list[tuple[str, list[Message], object]] = [
        (n, m, given_tools) for n, m in _CONVERSATIONS
    ]
    cases.append(("tools", [_USER_TURN], _TOOLS))
    values = _NO_ROLES | dict(roles)
    for name, messages, tools in cases:
        given = [_parts(m) for m in messages] if as_parts else messages
        try:
            text = render(
                template,
                given,
                tools=tools,
                documents=given_documents,
                add_generation_prompt=True,
                **values,
            )
        except TooLong:
            raise
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
    # Only repositories with a template pay for jinja2.
    from pratique.vet.tokenizer._sandbox import TooLong  # noqa: PLC0415

    try:
        rendered = _best(template, roles)
    except TooLong as error:
        yield Problem(form, f"the template {error}")
        return
    first = rendered[0]
    if first.text is None:
        yield Problem(form, f"the template does not render one question: {shown(first.error)}")
        return
    yield from _losses(form, first.text, rendered[2].text)
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


def _best(template: str, roles: Mapping[str, str]) -> list[Rendered]:
    """Render as the template wants it: plain text first, then typed parts, tools and documents.

    Multimodal templates take a list of typed parts and nothing else; templates for tools or documents
    (Hermes, Command R) are used with these alone.
    """
    first = outcomes(template, roles, as_parts=False)
    if _tells(first[0].text):
        return first
    parts = outcomes(template, roles, as_parts=True)
    for other in (
        parts,
        outcomes(template, roles, as_parts=False, with_tools=True),
        outcomes(template, roles, as_parts=True, with_tools=True),
    ):
        if _tells(other[0].text):
            return other
    return parts


def _tells(text: str | None) -> bool:
    """Whether a rendering holds the user's text, as text."""
    return text is not None and _USER in text and "'type': 'text'" not in text


def _losses(form: str, one: str, several: str | None) -> Iterator[Problem]:
    """What becomes of the user's text in one turn and in several."""
    if not _tells(one):
        yield Problem(form, "the template loses the user's text")
    if match := _FOREIGN_ROLE.search(one[: max(one.find(_USER), 0)][-80:]):
        marker = shown(match.group())
        yield Problem(form, f"the template puts the user's text behind another's marker {marker}")
    if several is not None and _CANARY not in several:
        yield Problem(form, "the template loses the last message of several turns")

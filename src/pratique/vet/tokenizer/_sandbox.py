"""jinja's sandbox, set up as transformers sets it up for chat templates (jinja2 is imported here)."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment


class _Generation(Extension):
    """`{% generation %}` marks the assistant's part for training; here it only passes through."""

    tags = {"generation"}  # noqa: RUF012  # jinja2's own class attribute

    def parse(self, parser: Parser) -> nodes.Node:
        """Parse the block into a plain scope."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


def render(template: str, messages: Sequence[Mapping[str, Any]], **values: object) -> str:
    """Render a chat template. Raises jinja2.TemplateError and whatever the template provokes."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise
    # The clock stands still: the same template gives the same text in every vetting.
    environment.globals["strftime_now"] = _today
    return environment.from_string(template).render(messages=list(messages), **values)


def _raise(message: object) -> str:
    raise TemplateError(str(message))


def _today(form: object) -> str:
    return "2026-01-01" if "%" in str(form) else ""


def _tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Give what transformers' filter gives (no HTML escapes); the signature is what templates call."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )

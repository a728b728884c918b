"""The Jinja dialect of transformers' chat templates, for parsing only (jinja2 is imported here)."""

import functools

from jinja2 import nodes
from jinja2.environment import Environment
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser


class _Generation(Extension):
    """`{% generation %}…{% endgeneration %}` marks assistant text; it emits its body unchanged."""

    tags = {"generation"}  # noqa: RUF012  # jinja2's own class attribute, read by its parser

    def parse(self, parser: Parser) -> nodes.Node:
        """Parse the block into a plain scope."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


@functools.cache
def environment() -> Environment:
    """An environment whose `parse` reads the dialect. Nothing is ever rendered with it."""
    return Environment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation])

"""jinja's sandbox, set up as transformers sets it up for chat templates (jinja2 is imported here)."""

import json
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

_MAX_STEPS: Final = 50_000
_MAX_CPU_SECONDS: Final = 5.0
_MEMORY: Final = 256 * 2**20
_UNMEASURED: Final = 2 * 2**30
_TICK: Final = "_pratique_tick"


class TooLong(Exception):
    """A template used up what one rendering may cost."""


class _Budget:
    """Counts what a rendering runs, and its time: nested loops end, whatever they do."""

    def __init__(self) -> None:
        self.steps = 0
        self.until = time.process_time() + _MAX_CPU_SECONDS

    def tick(self) -> str:
        """Count one round. Raises TooLong."""
        self.steps += 1
        if self.steps > _MAX_STEPS or time.process_time() > self.until:
            raise TooLong(f"does not end within {_MAX_STEPS} steps and {_MAX_CPU_SECONDS:g} s")
        return ""


@contextmanager
def _little_memory() -> Iterator[None]:
    """Let the address space grow by _MEMORY at most, so that text which doubles itself ends early."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * resource.getpagesize() + _MEMORY
    except OSError:
        limit = _UNMEASURED
    if soft != resource.RLIM_INFINITY:
        limit = min(limit, soft)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    except (OSError, ValueError):
        yield  # the lock's own limit holds
        return
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _meter(tree: nodes.Template, environment: Environment) -> None:
    """Let every loop round and every macro call count itself."""
    metered: list[nodes.For | nodes.Macro | nodes.CallBlock] = [
        *tree.find_all(nodes.For),
        *tree.find_all(nodes.Macro),
        *tree.find_all(nodes.CallBlock),
    ]
    for node in metered:
        call = nodes.Call(nodes.Name(_TICK, "load"), [], [], None, None)
        node.body.insert(0, nodes.ExprStmt(call))
    for node in metered:
        node.body[0].set_lineno(node.lineno)
        node.body[0].set_environment(environment)


class _Generation(Extension):
    """`{% generation %}` marks the assistant's part for training; here it only passes through."""

    tags = {"generation"}  # noqa: RUF012  # jinja2's own class attribute

    def parse(self, parser: Parser) -> nodes.Node:
        """Parse the block into a plain scope."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


def render(template: str, messages: Sequence[Mapping[str, Any]], **values: object) -> str:
    """Render a chat template. Raises TooLong, jinja2.TemplateError and what the template provokes."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise
    # The clock stands still: the same template gives the same text in every vetting.
    environment.globals["strftime_now"] = _today
    environment.globals[_TICK] = _Budget().tick
    tree = environment.parse(template)
    _meter(tree, environment)
    compiled = environment.from_string(tree)
    with _little_memory():
        try:
            return compiled.render(messages=list(messages), **values)
        except MemoryError:
            raise TooLong(f"needs more than {_MEMORY // 2**20} MiB of memory") from None


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

"""From a request to what can run: its prompt as tokens, its longest answer, the grammar that holds it.

What can never run is refused here, before it waits for room.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from pratique.core.load import Limits
from pratique.core.wire import Failed, Fault, Generate
from pratique.jobs.worker_prompts import Prompts, Refused
from pratique.jobs.worker_sampling import TokenMask
from pratique.jobs.worker_schema import SchemaRefused

Masks = Callable[[Generate], tuple[TokenMask, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A request whose prompt is tokens already. `answer` is the most tokens it may get."""

    request: Generate
    prompt: list[int]
    answer: int
    masks: tuple[TokenMask | None, ...] = ()

    @property
    def columns(self) -> int:
        """Cache columns that one choice may come to need."""
        return len(self.prompt) + self.answer


def admit(
    request: Generate, prompts: Prompts, limits: Limits, masks: Masks | None = None
) -> Job | Failed:
    """Turn a request into a job, or say why it can never run."""
    try:
        prompt = prompts.of_generate(request)
    except Refused as refused:
        return Failed(id=request.id, fault=refused.fault, got=refused.got, limit=refused.limit)
    room = limits.context - len(prompt)
    answer = min(request.max_tokens or room, room)
    if request.max_tokens is not None and request.max_tokens > room:
        return Failed(
            id=request.id,
            fault=Fault.PROMPT_TOO_LONG,
            got=len(prompt) + request.max_tokens,
            limit=limits.context,
        )
    job = Job(request=request, prompt=prompt, answer=answer)
    if request.n > limits.rows:
        return Failed(id=request.id, fault=Fault.TOO_BIG, got=request.n, limit=limits.rows)
    if request.n > 1 and request.n * job.columns > limits.kv_tokens:
        return Failed(
            id=request.id,
            fault=Fault.TOO_BIG,
            got=request.n * job.columns,
            limit=limits.kv_tokens,
        )
    return _held_to_grammar(job, masks) if request.constrained else job


def _held_to_grammar(job: Job, masks: Masks | None) -> Job | Failed:
    request = job.request
    if masks is None:
        return Failed(
            id=request.id,
            fault=Fault.SCHEMA_UNSUPPORTED_HERE,
            of_tools=request.schema_ is None,
        )
    try:
        return replace(job, masks=masks(request))
    except SchemaRefused as refused:
        return Failed(
            id=request.id,
            fault=refused.fault,
            got=refused.got,
            limit=refused.limit,
            of_tools=refused.of_tools,
        )

"""Continuous batching: requests join the running batch when they come and leave when they are done.

Each turn of the loop takes what has arrived, computes a bounded piece of waiting prompts, and then
one token for everybody. Requests that arrive together run together, whatever their settings: every
sequence draws for itself (worker_sampling). A request starts only when its longest possible answer
fits the cache, so that nothing that has started is ever thrown out for space.
"""

import queue
from collections import deque
from typing import Any, Final

import torch
from pydantic import BaseModel

from pratique.core.load import Limits
from pratique.core.wire import (
    Beat,
    Cancel,
    Failed,
    Fault,
    Finish,
    ScoredToken,
    Started,
    Stop,
)
from pratique.jobs.worker_batch import Lanes
from pratique.jobs.worker_cache import COMPACT_COLUMNS, grown
from pratique.jobs.worker_channel import Channel
from pratique.jobs.worker_job import Job
from pratique.jobs.worker_memory import is_out_of_memory, resident
from pratique.jobs.worker_prefix import Found
from pratique.jobs.worker_prompts import Prompts
from pratique.jobs.worker_row import Row
from pratique.jobs.worker_sampling import Defaults, Drawer, draw
from pratique.jobs.worker_scores import score_rows
from pratique.jobs.worker_text import TextStream

_BEAT_STEPS: Final = 64
_PASS_TOKENS: Final = 32
"""A pass of its own costs a prompt about as much as so many tokens: no more padding is computed to spare it."""


Inbox = queue.SimpleQueue[Job | Cancel | Stop]


class Engine:
    """Runs until told to stop or the channel closes. One thread; talks through `channel`."""

    def __init__(
        self,
        lanes: Lanes,
        prompts: Prompts,
        limits: Limits,
        channel: Channel,
        *,
        defaults: Defaults,
        ends: frozenset[int],
    ) -> None:
        self._lanes = lanes
        self._prompts = prompts
        self._limits = limits
        self._channel = channel
        self._defaults = defaults
        self._ends = ends
        self.inbox: Inbox = queue.SimpleQueue()
        self._waiting: deque[Job] = deque()
        self._rows: list[Row] = []
        self._staged: Any = None
        self._staged_jobs: list[Job] = []
        self._cancelled: set[int] = set()
        self._half = False
        self._out: list[BaseModel] = []
        self._steps = 0
        self._stopping = False

    def run(self) -> None:
        """Serve until a Stop was received and everything that ran is finished."""
        with torch.inference_mode():
            while self._take():
                self._turn()
                self._flush()
        self._flush()

    # --- one turn -------------------------------------------------------------------------

    def _take(self) -> bool:
        """Take what has arrived; wait if there is nothing else to do. False: stop."""
        while True:
            idle = not (self._rows or self._waiting or self._staged)
            if idle and self._stopping:
                return False
            if idle:
                self._beat()
                self._flush()
            try:
                item = self.inbox.get(block=idle)
            except queue.Empty:
                return True
            self._receive(item)

    def _receive(self, item: Job | Cancel | Stop) -> None:
        match item:
            case Stop():
                self._stopping = True
            case Cancel(id=number):
                self._cancel(number)
            case Job() if self._stopping or len(self._waiting) >= self._limits.waiting:
                self._fail(item, Fault.BUSY)
            case Job():
                self._waiting.append(item)

    def _turn(self) -> None:
        if self._staged is None:
            self._stage()
        if self._staged is not None:
            self._guarded(self._advance, self._drop_staged)
        if self._rows:
            self._guarded(self._step, self._drop_newest)
            self._steps += 1
            if self._steps % _BEAT_STEPS == 0:
                self._beat()

    def _guarded(self, work: Any, give_up: Any) -> None:  # noqa: ANN401 - two bound methods
        """Out of memory costs a request, not the worker; anything else ends the worker."""
        try:
            work()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            self._lanes.forget()
            give_up()

    # --- prompts ----------------------------------------------------------------------------

    def _stage(self) -> None:
        """Choose waiting requests, oldest first, that fit and whose prompts go well together."""
        chosen: list[Job] = []
        known: list[Found | None] = []
        while self._waiting and self._has_room(chosen, job := self._waiting[0]):
            found = self._lanes.find(job.request.scope, job.prompt)
            if chosen and not self._go_together([*chosen, job], [*known, found]):
                break
            chosen.append(self._waiting.popleft())
            known.append(found)
        if chosen:
            self._staged_jobs = chosen
            self._staged = self._lanes.prefill([job.prompt for job in chosen], known)

    def _has_room(self, chosen: list[Job], job: Job) -> bool:
        """Whether the cache holds the longest answers of all who run, are chosen, and this one."""
        if not self._rows and not chosen:
            return True  # `admit` has seen to it that a request fits alone
        limits = self._limits
        rows = len(self._rows) + job.request.n + sum(other.request.n for other in chosen)
        running = [row.job.columns for row in self._rows]
        columns = max([job.columns, *running, *(other.columns for other in chosen)])
        return rows <= limits.rows and rows * grown(columns + COMPACT_COLUMNS) <= limits.kv_tokens

    def _go_together(self, jobs: list[Job], known: list[Found | None]) -> bool:
        """Whether prompts, less what is known of them, are one turn's work and little of it padding."""
        limits = self._limits
        lengths = [len(job.prompt) for job in jobs]
        fresh = [
            length - (found.tokens if found else 0)
            for length, found in zip(lengths, known, strict=True)
        ]
        padded = max(fresh) * len(fresh)
        held = max(lengths) * len(lengths)
        return (
            padded <= limits.prefill_tokens
            and padded - sum(fresh) <= _PASS_TOKENS * (len(fresh) - 1)
            and held <= max(limits.context, limits.prefill_tokens)
        )

    def _advance(self) -> None:
        logits = self._staged.advance(self._limits.prefill_tokens)
        if logits is None:
            return
        for source, job in enumerate(self._staged_jobs):
            if job.request.id not in self._cancelled:
                self._begin(source, job, logits[source])
        self._unstage()

    def _begin(self, source: int, job: Job, logits: torch.Tensor) -> None:
        cached = self._staged.cached[source]
        self._out.append(
            Started(id=job.request.id, prompt_tokens=len(job.prompt), cached_tokens=cached)
        )
        fresh = [self._row(job, index) for index in range(job.request.n)]
        first = logits.expand(len(fresh), -1).clone()
        for row, done in zip(
            fresh, self._accept_all(fresh, *self._draw(first, fresh)), strict=True
        ):
            if not done:
                self._lanes.join(self._staged, source)
                self._rows.append(row)
        self._lanes.keep(self._staged, source, job.request.scope)

    def _unstage(self) -> None:
        self._staged, self._staged_jobs = None, []
        self._cancelled.clear()

    def _row(self, job: Job, index: int) -> Row:
        request = job.request
        mask = job.masks[index] if job.masks else None
        return Row(
            job=job,
            index=index,
            drawer=Drawer(request.sampling, self._defaults, job.prompt, index=index, mask=mask),
            text=TextStream(
                self._prompts.decode,
                stops=request.stop,
                eager=request.stream or request.logprobs is not None,  # scores say where they begin
            ),
        )

    # --- tokens -----------------------------------------------------------------------------

    def _step(self) -> None:
        logits = self._lanes.step([row.newest for row in self._rows])
        drawn = self._draw(logits, self._rows)
        self._half = True
        ended = self._accept_all(self._rows, *drawn)
        for at in reversed([at for at, done in enumerate(ended) if done]):
            self._leave(at)
        self._half = False

    def _draw(
        self, logits: torch.Tensor, rows: list[Row]
    ) -> tuple[list[int], dict[int, ScoredToken]]:
        """Draw a token for each row, and score those that were asked for."""
        asked = {
            at: row.job.request.logprobs
            for at, row in enumerate(rows)
            if row.job.request.logprobs is not None
        }
        raw = {at: logits[at].clone() for at in asked}
        tokens = draw(logits, [row.drawer for row in rows])
        return tokens, score_rows(raw, asked, tokens, self._prompts.piece)

    def _accept_all(
        self, rows: list[Row], tokens: list[int], scores: dict[int, ScoredToken]
    ) -> list[bool]:
        """Give each row its token and say which rows are complete."""
        for at, scored in scores.items():
            rows[at].note(scored)
        return [self._accept(row, token) for row, token in zip(rows, tokens, strict=True)]

    def _accept(self, row: Row, token: int) -> bool:
        request = row.job.request
        row.newest = token
        row.count += 1
        row.drawer.note(token)
        mask = row.drawer.mask
        # An end token is the grammar's to allow, too: where nothing is allowed, a draw gives any token.
        complete = mask is not None and mask.accept(token)
        if mask is not None and mask.failed:
            return self._lose(row)
        ended = token in self._ends and not request.ignore_eos
        if not ended:
            row.unsent += row.text.push(token)
        finish: Finish | None = None
        if ended or complete or row.text.stopped:
            finish = Finish.STOP
        elif row.count >= row.job.answer:
            finish = Finish.LENGTH
        if finish is not None:
            self._out.append(row.done(finish))
        elif request.stream and row.unsent:
            self._out.append(row.delta())
        return finish is not None

    def _lose(self, row: Row) -> bool:
        """The grammar has come to its limits: no answer is better than one that breaks it."""
        request = row.job.request
        of_tools = request.schema_ is None or bool(request.must_call)
        self._out.append(Failed(id=request.id, fault=Fault.SCHEMA_TOO_BIG, of_tools=of_tools))
        self.inbox.put(Cancel(id=request.id))  # its other choices
        return True

    # --- leaving ----------------------------------------------------------------------------

    def _leave(self, at: int) -> None:
        self._lanes.leave(at)
        self._rows[at] = self._rows[-1]
        self._rows.pop()

    def _cancel(self, number: int) -> None:
        self._waiting = deque(job for job in self._waiting if job.request.id != number)
        for at in reversed(range(len(self._rows))):
            if self._rows[at].job.request.id == number:
                self._leave(at)
        self._cancelled |= {job.request.id for job in self._staged_jobs if job.request.id == number}
        if self._staged_jobs and len(self._cancelled) == len(self._staged_jobs):
            self._unstage()

    def _drop_staged(self) -> None:
        for job in self._staged_jobs:
            self._cancel_rows(job)
            self._fail(job, Fault.OUT_OF_MEMORY)
        self._unstage()

    def _drop_newest(self) -> None:
        """Go on without the newest request; without any if the rest is no longer what it was."""
        whole = not self._half and self._lanes.undo()
        self._half = False
        for job in [self._rows[-1].job] if whole else {id(r): r.job for r in self._rows}.values():
            self._cancel_rows(job)
            self._fail(job, Fault.OUT_OF_MEMORY)

    def _cancel_rows(self, job: Job) -> None:
        for at in reversed(range(len(self._rows))):
            if self._rows[at].job is job:
                self._leave(at)

    def _fail(self, job: Job, fault: Fault) -> None:
        self._out.append(Failed(id=job.request.id, fault=fault))

    def _flush(self) -> None:
        if self._out:
            self._channel.send(*self._out)
            self._out.clear()

    def _beat(self) -> None:
        now, peak = resident()
        self._out.append(
            Beat(
                running=len(self._rows),
                waiting=len(self._waiting) + len(self._staged_jobs),
                kv_tokens=sum(len(row.job.prompt) + row.count for row in self._rows),
                steps=self._steps,
                bytes_resident=now,
                bytes_peak=peak,
            )
        )

"""What every request goes through before and after its route.

In this order: host and origin, key, rate, body (size, time, form), model, room in the queue; then the
worker; then the record. Whatever goes wrong on the way is an `ApiError`; an exception that is not one
is a bug, answered with 500 and no detail.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from pratique.core.load import Limits, Task
from pratique.core.wire import Classify, Embed, Failed, Generate, Sampling
from pratique.errors import FormatError
from pratique.serve.gateway.access import Callers
from pratique.serve.gateway.errors import ApiError, FieldNames, bug, note_bug, of_fault, unavailable
from pratique.serve.gateway.exchange import Exchange, Recorder
from pratique.serve.gateway.http import read_body
from pratique.serve.gateway.metrics import Metrics, gateway_metrics
from pratique.serve.gateway.stream import gone_away
from pratique.serve.supervisor import State, Supervisor
from pratique.serve.worker_link import Ticket, WorkerGone, only

T = TypeVar("T")
_READY_SECONDS: Final = 5.0
_PROBE_SECONDS: Final = 60.0
_HEADERS: Final = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the gateway puts up with. Seconds and bytes.

    `hosts` are the names by which clients may call it (None: any), against pages in a browser that
    make their own name resolve to this address.
    """

    body_bytes: int = 8 * 2**20
    body_seconds: float = 30.0
    header_seconds: float = 10.0
    request_seconds: float = 600.0
    write_seconds: float = 60.0
    drain_seconds: int = 30
    keep_alive_seconds: int = 30
    connections: int = 1024
    queue: int = 256
    hosts: frozenset[str] | None = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Gateway:
    """What the routes share."""

    def __init__(
        self,
        supervisor: Supervisor,
        *,
        limits: Limits,
        settings: Settings,
        callers: Callers,
        recorder: Recorder,
    ) -> None:
        self.supervisor = supervisor
        self.limits = limits
        self.settings = settings
        self.callers = callers
        self.recorder = recorder
        self.metrics: Metrics = gateway_metrics()
        self.draining = False
        self.idle = asyncio.Event()
        self.idle.set()
        self._in_flight = 0
        self._proved_at = float("-inf")
        self._probe = asyncio.Lock()

    # --- before ---------------------------------------------------------------------------

    def check_model(self, name: str) -> None:
        """Raise ApiError 404 unless `name` is this model's name, label or bundle id."""
        model = self.supervisor.model
        if name not in {model.name, model.label, model.bundle_id}:
            raise ApiError(
                404,
                "this server does not serve a model of that name; see /v1/models",
                kind="not_found_error",
                code="model_not_found",
                param="model",
            )

    def check_room(self) -> None:
        """Raise ApiError 429 when too many requests wait, 503 when there is no worker."""
        self._check_draining()
        link = self.supervisor.link
        if link is None or self.supervisor.state is not State.READY:
            raise unavailable("the model is being loaded again")
        if link.busy >= self.limits.rows + self.settings.queue:
            raise ApiError(
                429,
                "too many requests are waiting",
                kind="rate_limit_error",
                code="busy",
                retry_after=max(1, link.busy // max(self.limits.rows, 1)),
            )

    def _check_draining(self) -> None:
        if self.draining:
            raise unavailable("the server is shutting down", retry_after=30)

    def check_origin(self, request: Request) -> None:
        """Refuse names that are not ours, and pages of other origins."""
        hosts = self.settings.hosts
        if hosts is None:
            return
        host = request.headers.get("host", "")
        origin = request.headers.get("origin", "")
        _, _, from_host = origin.partition("://")
        if _name(host) not in hosts or (origin and _name(from_host) not in hosts):
            raise ApiError(
                403,
                "this host name or origin is not served",
                kind="permission_error",
                code="host_not_allowed",
            )

    @property
    def in_flight(self) -> int:
        """Requests that have not been answered in full."""
        return self._in_flight

    # --- around ---------------------------------------------------------------------------

    async def answer(
        self,
        request: Request,
        route: str,
        work: Callable[[Exchange, bytes], Awaitable[Response]],
    ) -> Response:
        """Run one POST route. A streamed response records itself; the others are recorded here."""
        exchange = Exchange(
            route=route, keeps_text=self.recorder.keeps_text, keeps_mark=self.recorder.keeps_mark
        )
        self._in_flight += 1
        self.idle.clear()
        response: Response
        try:
            self._check_draining()  # before a slow body could hold up the end
            self.check_origin(request)
            exchange.caller = self.callers.identify(request.headers.get("authorization"))
            self.callers.spend_request(exchange.caller)
            _check_type(request)
            body = await read_body(
                request, most=self.settings.body_bytes, seconds=self.settings.body_seconds
            )
            self.check_room()
            response = await self._while_there(request, work(exchange, body))
        except ApiError as error:
            response = self.refuse(exchange, error)
        except WorkerGone:
            response = self.refuse(exchange, unavailable("the worker ended; it is started again"))
        except TimeoutError:
            response = self.refuse(exchange, _too_long())
        except asyncio.CancelledError:
            exchange.status, exchange.finish = 499, "disconnected"
            self.finish(exchange)
            raise
        except Exception as error:  # noqa: BLE001 - a bug, which must not cost more than its request
            note_bug(error)
            response = self.refuse(exchange, bug())
        exchange.status = response.status_code
        if not exchange.streamed:
            self.finish(exchange)
        response.headers["X-Request-Id"] = exchange.request_id
        return response

    async def _while_there(self, request: Request, work: Awaitable[T]) -> T:
        """Do the work, but not for a client who has hung up, nor beyond the time limit."""
        working = asyncio.ensure_future(work)
        gone = asyncio.create_task(gone_away(request.receive))
        try:
            async with asyncio.timeout(self.settings.request_seconds):
                await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise ApiError(400, "the client went away", code="disconnected")
            return working.result()
        finally:
            for task in (working, gone):
                if not task.done():
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError, Exception):
                        await task

    def refuse(self, exchange: Exchange, error: ApiError) -> JSONResponse:
        """Count a refusal and return it."""
        exchange.status, exchange.code = error.status, error.code or error.kind
        exchange.finish = exchange.finish or "refused"
        self.metrics.add("pratique_refusals_total", code=exchange.code)
        return error.response()

    def finish(self, exchange: Exchange) -> None:
        """Count and record a request. Called exactly once for each."""
        self._in_flight -= 1
        if not self._in_flight:
            self.idle.set()
        metrics, route = self.metrics, exchange.route
        metrics.add("pratique_requests_total", route=route, status=str(exchange.status))
        metrics.add("pratique_prompt_tokens_total", exchange.prompt_tokens)
        metrics.add("pratique_cached_tokens_total", exchange.cached_tokens)
        metrics.add("pratique_completion_tokens_total", exchange.completion_tokens)
        metrics.observe("pratique_request_seconds", exchange.seconds, route=route)
        if exchange.first_token is not None:
            metrics.observe("pratique_first_token_seconds", exchange.seconds_to_first, route=route)
        if exchange.status == 200 and exchange.completion_tokens:
            self._proved_at = time.monotonic()
            self.supervisor.answered()
        used = exchange.prompt_tokens + exchange.completion_tokens
        self.callers.spend_tokens(exchange.caller, used)
        report = self.supervisor.report
        self.recorder.served(exchange, rung=report.rung.value if report else "-")

    async def ask_one(self, message: Any, fields: FieldNames) -> Any:  # noqa: ANN401 - a request and its one answer
        """Ask the worker something that has one answer. Raises ApiError, WorkerGone."""
        answer = await only(await self.ask(message))
        if isinstance(answer, Failed):
            raise of_fault(answer, fields)
        return answer

    async def ask(self, message: Any, exchange: Exchange | None = None) -> Ticket:  # noqa: ANN401 - any request
        """Pass a request to the worker. Raises ApiError 400 if it cannot be sent, or WorkerGone.

        With an exchange, what is computed of its prompt may be kept for later requests of its caller.
        """
        if isinstance(message, Generate) and exchange is not None:
            scope = self.callers.scope(exchange.caller)
            message = message.model_copy(update={"scope": scope})
        try:
            return await self.supervisor.ask(message)
        except FormatError as error:
            raise ApiError(
                400, "the request is too large or not valid Unicode", code="invalid_value"
            ) from error

    # --- health ---------------------------------------------------------------------------

    async def ready(self) -> bool:
        """Whether the model answered something within the last seconds, or answers one token now."""
        if self.draining or self.supervisor.state is not State.READY:
            return False
        async with self._probe:
            if time.monotonic() - self._proved_at < _READY_SECONDS:
                return True
            with contextlib.suppress(WorkerGone, ApiError, TimeoutError):
                async with asyncio.timeout(_PROBE_SECONDS):
                    await self._one_token()
                self._proved_at = time.monotonic()
                return True
        return False

    async def _one_token(self) -> None:
        match self.supervisor.loaded.task:
            case Task.GENERATE:
                message: Any = Generate(
                    id=0, tokens=(0,), max_tokens=1, sampling=Sampling(temperature=0)
                )
            case Task.EMBED:
                message = Embed(id=0, tokens=((0,),))
            case _:
                message = Classify(id=0, texts=("ready",))
        ticket = await self.ask(message)
        try:
            async for answer in ticket:
                if isinstance(answer, Failed):
                    raise of_fault(answer)
        finally:
            ticket.close()


def _name(host: str) -> str:
    """Return a Host header's name without its port, in lower case."""
    host = host.strip().lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.rpartition(":")[0] if ":" in host else host


def _check_type(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, "the body must be application/json", code="unsupported_media_type")


def _too_long() -> ApiError:
    return ApiError(
        504, "the request took longer than this server allows", kind="server_error", code="timeout"
    )

"""Which path leads where. Everything else is 404 in OpenAI's form."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pratique.serve.gateway import encode, views
from pratique.serve.gateway.app import Gateway
from pratique.serve.gateway.chat import chat
from pratique.serve.gateway.completions import completions
from pratique.serve.gateway.errors import ApiError, bug, note_bug
from pratique.serve.gateway.responses import responses


def application(gateway: Gateway) -> Starlette:
    """Build the ASGI application."""

    def post(path: str, route: Callable[..., Awaitable[Response]]) -> Route:
        async def endpoint(request: Request) -> Response:
            return await gateway.answer(
                request, path, lambda exchange, body: route(gateway, exchange, body)
            )

        return Route(path, endpoint, methods=["POST"])

    def get(path: str, view: Callable[[Gateway], Coroutine[Any, Any, Response]]) -> Route:
        async def endpoint(request: Request) -> Response:
            try:
                gateway.check_origin(request)
                if path not in views.OPEN:
                    gateway.callers.identify(request.headers.get("authorization"))
                return await view(gateway)
            except ApiError as error:
                return error.response()

        return Route(path, endpoint, methods=["GET"])

    routes = [
        post("/v1/chat/completions", chat),
        post("/v1/completions", completions),
        post("/v1/responses", responses),
        post("/v1/embeddings", encode.embeddings),
        post("/v1/classify", encode.classify),
        post("/tokenize", encode.tokenize),
        get("/v1/models", views.models),
        get("/health", views.health),
        get("/health/live", views.live),
        get("/health/ready", views.ready),
        get("/metrics", views.metrics),
    ]
    return Starlette(
        routes=routes,
        exception_handlers={HTTPException: _not_found, Exception: _bug},
    )


async def _not_found(request: Request, error: Exception) -> Response:
    del request
    status = error.status_code if isinstance(error, HTTPException) else 404
    words = {404: "there is no such route", 405: "this route takes another method"}
    return ApiError(
        status, words.get(status, "refused"), kind="not_found_error", code="no_such_route"
    ).response()


async def _bug(request: Request, error: Exception) -> Response:
    del request
    note_bug(error)
    return bug().response()

"""What can be looked at: models, health, metrics."""

import time
from typing import Final

from starlette.responses import JSONResponse, PlainTextResponse, Response

from pratique.core.variants import NOT_PROVED
from pratique.serve.gateway.app import Gateway
from pratique.serve.supervisor import State
from pratique.serve.worker_link import WorkerGone

OPEN: Final = frozenset({"/health", "/health/live", "/health/ready"})
"""Routes that need no key: what watches a server should hold none."""
_STARTED: Final = int(time.time())


async def models(gateway: Gateway) -> Response:
    """GET /v1/models: the one model, under its name and its label."""
    model, report = gateway.supervisor.model, gateway.supervisor.report
    try:
        loaded = gateway.supervisor.loaded
    except WorkerGone:
        loaded = None
    entry: dict[str, object] = {
        "object": "model",
        "created": _STARTED,
        "owned_by": "pratique",
        "bundle_id": model.bundle_id,
        "rung": report.rung.value if report else None,
    }
    if report and report.rung.converted:
        entry["note"] = NOT_PROVED
    if loaded is not None:
        entry |= {"task": loaded.task.value, "max_model_len": loaded.context}
    names = dict.fromkeys((model.name, model.label))
    return JSONResponse({"object": "list", "data": [{"id": name, **entry} for name in names]})


async def live(gateway: Gateway) -> Response:
    """GET /health/live: the gateway answers."""
    return JSONResponse({"status": "draining" if gateway.draining else "live"})


async def ready(gateway: Gateway) -> Response:
    """GET /health/ready: the model generates a token."""
    is_ready = await gateway.ready()
    return JSONResponse(
        {"status": "ready" if is_ready else "not ready"}, status_code=200 if is_ready else 503
    )


async def health(gateway: Gateway) -> Response:
    """GET /health: both, with what is served."""
    supervisor = gateway.supervisor
    is_ready = await gateway.ready()
    report = supervisor.report
    return JSONResponse(
        {
            "status": "ready" if is_ready else supervisor.state.value,
            "live": True,
            "ready": is_ready,
            "model": supervisor.model.label,
            "rung": report.rung.value if report else None,
            "note": NOT_PROVED if report and report.rung.converted else None,
            "restarts": supervisor.restarts,
        },
        status_code=200 if is_ready else 503,
    )


async def metrics(gateway: Gateway) -> Response:
    """GET /metrics."""
    registry, supervisor = gateway.metrics, gateway.supervisor
    link, report = supervisor.link, supervisor.report
    registry.set("pratique_requests_in_flight", gateway.in_flight)
    registry.set("pratique_ready", int(supervisor.state is State.READY))
    if link is not None:
        beat = link.beat
        registry.set("pratique_batch_size", beat.running)
        registry.set("pratique_requests_waiting", beat.waiting)
        registry.set("pratique_kv_tokens", beat.kv_tokens)
        registry.set("pratique_worker_resident_bytes", beat.bytes_resident)
        registry.set("pratique_worker_peak_bytes", beat.bytes_peak)
    for other in supervisor.plan.rungs:
        chosen = report is not None and other.rung is report.rung
        registry.set("pratique_rung", int(chosen), rung=other.rung.value)
    registry.set("pratique_converted", int(report is not None and report.rung.converted))
    registry.set("pratique_worker_restarts_total", supervisor.restarts)
    return PlainTextResponse(
        registry.render(), media_type="text/plain; version=0.0.4; charset=utf-8"
    )

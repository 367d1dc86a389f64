"""The Open Inference Protocol v2 over HTTP, with Triton's extensions, as an ASGI app."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from pydantic_core import to_json

from segbench import __version__
from segbench.serve.body import Budget, Share, read
from segbench.serve.door import Door, error_body
from segbench.serve.guard import Guard
from segbench.serve.inference import HEAD, Inference
from segbench.serve.refusal import Refusal
from segbench.serve.request import Service, Tensor
from segbench.serve.settings import Settings
from segbench.serve.triton import config_json
from segbench.serve.wire import parsed

EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "statistics")
THREADS = 4
"""For bodies that take long to read or write, and for loading."""
METRICS = "text/plain; version=0.0.4; charset=utf-8"


def app(service: Service, settings: Settings, guard: Guard) -> FastAPI:
    """The app.

    Args:
        service: What answers.
        settings: Limits, and who may ask from web pages.
        guard: Who may ask, and how often.
    """
    pool = ThreadPoolExecutor(THREADS, "segbench-http")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        pool.shutdown(wait=False)

    made = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False, lifespan=lifespan)
    inference = Inference(service, settings, guard, pool)
    made.state.budget = inference.budget
    made.include_router(_inference(inference))  # first: routes are tried in turn
    made.include_router(_health(service))
    made.include_router(_models(service, settings))
    made.include_router(_repository(service, pool))
    for status in (404, 405):  # no route takes anything that would be validated, so there is no 422
        made.add_exception_handler(status, _other)
    made.add_middleware(Door, guard=guard, origins=settings.allow_origin)
    return made


def _health(service: Service) -> APIRouter:
    routes = APIRouter()

    @routes.get("/v2")
    async def server() -> Response:
        return _json({"name": "segbench", "version": __version__, "extensions": EXTENSIONS})

    @routes.get("/v2/health/live")
    async def live() -> Response:
        return _json({"live": True})

    @routes.get("/v2/health/ready")
    async def ready() -> Response:
        return _ready({}, service.ready(), "the server is starting or stopping")

    @routes.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics(), media_type=METRICS)

    return routes


def _models(service: Service, settings: Settings) -> APIRouter:
    """What there is to know of a model, of its newest version or of the one named."""
    routes = APIRouter()

    @routes.get("/v2/models/stats")
    async def all_statistics() -> Response:
        return _json({"model_stats": service.statistics()})

    @_versioned(routes.get, "")
    async def metadata(request: Request) -> Response:
        found = service.describe(*_named(request))
        return _json(
            {
                "name": found.name,
                "versions": found.versions,
                "platform": found.platform,
                "inputs": [_tensor(tensor) for tensor in found.inputs],
                "outputs": [_tensor(tensor) for tensor in found.outputs],
            }
        )

    @_versioned(routes.get, "/ready")
    async def ready(request: Request) -> Response:
        name, version = _named(request)
        return _ready({"name": name}, service.model_ready(name, version), "the model is not ready")

    @_versioned(routes.get, "/config")
    async def config(request: Request) -> Response:
        return _json(config_json(service.describe(*_named(request)), settings))

    @_versioned(routes.get, "/stats")
    async def statistics(request: Request) -> Response:
        return _json({"model_stats": service.statistics(*_named(request))})

    return routes


def _repository(service: Service, pool: ThreadPoolExecutor) -> APIRouter:
    routes = APIRouter()
    budget = Budget(64 * HEAD)
    one = asyncio.Lock()  # models are loaded one after the other; those who wait hold no thread that others need

    async def small(request: Request) -> dict[str, Any]:
        """The JSON that may come with these."""
        share = Share(budget, request.scope["state"]["client"])
        try:
            return parsed(await read(request.scope, request.receive, HEAD, share), "the body")
        finally:
            share.close()

    async def control(request: Request, act: Callable[[str], None]) -> Response:
        given = (await small(request)).get("parameters", {})
        if not isinstance(given, dict) or given.keys() - {"unload_dependents"}:
            raise Refusal("unsupported", "models are loaded as they lie in the repository, with no parameters")
        async with one:
            await asyncio.get_running_loop().run_in_executor(pool, act, _named(request)[0])
        return _json({})

    @routes.post("/v2/repository/index")
    async def index(request: Request) -> Response:
        only_ready = (await small(request)).get("ready", False) is True
        found = await asyncio.get_running_loop().run_in_executor(pool, service.index)  # reads cards from the disk
        listed = [each for each in found if each.state == "READY" or not only_ready]
        return _json([{"name": e.name, "version": e.version, "state": e.state, "reason": e.reason} for e in listed])

    @routes.post("/v2/repository/models/{model}/load")
    async def load(request: Request) -> Response:
        return await control(request, service.load)

    @routes.post("/v2/repository/models/{model}/unload")
    async def unload(request: Request) -> Response:
        return await control(request, service.unload)

    return routes


def _inference(inference: Inference) -> APIRouter:
    routes = APIRouter()

    @_versioned(routes.post, "/infer")
    async def infer(request: Request) -> Response:
        return await inference(request.scope, request.receive, *_named(request))

    return routes


def _versioned(method: Callable[..., Any], path: str) -> Callable[[Any], Any]:
    """A route of a model, with and without its version."""

    def registered(endpoint: Any) -> Any:  # noqa: ANN401
        for version in ("", "/versions/{version}"):
            method(f"/v2/models/{{model}}{version}{path}")(endpoint)
        return endpoint

    return registered


def _named(request: Request) -> tuple[str, str]:
    """Model and version of the address; an empty version is the newest."""
    return request.path_params["model"], request.path_params.get("version", "")


def _tensor(tensor: Tensor) -> dict[str, object]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}


def _json(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(to_json(value), status, headers, "application/json")


def _ready(told: dict[str, object], ready: bool, why: str) -> Response:
    """For probes that read the status, and for clients that read the body."""
    if ready:
        return _json(told | {"ready": True})
    return _json(told | {"ready": False, "error": why}, 503, {"retry-after": "1"})


async def _other(_: Request, error: Exception) -> Response:
    """What the framework itself would answer, in the form that clients of the protocol read."""
    status = getattr(error, "status_code", 500)
    said = {404: "there is nothing at this address", 405: "this address is asked with another method"}
    return Response(error_body(said[status]), status, getattr(error, "headers", None), "application/json")

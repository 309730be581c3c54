"""The application: routes, errors and middleware around one gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache, partial
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from sigap import pipeline
from sigap.api import dicomweb, documentation, information, jobs, page, segment, session
from sigap.api.door import Door
from sigap.api.exchange import Exchange
from sigap.api.gateway import Gateway
from sigap.api.manners import Manners
from sigap.api.problems import on_bad_parameter, on_http_error, on_sigap_error
from sigap.core.errors import SigapError
from sigap.core.result import Result
from sigap.engines.engine import Engine
from sigap.settings import Settings


def create_app(
    settings: Settings,
    engine: Engine,
    *,
    run: Callable[..., Result] = pipeline.run,
    passed: Callable[[str], None] = lambda _: None,
) -> FastAPI:
    """Put the application together; it claims its data folder and starts its worker when it is started.

    Args:
        settings: read at the composition root.
        engine: whoever loaded it closes it.
        run: the pipeline; tests of the routes alone bring their own.
        passed: told of every named point of a job's way; tests end the process there.
    """
    gateway = Gateway(settings, engine, run, passed)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(gateway.open)
        yield
        await run_in_threadpool(gateway.close)

    # A redirect would build its address from the Host header, and FastAPI's own pages load from another host.
    app = FastAPI(lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.gateway = gateway
    routers = (
        segment.router,
        dicomweb.router,
        jobs.router,
        information.router,
        session.router,
        documentation.router,
        page.router,
    )
    for router in routers:
        app.include_router(router)
    # An application's own list has its routers only, not their routes.
    app.state.routes = [route for router in routers for route in router.routes]
    describe = cache(partial(documentation.describe, app))
    app.openapi = lambda: describe(  # type: ignore[method-assign]  # FastAPI's documented way
        tuple(model.name for model in engine.models()), asks_for_key=gateway.admission.asks_for_key()
    )
    app.add_exception_handler(SigapError, on_sigap_error)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(RequestValidationError, on_bad_parameter)
    app.add_middleware(Door, gateway=gateway, routes=app.state.routes)
    app.add_middleware(Exchange, finished=_counter(gateway))
    app.add_middleware(Manners)
    return app


def _counter(gateway: Gateway) -> Callable[[str | None, dict[str, Any], int], None]:
    def count(route: str | None, log: dict[str, Any], status: int) -> None:
        if route in ("/segment/{task}", "/segment/{task}/dicomweb"):
            gateway.metrics.count_request(log.get("task"), log.get("format"), status)

    return count

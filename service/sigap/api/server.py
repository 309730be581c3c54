"""The server: the composition root of `sigap serve`."""

from __future__ import annotations

import signal
from contextlib import suppress

import structlog
import uvicorn

from sigap import __version__
from sigap.api import logs
from sigap.api.app import create_app
from sigap.engines.torchscript import TorchScriptEngine
from sigap.jobs.folder import JobFolders
from sigap.settings import Settings, SettingsError

# Requests that run get this long to end after SIGTERM; orchestrators kill after some 30 seconds.
_GRACE_S = 20


def serve(settings: Settings) -> None:
    """Load and warm the models, then answer until SIGTERM or SIGINT.

    One process, one server worker, one job worker: a second would share the same cores. More machines are more
    containers.

    Raises:
        SettingsError: the data folder or the address cannot be used.
        ModelError: the model repository cannot be used.
    """
    _check_data(settings)
    logs.configure(settings.log_level)
    log = structlog.stdlib.get_logger("sigap.server")
    engine = TorchScriptEngine.load(settings.models)
    try:
        models = {model.name: model.version for model in engine.models()}
        log.info("models ready", models=models, engine=engine.name, version=__version__)
        config = uvicorn.Config(
            create_app(settings, engine),
            host=settings.host,
            port=settings.port,
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_S,
            ws="none",
        )
        server = uvicorn.Server(config)
        # Once stopped, uvicorn raises the signal again: SIGTERM would skip what stands below, SIGINT print a traceback.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with suppress(KeyboardInterrupt):
            server.run()
        if not server.started:
            raise SystemExit(1)
    finally:
        engine.close()


def _check_data(settings: Settings) -> None:
    """Find out in a sentence, before the models are loaded, what would otherwise end the start with a traceback."""
    try:
        with JobFolders(settings.data, quota_bytes=settings.quota_bytes):
            return
    except BlockingIOError as error:
        raise SettingsError(
            "SIGAP_DATA is in use by another server. Stop it, or give this one its own folder."
        ) from error
    except OSError as error:
        raise SettingsError(
            f"SIGAP_DATA cannot be used: {error.strerror}. Name a folder that can be written to."
        ) from error

"""The server: the composition root of `sigap serve`."""

from __future__ import annotations

import errno
import signal
import socket
from contextlib import suppress
from types import FrameType
from typing import Any

import structlog
import uvicorn

from sigap import __version__
from sigap.access.audit import AuditLog, AuditUnavailable
from sigap.access.keys import KeyFile, KeysUnavailable
from sigap.api import logs
from sigap.api.app import create_app
from sigap.api.gateway import Gateway
from sigap.core.errors import DatabaseUnavailable
from sigap.dicomnet.configuration import PacsFileError, read_pacs
from sigap.engines.choice import open_engine
from sigap.jobs.storage import storage
from sigap.settings import Settings, SettingsError

# Requests that run get this long to end after SIGTERM; orchestrators kill after some 30 seconds.
_GRACE_S = 20
# So long the start waits for a Triton server; one that comes later is found too.
_FIRST_ANSWER_S = 3.0


def serve(settings: Settings) -> None:
    """Load and warm the models, or look for the Triton servers that have them; then answer until SIGTERM or SIGINT.

    One process, one server worker, one job worker: a second would share the same cores. More machines are more
    containers.

    Raises:
        SettingsError: the data folder or the address cannot be used.
        ModelError: the model repository cannot be used.
        EngineMissing: the engine's packages are not installed.
    """
    _check_access(settings)
    _check_pacs(settings)
    _check_storage(settings)
    _check_address(settings)
    logs.configure(settings.log_level)
    log = structlog.stdlib.get_logger("sigap.server")
    engine = open_engine(
        settings.engine,
        models=settings.models,
        servers=settings.triton_addresses,
        timeout_s=settings.request_timeout_s,
        wait_s=_FIRST_ANSWER_S,
    )
    try:
        models = {model.name: model.version for model in engine.models()}
        said = "models ready" if engine.is_ready() else "models not ready yet"
        log.info(said, models=models, engine=engine.name, version=__version__)
        app = create_app(settings, engine)
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_S,
            ws="none",
        )
        server = _Server(config, app.state.gateway)
        # Once stopped, uvicorn raises the signal again: SIGTERM would skip what stands below, SIGINT print a traceback.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with suppress(KeyboardInterrupt):
            server.run()
        if not server.started:
            raise SystemExit(1)
    finally:
        engine.close()


class _Server(uvicorn.Server):
    """Tells the gateway at once that it is being stopped: event streams would else hold the server up."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway) -> None:
        super().__init__(config)
        self._gateway = gateway

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._gateway.is_stopping.set()
        super().handle_exit(sig, frame)


def _check_access(settings: Settings) -> None:
    """Refuse to open a door that nobody watches (CONTRACT, section 5)."""
    try:
        keys = None if settings.auth == "off" else KeyFile(settings.data).read()
        if settings.audit_file is not None:
            AuditLog(settings.audit_file).check()
    except KeysUnavailable as error:
        raise SettingsError(f"SIGAP_DATA: {error.message}") from error
    except AuditUnavailable as error:
        cause = error.__cause__
        reason = cause.strerror if isinstance(cause, OSError) else error.message
        raise SettingsError(f"SIGAP_AUDIT_FILE cannot be written: {reason}.") from error
    if not keys and settings.auth != "off" and not settings.is_loopback:
        raise SettingsError(
            "SIGAP_HOST is an address that other machines reach, and there is no key yet. Make one with "
            "`sigap keys add NAME` (with the same SIGAP_DATA), or set SIGAP_AUTH=off to let everybody in."
        )


def _check_pacs(settings: Settings) -> None:
    try:
        read_pacs(settings.pacs)
    except PacsFileError as error:
        raise SettingsError(f"SIGAP_PACS: {error}") from error


def _check_storage(settings: Settings) -> None:
    """Find out in a sentence, before the models are loaded, what would otherwise end the start with a traceback."""
    try:
        with storage(settings.data, settings.database_address, quota_bytes=settings.quota_bytes).opened():
            return
    except BlockingIOError as error:
        raise SettingsError(
            "SIGAP_DATA is in use by another gateway, and SQLite serves only one. Give this one its own folder, or set "
            "SIGAP_DATABASE_URL for all of them to one PostgreSQL database: then they share the folder and the work."
        ) from error
    except DatabaseUnavailable as error:
        name = "SIGAP_DATA" if settings.database_url is None else "SIGAP_DATABASE_URL"
        raise SettingsError(f"{name}: {error.message}") from error
    except OSError as error:
        raise SettingsError(
            f"SIGAP_DATA cannot be used: {error.strerror}. Name a folder that can be written to."
        ) from error


def _check_address(settings: Settings) -> None:
    """Find out before the models are loaded; the server itself would say it in a line of its log alone."""
    try:
        places = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise SettingsError("SIGAP_HOST is neither an address of this machine nor a name of one.") from error
    faults = [fault for place in places if (fault := _fault_at(place)) is not None]
    # Of several one may be missing: `localhost` has two, and not every machine speaks IPv6.
    if len(faults) == len(places) or any(fault.errno == errno.EADDRINUSE for fault in faults):
        raise SettingsError(
            f"SIGAP_HOST and SIGAP_PORT cannot be listened on: {faults[0].strerror}. Choose others, here or with "
            "--host and --port."
        )


def _fault_at(place: tuple[Any, ...]) -> OSError | None:
    """Why one address cannot be listened on, asked as the server will ask."""
    family, kind, protocol, _, address = place
    try:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind(address)
    except OSError as error:
        return error
    return None

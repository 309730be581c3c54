"""Logs: one JSON object a line on standard error, and nothing of a patient in any of them.

Only this service's and the server's own loggers are heard. Libraries that read images name values, UIDs and files in
what they log and warn of; they stay silent.
"""

from __future__ import annotations

import logging
import sys
import traceback
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_HEARD = ("sigap", "uvicorn")


def configure(level: str, stream: TextIO | None = None) -> None:
    """Set up logging for the whole process; called once, at its start."""
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_messages_of_errors,
    ]
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    # A root handler that drops everything: without one Python prints warnings of any library by itself.
    logging.root.handlers = [logging.NullHandler()]
    logging.captureWarnings(capture=True)
    for name in _HEARD:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level.upper())


def where(error: BaseException) -> str:
    """What an unexpected error was and where it arose, without its message: that may quote the input."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}:{frame.name}" for frame in frames]
    cause = error.__cause__ or error.__context__
    return f"{type(error).__name__} at {' > '.join(places[-4:])}" + (f" from {where(cause)}" if cause else "")


def _without_messages_of_errors(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    raised = event.pop("exc_info", None)
    if record := event.get("_record"):
        raised = raised or record.exc_info
        record.exc_info = record.exc_text = None
    if isinstance(raised, tuple):
        raised = raised[1]
    if isinstance(raised, BaseException):
        event["error"] = where(raised)
    return event

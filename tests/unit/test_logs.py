"""What is said of an unexpected error: where it arose, never what it quoted."""

from __future__ import annotations

import json
import subprocess
import sys

from sigap.api.logs import where


def fail() -> None:
    try:
        {}["Doe^John"]
    except KeyError as error:
        raise ValueError("/data/Doe^John.dcm") from error


def test_an_error_is_its_class_and_its_place_with_what_caused_it() -> None:
    try:
        fail()
    except ValueError as error:
        said = where(error)
    assert said.startswith("ValueError at test_logs.py:")
    assert ":fail from KeyError at test_logs.py:" in said
    assert "Doe" not in said


PROGRAM = """
import logging, warnings
import structlog
from sigap.api.logs import configure

configure("info")
logging.getLogger("pydicom").error("Invalid value: Doe^John")
logging.warning("Doe^John")
warnings.warn("Invalid value: Doe^John")
logging.getLogger("uvicorn.error").info("started")
try:
    raise ValueError("Doe^John")
except ValueError:
    logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
log = structlog.stdlib.get_logger("sigap.test")
log.debug("not heard at this level")
log.info("request", status=200)
"""


def test_only_our_own_loggers_are_heard_and_errors_lose_their_messages() -> None:
    process = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    events = [json.loads(line) for line in process.stderr.splitlines()]
    assert [event["event"] for event in events] == ["started", "Exception in ASGI application", "request"]
    assert [event["level"] for event in events] == ["info", "error", "info"]
    assert events[1]["error"].startswith("ValueError at <string>:")
    assert events[2]["status"] == 200
    assert "Doe" not in process.stderr + process.stdout

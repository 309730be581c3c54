"""`sigap listen`: the C-STORE receiver."""

from __future__ import annotations

import signal
import threading

from sigap.cli import terminal
from sigap.cli.pacs import configured, received_folder

NAME = "listen"
EXAMPLES = """[bold]Examples[/bold]

[cyan]SIGAP_PACS=pacs.toml sigap listen[/cyan]
    beside [bold]sigap serve[/bold], which makes jobs of what comes; see docs/pacs.md

[cyan]storescu -aec SIGAP 127.0.0.1 11112 study/*.dcm[/cyan]
    send it a study by DCMTK"""


def command() -> None:
    """Receive CT studies by C-STORE, and give them to `sigap serve` by the rules of the PACS file."""
    with configured() as (settings, pacs):
        if pacs.listener is None:
            terminal.refuse_usage("SIGAP_PACS: the file has no [listener]. See docs/pacs.md.")
        import structlog

        from sigap import __version__
        from sigap.api import logs
        from sigap.dicomnet.configuration import PacsFileError
        from sigap.dicomnet.listener import Listening

        logs.configure(settings.log_level)
        log = structlog.stdlib.get_logger("sigap.dicomnet")
        listening = Listening(pacs, pacs.listener, received_folder(settings), limits=settings.limits)
        is_over = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: is_over.set())
        try:
            pacs.listener.check_files()
            listening.open()
        except PacsFileError as error:
            terminal.refuse_usage(f"SIGAP_PACS: {error}")
        except BlockingIOError:
            terminal.refuse_usage("Another receiver uses the same folder.")
        except OSError as error:
            terminal.refuse_usage(f"The receiver's folder or address cannot be used: {error.strerror}.")
        log.info("listening", port=listening.receiver.port, version=__version__)
        try:
            is_over.wait()
        finally:
            listening.close()

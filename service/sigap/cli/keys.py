"""`sigap keys`: who may use the server. A server that runs beside it learns of every change at once."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from sigap.cli import terminal

if TYPE_CHECKING:
    from sigap.access.audit import AuditLog
    from sigap.access.keys import Key, KeyFile

NAME = "keys"
app = typer.Typer(
    no_args_is_help=True,
    help="Access keys of the server: add, list, revoke. They lie in SIGAP_DATA, as hashes.",
    epilog="[bold]sigap keys COMMAND --help[/bold] explains a command by example.",
)
KeyName = Annotated[
    str, typer.Argument(metavar="NAME", help="The client's: letters, digits, dots, dashes, underscores.")
]


@app.command(
    "add",
    epilog="""[bold]Examples[/bold]

[cyan]sigap keys add ward-3[/cyan]
    prints the key, once

[cyan]sigap keys add --admin admin --out /root/admin.key[/cyan]
    into a file that only its owner may read

[cyan]curl -H "Authorization: Bearer $(cat /root/admin.key)" https://sigap.example/jobs[/cyan]""",
)
def add(
    name: KeyName,
    admin: Annotated[bool, typer.Option("--admin", help="Sees all jobs, not only its own.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the key there, readable by its owner alone.", show_default=False),
    ] = None,
) -> None:
    """Make a key for one client. From the first one on the server asks for a key.

    The key is shown this once and kept nowhere: whoever loses it needs a new one.
    """
    file, audit = _here()
    with terminal.plain_errors(), _new_file(out) as written:
        from sigap.access.keys import BadKeyName

        if audit is not None:
            audit.check()
        try:
            secret = file.add(name, is_admin=admin)
        except BadKeyName as error:
            terminal.refuse_usage(error.message)
        with _revoked_on_failure(file, name):
            _tell(audit, name, "add")
            _hand_over(secret, written)
    if out is None:
        terminal.stderr().print(
            "This is the only time that the key is shown. Keep it where only its client can read it."
        )
    else:
        terminal.stderr().print(f"The key of {name} is written, and kept nowhere else.")


@app.command(
    "list",
    epilog="""[bold]Examples[/bold]

[cyan]sigap keys list[/cyan]

[cyan]sigap keys list --json | jq -r '.keys[].name'[/cyan]""",
)
def list_keys(as_json: Annotated[bool, typer.Option("--json", help="Print them as one JSON object.")] = False) -> None:
    """List the keys' names, never the keys: those are kept nowhere."""
    file, _ = _here()
    with terminal.plain_errors():
        keys = file.read() or ()
    if as_json:
        typer.echo(json.dumps({"keys": [_entry(key) for key in keys]}, indent=1))
    elif keys:
        _print_table(keys)
    else:
        terminal.stderr().print("No keys. Make one: sigap keys add NAME")


@app.command(
    "revoke",
    epilog="""[bold]Examples[/bold]

[cyan]sigap keys revoke ward-3[/cyan]

[cyan]sigap keys revoke ward-3 && sigap keys add ward-3[/cyan]
    replaces a key: its client keeps its jobs""",
)
def revoke(name: KeyName) -> None:
    """Let a key and the sessions that were begun with it open nothing any more. Its client's jobs go on."""
    file, audit = _here()
    with terminal.plain_errors():
        if audit is not None:
            audit.check()
        file.revoke(name)
        _tell(audit, name, "revoke")
        left = file.read()
    typer.echo(f"Revoked {name}")
    if not left:
        terminal.warn("That was the last key: the server lets nobody in until there is another.")


def _here() -> tuple[KeyFile, AuditLog | None]:
    settings = terminal.read_settings()
    terminal.log_on_stderr()
    from sigap.access.audit import AuditLog
    from sigap.access.keys import KeyFile

    audit = None if settings.audit_file is None else AuditLog(settings.audit_file)
    return KeyFile(settings.data), audit


@contextmanager
def _new_file(path: Path | None) -> Iterator[IO[str] | None]:
    """A file for the key, made before the key is: afterwards it would be lost if this failed. Gone after an error."""
    if path is None:
        yield None
        return
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        terminal.refuse_usage(f"--out: the file cannot be made: {error.strerror}.")
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise


@contextmanager
def _revoked_on_failure(file: KeyFile, name: str) -> Iterator[None]:
    """A key that nobody has seen, or whose making nobody is told of, opens nothing."""
    from sigap.access.audit import AuditUnavailable

    try:
        yield
    except (OSError, AuditUnavailable) as error:
        file.revoke(name)
        reason = error.message if isinstance(error, AuditUnavailable) else f"{error.strerror}."
        terminal.complain(f"The key could not be handed over, so it was revoked at once: {reason}")
        raise typer.Exit(terminal.FAILED) from error


def _hand_over(secret: str, file: IO[str] | None) -> None:
    """Show it this once, and be sure that it has arrived."""
    written = sys.stdout if file is None else file
    written.write(secret + "\n")
    written.flush()
    if file is not None:
        os.fsync(file.fileno())


def _tell(audit: AuditLog | None, name: str, done: str) -> None:
    if audit is not None:
        audit.write(key=name, action=f"sigap keys {done}", job=None, request=None, status=None, outcome="done")


def _entry(key: Key) -> dict[str, Any]:
    return {"name": key.name, "admin": key.is_admin, "created": key.created}


def _print_table(keys: tuple[Key, ...]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("name", "admin", "created"):
        table.add_column(heading, overflow="fold")
    for key in keys:
        table.add_row(key.name, "yes" if key.is_admin else "", key.created)
    terminal.stdout().print(table)

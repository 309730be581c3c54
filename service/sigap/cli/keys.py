"""`sigap keys`: who may use the server. A server that runs beside it learns of every change at once."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    with terminal.plain_errors():
        from sigap.access.keys import BadKeyName

        if audit is not None:
            audit.check()
        handle = None if out is None else _create(out)
        try:
            secret = file.add(name, is_admin=admin)
        except BadKeyName as error:
            _withdraw(out)
            terminal.refuse_usage(error.message)
        except BaseException:
            _withdraw(out)
            raise
        if audit is not None:
            audit.write(key=name, action="sigap keys add", job=None, request=None, status=None, outcome="done")
    if handle is None:
        typer.echo(secret)
        terminal.stderr().print(
            "This is the only time that the key is shown. Keep it where only its client can read it."
        )
    else:
        with os.fdopen(handle, "w", encoding="ascii") as written:
            written.write(secret + "\n")
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
        if audit is not None:
            audit.write(key=name, action="sigap keys revoke", job=None, request=None, status=None, outcome="done")
        left = file.read()
    typer.echo(f"Revoked {name}")
    if not left:
        terminal.warn("That was the last key: the server lets nobody in until there is another.")


def _here() -> tuple[KeyFile, AuditLog | None]:
    settings = terminal.read_settings()
    from sigap.access.audit import AuditLog
    from sigap.access.keys import KeyFile

    audit = None if settings.audit_file is None else AuditLog(settings.audit_file)
    return KeyFile(settings.data), audit


def _create(path: Path) -> int:
    """Before the key is made: afterwards it would be lost if this failed."""
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        terminal.refuse_usage(f"--out: the file cannot be made: {error.strerror}.")


def _withdraw(path: Path | None) -> None:
    if path is not None:
        path.unlink()


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

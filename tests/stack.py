"""The containers of docker-compose.yml, as a project of their own beside any other on this machine."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from conftest import ROOT
from deployed import Address, free_port, wait_until_ready

BUILD_PATIENCE_S = 1800.0
START_PATIENCE_S = 300.0


def compose_command() -> list[str]:
    """`docker compose`, or what SIGAP_COMPOSE names: a program with its verbs, or one that has them after `compose`."""
    command = shlex.split(os.environ.get("SIGAP_COMPOSE") or "docker compose")
    is_behind = subprocess.run([*command, "compose", "version"], capture_output=True, check=False).returncode == 0
    return [*command, "compose"] if is_behind else command


@dataclass(frozen=True)
class Stack:
    """Commands for one running stack.

    Attributes:
        command: the compose program.
        project: its name: containers and volumes of another one are left alone.
        environment: its own ports, and which optional services it has.
        address: how clients reach it.
    """

    command: list[str]
    project: str
    environment: dict[str, str]
    address: Address

    def run(self, *args: str, patience_s: float = START_PATIENCE_S) -> str:
        """Run a compose verb; what it printed on standard output."""
        ended = self.attempt(*args, patience_s=patience_s)
        assert ended.returncode == 0, f"compose {shlex.join(args)}\n{ended.stdout}\n{ended.stderr}"
        return ended.stdout

    def attempt(self, *args: str, patience_s: float = START_PATIENCE_S) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.command, "-p", self.project, *args],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=patience_s,
            check=False,
        )

    def pipe(self, *args: str, source: Path | None = None, target: Path | None = None) -> None:
        """Run a verb between files."""
        null = Path(os.devnull)
        with (source or null).open("rb") as reading, (target or null).open("wb") as writing:
            command = [*self.command, "-p", self.project, *args]
            ended = subprocess.run(
                command,
                cwd=ROOT,
                env=self.environment,
                stdin=reading,
                stdout=writing,
                stderr=subprocess.PIPE,
                check=False,
            )
        assert ended.returncode == 0, ended.stderr.decode()

    def inside(self, service: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program in a service's container."""
        return self.attempt("exec", "-T", service, *command)

    def forget(self) -> None:
        """Take everything down, volumes and all."""
        self.run("down", "--volumes", "--remove-orphans")

    def kill(self, service: str) -> None:
        """As a power cut would end it: no time to write or to say anything."""
        self.run("kill", "--signal", "SIGKILL", service)

    def bring_back(self, service: str) -> None:
        self.run("start", service)

    def wait_until_ready(self) -> None:
        with self.address.client() as client:
            wait_until_ready(client, START_PATIENCE_S)

    def logs(self) -> str:
        return self.attempt("logs", "--tail", "40").stdout


@contextmanager
def stack_from_nothing(folder: Path) -> Iterator[Stack]:
    """Build and start everything without a volume left from before; take it down, volumes and all, at the end.

    Args:
        folder: gets the first key and the proxy's certificate, as an administrator would fetch them.
    """
    port = free_port()
    ports = {"SIGAP_BIND": "127.0.0.1", "SIGAP_HTTPS_PORT": str(port)}
    ports |= {name: str(free_port()) for name in ("SIGAP_HTTP_PORT", "SIGAP_DICOM_PORT")}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SIGAP_")}
    environment |= {"COMPOSE_PROFILES": "metrics,listen", **ports}
    starting = Stack(compose_command(), f"sigap-test-{os.getpid()}", environment, Address(f"https://localhost:{port}"))
    try:
        starting.run("up", "--detach", "--build", patience_s=BUILD_PATIENCE_S)
        keyed = replace(starting, address=replace(starting.address, key=_first_key(starting)))
        authority = _authority(keyed, folder / "authority.pem")
        stack = replace(keyed, address=replace(keyed.address, authority=authority))
        try:
            stack.wait_until_ready()
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{stack.logs()}") from error
        yield stack
    finally:
        starting.attempt("down", "--volumes", "--remove-orphans")


def _first_key(stack: Stack) -> str:
    """As `init` says in its log."""
    printed = stack.run("run", "--rm", "--no-deps", "init", "cat", "/secrets/first-key/key")
    return printed.split()[-1]


def _authority(stack: Stack, path: Path) -> Path:
    give_up = time.monotonic() + START_PATIENCE_S
    while True:
        certificate = stack.inside("proxy", "cat", "/data/caddy/pki/authorities/local/root.crt")
        if certificate.returncode == 0:
            path.write_text(certificate.stdout)
            return path
        assert time.monotonic() < give_up, certificate.stderr
        time.sleep(1)

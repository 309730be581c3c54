"""Access keys: a file of names and hashes in the data folder. The keys themselves are kept nowhere.

A key is 256 random bits. What slows a guesser of passwords down (salt, bcrypt, Argon2) has nothing to do here: nobody
goes through 2**256 keys, however fast one try is, and two keys are never equal. So a plain SHA-256 is as good, and
costs a request a microsecond.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sigap.core.errors import SigapError
from sigap.jobs.client import Client
from sigap.jobs.folder import sync

SCHEMA = "sigap.keys/1"
FILE = "keys.json"

_LOCK_FILE = "keys.lock"
# Tools that look for lost secrets know a prefix; no key begins with a dash.
_PREFIX = "sigap_"
_BYTES = 32
# Of the operating system's permissions: what those who are neither the owner nor of its group may do.
_OTHERS = 0o007
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class KeysUnavailable(SigapError):
    """The key file cannot be read or trusted: nobody is let in."""

    slug = "keys-unavailable"


class BadKeyName(SigapError):
    """A name that no key may have."""

    slug = "bad-key-name"


class KeyNameTaken(SigapError):
    """There is a key of this name."""

    slug = "key-name-taken"


class UnknownKey(SigapError):
    """There is no key of this name."""

    slug = "unknown-key"


@dataclass(frozen=True)
class Key:
    """What is kept of a key.

    Attributes:
        name: the client's whose it is; its jobs belong to this name.
        sha256: of the key, in hex.
        is_admin: whether it sees all jobs.
        created: RFC 3339, UTC.
    """

    name: str
    sha256: str
    is_admin: bool
    created: str

    @property
    def client(self) -> Client:
        return Client(self.name, sees_all=self.is_admin)

    def is_of(self, digest: str) -> bool:
        """Whether it is the key with this digest; takes as long whatever the answer."""
        return hmac.compare_digest(digest, self.sha256)


class KeyFile:
    """The keys of one data folder.

    Read without a lock, since it is only ever replaced as a whole; changed under one, since two changes at once would
    lose the first.

    Args:
        folder: the data folder; made, private to its owner, when the first key is added.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / FILE

    def read(self) -> tuple[Key, ...] | None:
        """All keys, by name; None where there has never been one.

        Raises:
            KeysUnavailable: the file is there, but cannot be read, is damaged, or others could read it.
        """
        try:
            with self.path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                content = file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise KeysUnavailable(
                f"The file of keys ({FILE} in SIGAP_DATA) cannot be read: {error.strerror}."
            ) from error
        if mode & _OTHERS:
            raise KeysUnavailable(
                f"Every user of this machine may read or change the file of keys ({FILE} in SIGAP_DATA). Set its "
                "permissions to 600, and replace the keys if somebody may have done so."
            )
        return _parse(content)

    def add(self, name: str, *, is_admin: bool = False) -> str:
        """Make a new key.

        Returns:
            The key. Nobody can ever ask for it again.

        Raises:
            BadKeyName: no key may be called so.
            KeyNameTaken: one is.
            KeysUnavailable: the file cannot be read or written.
        """
        if not _NAME.fullmatch(name):
            raise BadKeyName(
                "A key's name is up to 63 letters, digits, dots, dashes and underscores, and begins with a letter or a "
                "digit."
            )
        with self._changing() as keys:
            if any(key.name == name for key in keys):
                raise KeyNameTaken(f"There is a key called {name}. Revoke it first, or choose another name.")
            secret = _PREFIX + secrets.token_urlsafe(_BYTES)
            created = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            keys.append(Key(name, digest(secret), is_admin, created))
        return secret

    def revoke(self, name: str) -> None:
        """Delete a key: it opens nothing from now on.

        Raises:
            UnknownKey: there is none of this name.
            KeysUnavailable: the file cannot be read or written.
        """
        with self._changing() as keys:
            left = [key for key in keys if key.name != name]
            if len(left) == len(keys):
                raise UnknownKey(f"There is no key called {name}. See sigap keys list.")
            keys[:] = left

    @contextmanager
    def _changing(self) -> Iterator[list[Key]]:
        """The keys, to be changed by the block; they are safe on the disk at its end, or as they were."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._locked():
                keys = list(self.read() or ())
                yield keys
                self._write(sorted(keys, key=lambda key: key.name))
        except OSError as error:
            raise KeysUnavailable(f"The file of keys in SIGAP_DATA cannot be changed: {error.strerror}.") from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # No link is followed: whoever the folder belongs to could else have root give them any file of the machine.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        handle = os.open(self._folder / _LOCK_FILE, flags, 0o600)
        try:
            self._give_to_owner(handle)
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _write(self, keys: list[Key]) -> None:
        document = {"schema": SCHEMA, "keys": [_entry(key) for key in keys]}
        beside = self._folder / f".{FILE}.{secrets.token_hex(8)}"
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                self._give_to_owner(handle)
                file.write(json.dumps(document, indent=1) + "\n")
                file.flush()
                os.fsync(handle)
            beside.replace(self.path)
        except BaseException:
            with suppress(OSError):
                beside.unlink()
            raise
        sync(self._folder)

    def _give_to_owner(self, handle: int) -> None:
        """What root writes must be readable to the user that the server runs as: the data folder's owner."""
        if os.geteuid() == 0:
            owner = self._folder.stat()
            os.fchown(handle, owner.st_uid, owner.st_gid)


def digest(secret: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _entry(key: Key) -> dict[str, Any]:
    entry = asdict(key)
    return {**{name: entry[name] for name in ("name", "sha256", "created")}, "admin": key.is_admin}


def _parse(content: bytes) -> tuple[Key, ...]:
    """The inverse of `_write`; half a list would lock clients out, or leave a revoked one in."""
    try:
        document = json.loads(content)
        schema = document["schema"]
        keys = [_key(entry) for entry in document["keys"]] if schema == SCHEMA else []
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise KeysUnavailable(_DAMAGED) from error
    if schema != SCHEMA:
        raise KeysUnavailable(
            f"The file of keys ({FILE} in SIGAP_DATA) was written by another version of Sigap. Install that one, or "
            "put the file aside and add the keys anew."
        )
    if len({key.name for key in keys}) != len(keys):
        raise KeysUnavailable(_DAMAGED)
    return tuple(keys)


_DAMAGED = (
    f"The file of keys ({FILE} in SIGAP_DATA) is damaged. Bring it back from a backup, or put it aside and add the "
    "keys anew."
)


def _key(entry: Any) -> Key:
    name, sha256, is_admin, created = (entry[part] for part in ("name", "sha256", "admin", "created"))
    is_sound = isinstance(is_admin, bool) and isinstance(created, str)
    if not (is_sound and _NAME.fullmatch(name) and _SHA256.fullmatch(sha256)):
        raise ValueError("no key")
    return Key(name, sha256, is_admin, created)

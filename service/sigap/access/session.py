"""Sessions of browsers: a cookie instead of the key, which no script and no other site can use.

A session is stored nowhere: its token is an end time and a random number, signed with the hash of its key. Every
gateway that shares the key file knows it, it ends with its key, and it tells neither key nor name. Who can read the key
file could sign one too; whoever can do that can read the studies beside it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

from sigap.access.keys import Key

LASTS_S = 12 * 3600

# A purpose of its own: nothing else that is ever signed with a key's hash can be taken for a session.
_PURPOSE = "sigap.session/1"
_TOKEN = re.compile(r"([0-9]{1,12}\.[0-9a-f]{32})\.([0-9a-f]{64})")


def begin(key: Key, now: float) -> str:
    """A token that stands for a key.

    Args:
        key: whose owner has shown it.
        now: seconds since 1970.
    """
    body = f"{int(now) + LASTS_S}.{secrets.token_hex(16)}"
    return f"{body}.{_signature(key, body)}"


def is_of(key: Key, token: str, now: float) -> bool:
    """Whether a token stands for this key now."""
    found = _TOKEN.fullmatch(token)
    if found is None:
        return False
    body, signature = found.groups()
    return hmac.compare_digest(_signature(key, body), signature) and now < int(body.partition(".")[0])


def _signature(key: Key, body: str) -> str:
    return hmac.new(bytes.fromhex(key.sha256), f"{_PURPOSE}.{body}".encode(), hashlib.sha256).hexdigest()

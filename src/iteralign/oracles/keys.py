"""Where an endpoint's key comes from, and how it is kept out of everything that is written.

A key is read from the environment or from `.env` in the working directory, which never overrides the environment and
is not copied into it. An endpoint may echo a key in an error or in a reply, so both pass through `redact`.
"""

import os
import threading
from pathlib import Path

NO_KEY = "none-needed"
"""Sent to endpoints of one's own that ask for no key; the openai package insists on one."""

_SHORTEST_SECRET = 6  # replacing a shorter key everywhere would garble ordinary text
_known: set[str] = set()
_lock = threading.Lock()


def read_key(variable: str) -> str | None:
    """The key in the environment variable, or in `.env` of the working directory; None where neither has it."""
    value = os.environ.get(variable)
    if not value and Path(".env").is_file():
        from dotenv import dotenv_values

        value = dotenv_values(".env").get(variable)
    key = (value or "").strip()
    if not key:
        return None
    remember_secret(key)
    return key


def remember_secret(secret: str) -> None:
    """From now on `redact` replaces this text."""
    if len(secret) >= _SHORTEST_SECRET:
        with _lock:
            _known.add(secret)


def redact(text: str) -> str:
    """The text with every known secret replaced by `[key]`."""
    with _lock:
        secrets = sorted(_known, key=len, reverse=True)
    for secret in secrets:
        text = text.replace(secret, "[key]")
    return text

"""Where an endpoint's key comes from, and how it is kept out of everything that is written.

A key is read from the environment or from `.env` in the working directory, which never overrides the environment and
is not copied into it. An endpoint may echo a key in an error or in a reply, so both pass through `redact`.
"""

import os
import re
import threading
from pathlib import Path

from iteralign.errors import ConfigError

NO_KEY = "none-needed"
"""Sent to endpoints of one's own that ask for no key; the openai package insists on one."""

_SHORTEST_SECRET = 6  # replacing a shorter key everywhere would garble ordinary text
_SENDABLE = re.compile(r"[!-~]+")
_known: set[str] = set()
_lock = threading.Lock()


def read_key(variable: str) -> str | None:
    """The key in the environment variable, or in `.env` of the working directory; None where neither has it.

    Raises ConfigError for a `.env` that can't be read and for a key that no header can carry.
    """
    key = read_variable(variable)
    if key is None:
        return None
    remember_secret(key)
    if not _SENDABLE.fullmatch(key):
        raise ConfigError(
            f"The key in {variable} contains white space or characters that can't be sent in a header. Was it pasted "
            "with something around it?"
        )
    return key


def read_variable(variable: str) -> str | None:
    """The variable's value, in the environment or in `.env` of the working directory. Raises ConfigError for the latter."""
    return (os.environ.get(variable) or _from_dotenv(variable) or "").strip() or None


def _from_dotenv(variable: str) -> str | None:
    path = Path(".env")
    if not path.is_file():
        return None
    from dotenv import dotenv_values

    try:
        return dotenv_values(path, interpolate=False).get(variable)
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"The file .env in the working directory can't be read: {why}.") from None


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

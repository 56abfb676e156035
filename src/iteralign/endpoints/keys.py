"""Where an endpoint's key comes from, and how it is kept out of everything that is written.

A key is read from the environment or from `.env` in the working directory, which never overrides the environment and
is not copied into it. An endpoint may echo a key in an error or in a reply, so both pass through `redact`.
"""

import base64
import os
import re
import threading
from pathlib import Path
from urllib.parse import urlsplit

from iteralign.errors import ConfigError

OPENAI_URL = "https://api.openai.com/v1"
KEY_VARIABLE, BASE_URL_VARIABLE = "OPENAI_API_KEY", "OPENAI_BASE_URL"
"""The openai package's: whoever sets both says which key belongs to which address."""

NO_KEY = "none-needed"
"""Sent to endpoints of one's own that ask for no key; the openai package insists on one."""

_SHORTEST_SECRET = 6  # replacing a shorter key everywhere would garble ordinary text
_SENDABLE = re.compile(r"[!-~]+")
_known: set[str] = set()
_escaped: set[re.Pattern[str]] = set()
"""Of each secret, what escapes it character by character."""
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


def environment_is_for(base_url: str) -> bool:
    """Whether the environment's OPENAI_... is about this endpoint: OpenAI's own, or the one that OPENAI_BASE_URL names."""
    parts = urlsplit(base_url)
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme == "https" and (host == "api.openai.com" or host.endswith(".api.openai.com")):
        return True
    named = read_variable(BASE_URL_VARIABLE)
    return named is not None and named.rstrip("/") == base_url.rstrip("/")


def endpoint_key(variable: str | None, base_url: str) -> str | None:
    """The key in the variable that the settings name. Where they name none, OpenAI's goes to no other endpoint than those
    that the environment is about. Raises ConfigError."""
    if variable is None:
        variable = KEY_VARIABLE if environment_is_for(base_url) else None
    return None if variable is None else read_key(variable)


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
    """From now on `redact` replaces this text, also where it is written in another way."""
    if len(secret) >= _SHORTEST_SECRET and secret != NO_KEY:
        with _lock:
            _known.update(_written(secret))
            _escaped.add(_escapes(secret))


def _written(secret: str) -> set[str]:
    """The ways in which an endpoint may write a secret: as it stands, escaped, encoded, backwards."""
    data = secret.encode()
    hexadecimal = [f"{byte:02x}" for byte in data]
    ways = {secret, secret[::-1]}
    for digits in (hexadecimal, [pair.upper() for pair in hexadecimal]):
        ways |= {between.join(digits) for between in ("", " ", ":")}
        ways |= {"".join(f"%{pair}" for pair in digits), "".join(f"&#x{pair};" for pair in digits)}
    ways.add("".join(f"&#{byte};" for byte in data))
    for shift in range(3):  # base64 of a longer text that the secret stands in: what surely follows from the secret
        encoded = base64.b64encode(bytes(shift) + data)[(0, 2, 3)[shift] : len(data + bytes(shift)) * 8 // 6].decode()
        ways |= {encoded, encoded.replace("+", "-").replace("/", "_")}
    return {way for way in ways if len(way) >= _SHORTEST_SECRET}


def _escapes(secret: str) -> re.Pattern[str]:
    """Escapes of the secret's characters, and escapes of such escapes: JSON in JSON doubles its backslashes."""
    each = "".join(rf"\\++(?:u00|x){byte:02x}" for byte in secret.encode())
    return re.compile(rf"(?<!\\){each}", re.IGNORECASE)


def redact(text: str) -> str:
    """The text with every known secret replaced by `[key]`."""
    with _lock:
        secrets = sorted(_known, key=len, reverse=True)
        escaped = list(_escaped)
    for secret in secrets:
        text = text.replace(secret, "[key]")
    for pattern in escaped:
        text = pattern.sub("[key]", text)
    return text

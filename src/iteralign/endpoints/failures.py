"""What can go wrong with a call of an endpoint, as whoever asked must tell it apart."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from iteralign.endpoints.keys import redact

if TYPE_CHECKING:
    import httpx2

LONGEST_WORDS = 300
"""Characters of an endpoint's own words that go into a message."""
_NO_SUCH_MODEL = ("model_not_found", "invalid model", "model not exist")


class Failure(Exception):
    """Of one call; others may be answered."""


class Transient(Failure):
    """Trying again may help: limits, overload, broken connections, garbled replies."""

    def __init__(
        self, message: str, *, after: float | None = None, few: bool = False, status: int | None = None
    ) -> None:
        super().__init__(redact(message))
        self.status = status
        """Of the HTTP answer, where there was one that says so."""
        self.after = after
        """Seconds that the endpoint asks to wait."""
        self.few = few
        """True where the same reply is likely to come again, so that many tries would be a waste."""


class NoContact(Transient):
    """No connection could be made."""


class Refused(Failure):
    """The endpoint's content filter declined the request."""


class Rejected(Failure):
    """The endpoint does not take this request; another one may be fine."""

    def __init__(self, message: str, detail: str = "", status: int | None = None) -> None:
        super().__init__(redact(message))
        self.status = status
        self.detail = detail.lower()
        """The endpoint's words, for finding out which parameter it does not know."""


class Inaccessible(Exception):
    """Wrong key, model or URL: nothing will help but a change of settings."""

    def __init__(self, message: str, status: int | None = None, said: str = "") -> None:
        super().__init__(redact(message))
        self.status = status
        self.said = redact(said or message)
        """The endpoint's own words."""


def parse_retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds to wait by `retry-after-ms` or `Retry-After` (a number or a date); None where neither can be read."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) / unit
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    try:
        until = parsedate_to_datetime(headers.get("retry-after", ""))
    except (ValueError, TypeError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - (now or datetime.now(UTC))).total_seconds())


def from_status(status: int, response: "httpx2.Response") -> Exception:
    code, words = _error_words(response.content)
    said = f"HTTP {status}" + (f" ({words})" if words else "")
    lower = f"{code} {words}".lower()
    if status in (400, 403, 422) and _is_content_filter(lower):
        return Refused(said)
    if status in (401, 403) or (status == 400 and _is_wrong_key(lower)):
        message = f"the key was not accepted: {said}. Check the key, and that it may use this model."
        return Inaccessible(message, status, said)
    if status == 404:
        return Inaccessible(
            f"there is no such address or model: {said}. Check base_url (it often ends in /v1) and model.", status, said
        )
    if 300 <= status < 400:
        return Inaccessible(
            f"{said}: it redirects to {_location(response)}, which is not followed. Use that URL if it is the right one."
        )
    if status == 402 or "insufficient_quota" in lower:
        return Inaccessible(f"the account has no credit left: {said}.")
    if status in (400, 422) and any(sign in lower for sign in _NO_SUCH_MODEL):
        return Inaccessible(f"the model is not known there: {said}. Check model.")
    if status in (408, 409, 425, 429) or status >= 500:
        return Transient(said, after=parse_retry_after(response.headers), status=status)
    return Rejected(said, lower, status)


def too_slow(seconds: float) -> Transient:
    """What a server that is at work, but not done in time, fails with: its user must know which setting that is."""
    return Transient(f"timed out: no reply within {seconds:g} s. A slow server needs a longer `timeout`")


def from_connection(cause: BaseException | None, timeout: float) -> Exception:
    import httpx2

    words = f"{cause}" if cause is not None and str(cause) else type(cause).__name__
    if isinstance(cause, httpx2.UnsupportedProtocol):
        return Inaccessible(f"the address can't be used: {words}")
    if isinstance(cause, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError)):
        return NoContact(f"no connection: {words}")
    if isinstance(cause, httpx2.TimeoutException):
        return too_slow(timeout)
    return Transient(f"the connection broke: {words}")


def _location(response: "httpx2.Response") -> str:
    return excerpt(response.headers.get("location", "another address").encode("utf-8", "replace"))


def _is_content_filter(lower: str) -> bool:
    signs = ("content_filter", "content filter", "content_policy", "content management policy", "moderation", "flagged")
    return any(sign in lower for sign in signs)


def _is_wrong_key(lower: str) -> bool:
    return any(
        sign in lower for sign in ("api key not valid", "api_key_invalid", "incorrect api key", "invalid api key")
    )


def _error_words(body: bytes) -> tuple[str, str]:
    """The error's code and message, wherever this kind of server puts them, after the escapes of JSON are undone."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return "", excerpt(body)
    if isinstance(data, list) and data:
        data = data[0]  # Gemini's
    error = data.get("error", data) if isinstance(data, dict) else data
    if not isinstance(error, dict):
        return "", excerpt(str(error).encode("utf-8", "replace"))
    code = f"{error.get('code') or ''} {error.get('type') or ''}"
    message = error.get("message") or error.get("detail") or ""
    return code, excerpt(str(message).encode("utf-8", "replace"))


def excerpt(body: bytes) -> str:
    # Redacted before it is cut: a cut through a key would leave a part of it that is not recognised.
    text = redact(body[:65536].decode("utf-8", "replace"))
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return text if len(text) <= LONGEST_WORDS else text[:LONGEST_WORDS] + "..."

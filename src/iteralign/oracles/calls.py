"""One call of a chat endpoint, and what came of it: an answer, or one of four failures that ask for different things.

The openai package carries the request; its own retries are off. The reply is read here, strictly, from its bytes.
"""

import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from iteralign.characters import valid
from iteralign.oracles.keys import redact
from iteralign.oracles.pace import Pace
from iteralign.oracles.pool import with_deadline
from iteralign.oracles.thinking import without_thinking

if TYPE_CHECKING:
    import httpx2
    from openai import OpenAI

_ERROR_TEXT = 300  # characters of an endpoint's own words that go into a message
_KEPT_OPEN = 600.0  # seconds; between two rounds of calls the target is trained, which takes longer than the usual 5
_NO_SUCH_MODEL = ("model_not_found", "invalid model", "model not exist")
_ENCODED_SHARE = 50  # a compressed body may be this much smaller than the bound on the reply: it grows when unpacked


@dataclass(frozen=True)
class Answer:
    """What the endpoint answered."""

    text: str
    finish: str
    prompt_tokens: int | None
    """None where the endpoint did not say."""
    completion_tokens: int | None
    refused: bool
    reused_tokens: int | None = None
    """Of the prompt tokens, those that the endpoint still had from earlier requests; None where it did not say."""
    thought: bool = False
    """The model thought before it answered; `text` is the answer alone."""
    model: str | None = None
    """What the endpoint calls the model that answered."""


class Transient(Exception):
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


class Refused(Exception):
    """The endpoint's content filter declined the request."""


class Rejected(Exception):
    """The endpoint does not take this request; another one may be fine."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(redact(message))
        self.detail = detail.lower()
        """The endpoint's words, for finding out which parameter it does not know."""


class Inaccessible(Exception):
    """Wrong key, model or URL: nothing will help but a change of settings."""

    def __init__(self, message: str, status: int | None = None, said: str = "") -> None:
        super().__init__(redact(message))
        self.status = status
        self.said = redact(said or message)
        """The endpoint's own words."""


class Endpoint:
    """An OpenAI-compatible endpoint. `timeout` bounds a call as a whole, `max_bytes` its reply."""

    def __init__(self, base_url: str, key: str, *, connect_timeout: float, timeout: float, max_bytes: int) -> None:
        self.base_url = base_url
        self._key = key
        self._connect_timeout = connect_timeout
        self._timeout = timeout
        self._max_bytes = max_bytes
        self.pace = Pace()
        self._client: OpenAI | None = None

    def open(self) -> None:
        """Make the connection pool (in one thread, before calls are made from many)."""
        if self._client is None:
            import httpx2
            import openai

            http = openai.DefaultHttpxClient(
                timeout=httpx2.Timeout(self._timeout, connect=self._connect_timeout),
                limits=httpx2.Limits(max_connections=None, keepalive_expiry=_KEPT_OPEN),
                follow_redirects=False,  # a redirected POST turns into a GET, and a key should not travel
                headers={"Accept-Encoding": "identity"},
                event_hooks={"response": [self._bound]},
            )
            self._client = openai.OpenAI(api_key=self._key, base_url=self.base_url, max_retries=0, http_client=http)

    def call(self, payload: Mapping[str, Any]) -> Answer:
        """Ask for a chat completion, or of a `prompt` a plain one. Raises Transient, Refused, Rejected or Inaccessible."""
        import httpx2
        import openai

        self.open()
        try:
            body = with_deadline(lambda: self._send(payload), self._timeout + 0.5)
        except openai.APIStatusError as error:
            if error.status_code == 400 and b"Could not finish the message" in error.response.content:
                return Answer("", "length", None, None, refused=False, thought=True)  # OpenAI's, of an o-model
            raise _from_status(error.status_code, error.response) from None
        except openai.APIConnectionError as error:
            raise _from_connection(error.__cause__) from None
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise Transient(f"timed out: {error}") from None
        except (httpx2.InvalidURL, UnicodeError) as error:
            raise Inaccessible(f"the address can't be used: {error}") from None
        except (httpx2.HTTPError, OSError) as error:
            raise Transient(f"the connection broke: {error or type(error).__name__}") from None
        return read_answer(body)

    def _send(self, payload: Mapping[str, Any]) -> bytes:
        assert self._client is not None  # opened by call
        ask = self._client.completions if "prompt" in payload else self._client.chat.completions
        reply = ask.with_raw_response.create(**payload)
        content: bytes = reply.http_response.content
        return content

    def _bound(self, response: "httpx2.Response") -> None:
        self.pace.told(response.headers)
        if response.status_code == 429:  # it holds for all calls, not only for the one that was turned away
            self.pace.hold(parse_retry_after(response.headers) or 0.0)
        limit = self._max_bytes
        if response.headers.get("content-encoding", "identity") != "identity":
            limit //= _ENCODED_SHARE
        response.stream = _bounded_stream(response.stream, limit, self._timeout)


def _bounded_stream(stream: Any, limit: int, seconds: float) -> Any:
    """The stream, ended by Transient when it is longer than `limit` bytes or takes longer than `seconds`."""
    import httpx2

    deadline = time.monotonic() + seconds

    class Bounded(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            size = 0
            for chunk in stream:
                size += len(chunk)
                if size > limit:
                    raise Transient(f"the reply is longer than {limit:,} bytes", few=True)
                if time.monotonic() > deadline:
                    raise Transient(f"timed out: the reply was still coming in after {seconds:g} s")
                yield chunk

        def close(self) -> None:
            stream.close()

    return Bounded()


def read_answer(body: bytes) -> Answer:
    """The first choice of a completion. Raises Transient for anything that is not one, or is an empty one."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise Transient(f"the reply is not JSON: {_excerpt(body)}") from None
    choice = data["choices"][0] if isinstance(data, dict) and _is_filled_list(data.get("choices")) else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if message is None and isinstance(choice, dict) and isinstance(choice.get("text"), str):
        message = {"content": choice["text"]}  # of a completion that was not a chat
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise Transient(f"the reply is not a chat completion: {_excerpt(body)}")
    finish = choice.get("finish_reason")
    finish = redact(valid(finish)) if isinstance(finish, str) else "stop"
    refused = finish == "content_filter" or bool(message.get("refusal"))
    said = _text(message.get("content"))
    usage = _dict(data.get("usage"))
    text = without_thinking(said)
    thought = text != said or _shows_thoughts(message, usage)
    if not text.strip() and not refused and finish != "length":
        raise Transient("the reply is thoughts and no answer" if thought else "the reply is empty", few=True)
    clean = redact(valid(text))
    prompt_tokens, completion_tokens = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    if unnamed := _unnamed(usage):
        thought, completion_tokens = True, (completion_tokens or 0) + unnamed
    model = data.get("model")
    model = redact(valid(model))[:_ERROR_TEXT] if isinstance(model, str) else None
    return Answer(clean, finish, prompt_tokens, completion_tokens, refused, _reused(data, usage), thought, model)


def _text(content: object) -> str:
    """A message's content; of one that comes in parts (Mistral's reasoning models) the text alone."""
    if isinstance(content, list):
        parts = [part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)]
        content = "".join(parts) if parts or not content else content
    if content is not None and not isinstance(content, str):
        raise Transient("the reply's content is not text", few=True)
    return content or ""


def _shows_thoughts(message: dict[str, Any], usage: dict[str, Any]) -> bool:
    """Whether there are thoughts in a field of their own, or tokens that went into them."""
    spent = _count(_dict(usage.get("completion_tokens_details")).get("reasoning_tokens"))
    return bool(message.get("reasoning_content") or message.get("reasoning") or spent)


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


def _from_status(status: int, response: "httpx2.Response") -> Exception:
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
            f"{said}: it redirects to {response.headers.get('location', 'another address')}. Use that URL."
        )
    if status == 402 or "insufficient_quota" in lower:
        return Inaccessible(f"the account has no credit left: {said}.")
    if status in (400, 422) and any(sign in lower for sign in _NO_SUCH_MODEL):
        return Inaccessible(f"the model is not known there: {said}. Check model.")
    if status in (408, 409, 425, 429) or status >= 500:
        return Transient(said, after=parse_retry_after(response.headers), status=status)
    return Rejected(said, lower)


def _from_connection(cause: BaseException | None) -> Exception:
    import httpx2

    words = f"{cause}" if cause is not None and str(cause) else type(cause).__name__
    if isinstance(cause, httpx2.UnsupportedProtocol):
        return Inaccessible(f"the address can't be used: {words}")
    if isinstance(cause, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError)):
        return NoContact(f"no connection: {words}")
    if isinstance(cause, httpx2.TimeoutException):
        return Transient(f"timed out: {words}")
    return Transient(f"the connection broke: {words}")


def _is_content_filter(lower: str) -> bool:
    signs = ("content_filter", "content filter", "content_policy", "content management policy", "moderation", "flagged")
    return any(sign in lower for sign in signs)


def _is_wrong_key(lower: str) -> bool:
    return any(
        sign in lower for sign in ("api key not valid", "api_key_invalid", "incorrect api key", "invalid api key")
    )


def _error_words(body: bytes) -> tuple[str, str]:
    """The error's code and message, wherever this kind of server puts them."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return "", _excerpt(body)
    if _is_filled_list(data):
        data = data[0]  # Gemini's
    error = data.get("error", data) if isinstance(data, dict) else data
    if not isinstance(error, dict):
        return "", _excerpt(str(error).encode("utf-8", "replace"))
    code = f"{error.get('code') or ''} {error.get('type') or ''}"
    message = error.get("message") or error.get("detail") or ""
    return code, _excerpt(str(message).encode("utf-8", "replace"))


def _excerpt(body: bytes) -> str:
    # Redacted before it is cut: a cut through a key would leave a part of it that is not recognised.
    text = " ".join(redact(body[:65536].decode("utf-8", "replace")).split())
    return text if len(text) <= _ERROR_TEXT else text[:_ERROR_TEXT] + "..."


def _is_filled_list(value: object) -> bool:
    return isinstance(value, list) and bool(value)


def _unnamed(usage: dict[str, Any]) -> int:
    """Tokens that are in the total alone: thoughts, as Gemini counts them, which are paid for like an answer."""
    total, sent, received = (_count(usage.get(f"{name}_tokens")) for name in ("total", "prompt", "completion"))
    return max(0, total - sent - received) if total and sent and received is not None else 0


def _reused(data: dict[str, Any], usage: dict[str, Any]) -> int | None:
    """What servers call cached tokens, each in its own place."""
    places = (
        (usage.get("prompt_tokens_details"), "cached_tokens"),  # OpenAI, vLLM, llama-server
        (usage, "prompt_cache_hit_tokens"),  # DeepSeek
        (usage, "cache_read_input_tokens"),  # Anthropic's, as proxies pass it on
        (data.get("timings"), "cache_n"),  # llama-server of older versions
    )
    counts = (_count(place.get(name)) for place, name in places if isinstance(place, dict))
    return next((count for count in counts if count is not None), None)


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None

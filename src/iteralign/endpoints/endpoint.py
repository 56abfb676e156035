"""One OpenAI-compatible endpoint, whatever it is asked for: judge, proposer, guard and served target all call it here.

The openai package carries the request; its own retries are off. No redirect is followed, a reply is bounded as it arrives
and as it is unpacked, and what the environment says for OpenAI goes to nobody else.
"""

import json
import os
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from iteralign.endpoints.failures import (
    Inaccessible,
    Transient,
    excerpt,
    from_connection,
    from_status,
    parse_retry_after,
    too_slow,
)
from iteralign.endpoints.keys import environment_is_for, remember_secret
from iteralign.endpoints.pace import CallPace
from iteralign.endpoints.pool import with_deadline

if TYPE_CHECKING:
    import httpx2
    from openai import OpenAI

_KEPT_OPEN = 600.0  # seconds; between two rounds of calls the target is trained, which takes longer than the usual 5
_GZIP_OR_ZLIB = 47  # zlib's number for whichever of both the data begins as
_PIECE = 65536  # bytes unpacked at once


class Endpoint:
    """`timeout` bounds a call as a whole, `max_bytes` its reply, before and after it is unpacked. Safe for threads."""

    def __init__(
        self, base_url: str, key: str, *, connect_timeout: float, timeout: float, max_bytes: int = 4_000_000
    ) -> None:
        self.base_url = base_url
        self._key = key
        self._connect_timeout = connect_timeout
        self._timeout = timeout
        self._max_bytes = max_bytes
        self.pace = CallPace()
        self._client: OpenAI | None = None
        remember_secret(key)

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
            self._client = openai.OpenAI(
                api_key=self._key,
                base_url=self.base_url,
                max_retries=0,
                http_client=http,
                default_headers=self._headers(),
            )

    def post(self, path: str, payload: Mapping[str, Any]) -> bytes:
        """The reply to a POST. Raises Transient, Refused, Rejected or Inaccessible."""
        import httpx2
        import openai

        self.open()
        try:
            return with_deadline(lambda: self._send(path, payload), self._timeout + 0.5)
        except openai.APIStatusError as error:
            raise from_status(error.status_code, error.response) from None
        except openai.APIConnectionError as error:
            raise from_connection(error.__cause__, self._timeout) from None
        except (TimeoutError, httpx2.TimeoutException):
            raise too_slow(self._timeout) from None
        except (httpx2.InvalidURL, UnicodeError) as error:
            raise Inaccessible(f"the address can't be used: {error}") from None
        except (httpx2.HTTPError, OSError) as error:
            raise Transient(f"the connection broke: {error or type(error).__name__}") from None

    def _send(self, path: str, payload: Mapping[str, Any]) -> bytes:
        import httpx2

        assert self._client is not None  # opened by post
        response: httpx2.Response = self._client.post(path, body=payload, cast_to=httpx2.Response)
        content: bytes = response.content
        return content

    def _headers(self) -> dict[str, Any]:
        """The openai package adds what the environment says of an organisation, a project and headers; here left out
        where the environment is not about this endpoint."""
        import openai

        if environment_is_for(self.base_url):
            return {}
        lines = os.environ.get("OPENAI_CUSTOM_HEADERS", "").split("\n")
        names = [line.partition(":")[0].strip() for line in lines if ":" in line]
        kept_out = {name: openai.Omit() for name in ("OpenAI-Organization", "OpenAI-Project", *names)}
        own = [name for name in kept_out if name.lower() in ("authorization", "content-type", "accept")]
        return {name: one for name, one in kept_out.items() if name not in own} | {
            "Authorization": f"Bearer {self._key}"
        }

    def _bound(self, response: "httpx2.Response") -> None:
        self.pace.told(response.headers)
        if response.status_code == 429:  # it holds for all calls, not only for the one that was turned away
            self.pace.hold(parse_retry_after(response.headers) or 0.0)
        response.stream = _stream(response.stream, self._pieces(response))

    def _pieces(self, response: "httpx2.Response") -> Callable[[Iterator[bytes]], Iterator[bytes]]:
        """What bounds, and unpacks, the body of this response."""
        packed = [name.strip().lower() for name in response.headers.get("content-encoding", "").split(",")]
        packed = [name for name in packed if name not in ("", "identity")]
        if packed:
            del response.headers["content-encoding"]  # it is undone here, where it can be bounded
        deadline = time.monotonic() + self._timeout

        def pieces(raw: Iterator[bytes]) -> Iterator[bytes]:
            if packed and packed not in (["gzip"], ["x-gzip"], ["deflate"]):
                raise Transient(f"the reply is packed as {', '.join(packed)[:80]}, which was not asked for", few=True)
            size = 0
            timed = self._in_time(raw, deadline)
            for piece in _unpacked(timed) if packed else timed:
                size += len(piece)
                if size > self._max_bytes:
                    raise Transient(f"the reply is longer than {self._max_bytes:,} bytes", few=True)
                yield piece

        return pieces

    def _in_time(self, raw: Iterator[bytes], deadline: float) -> Iterator[bytes]:
        for piece in raw:
            if time.monotonic() > deadline:
                raise Transient(f"timed out: the reply was still coming in after {self._timeout:g} s")
            yield piece


def as_object(body: bytes) -> dict[str, Any]:
    """The JSON object that a reply is. Raises Transient."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise Transient(f"the reply is not JSON: {excerpt(body)}") from None
    if not isinstance(data, dict):
        raise Transient(f"the reply is not a JSON object: {excerpt(body)}")
    return data


def first_choice(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """Of a completion; None where there is none."""
    choices = data.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    return choice if isinstance(choice, dict) else None


def _unpacked(raw: Iterator[bytes]) -> Iterator[bytes]:
    """In small pieces, however much a piece of the packed data holds. Raises Transient for what is not packed so."""
    stream = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        for packed in raw:
            yield stream.decompress(packed, _PIECE)
            while stream.unconsumed_tail:
                yield stream.decompress(stream.unconsumed_tail, _PIECE)
    except zlib.error:
        raise Transient("the reply is not packed as it says", few=True) from None


def _stream(inner: Any, pieces: Callable[[Iterator[bytes]], Iterator[bytes]]) -> Any:
    import httpx2

    class Bounded(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            return pieces(iter(inner))

        def close(self) -> None:
            inner.close()

    return Bounded()

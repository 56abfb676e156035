"""Who may ask the server for what: pages of this machine's user, and nobody who merely makes their browser ask.

A page elsewhere can make a browser send requests to loopback, and by DNS rebinding even read the replies. So the Host must
be one of this server's names. What writes must come from a page of this server (Origin) and bring the token that stands in
the address which `iteralign view` prints. Where the server listens beyond loopback, everything needs the token.
"""

import secrets
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from iteralign.endpoints.loopback import LOOPBACK

MOST_SENT = 256 * 1024
"""Bytes of a request's body."""
_READING = ("GET", "HEAD")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class Guard:
    """Around the whole application."""

    def __init__(self, app: ASGIApp, host: str, port: int, token: str) -> None:
        self.app = app
        self.token = token
        self.names = names_of(host, port)
        """What the Host header may say; None for any, where only the token counts."""
        self.reads_freely = host in LOOPBACK

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refused = self.why_not(scope["method"], Headers(scope=scope), QueryParams(scope["query_string"]))
        app = self.app if refused is None else PlainTextResponse(refused, 403)
        await app(scope, receive, with_headers)

    def why_not(self, method: str, headers: Headers, query: QueryParams) -> str | None:
        """Why a request is refused; None where it is not."""
        host = headers.get("host", "")
        if self.names is not None and host not in self.names:
            return f"This server is not called {host[:100]!r}. Use the address that iteralign view printed."
        given = headers.get("x-token") or query.get("token", "")
        known = secrets.compare_digest(given.encode(), self.token.encode())
        if method not in _READING:
            if urlsplit(headers.get("origin", "")).netloc != host:
                return "Only a page of this server may write."
            if not headers.get("content-type", "").startswith("application/json"):
                return "What is written must be JSON."
            length = headers.get("content-length", "")
            if not length.isascii() or not length.isdecimal() or int(length[:12]) > MOST_SENT:
                return f"What is written must say its length, of at most {MOST_SENT} bytes."
        elif self.reads_freely:
            return None
        return None if known else "Open the address that iteralign view printed, with its token."


def names_of(host: str, port: int) -> Iterable[str] | None:
    """What the Host header may say of a server that listens there."""
    if host in LOOPBACK:
        return {f"{_in_address(name)}:{port}" for name in LOOPBACK}
    return None if host in ("0.0.0.0", "::", "") else {f"{_in_address(host)}:{port}", _in_address(host)}


def _in_address(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def address(host: str, port: int, token: str) -> str:
    """What a person opens."""
    shown = LOOPBACK[0] if host in ("0.0.0.0", "::", "") else host
    return f"http://{_in_address(shown)}:{port}/?token={token}"

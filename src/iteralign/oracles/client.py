"""Chat requests to an OpenAI-compatible endpoint: many at a time, each answered once and paid for once.

Retries live here and nowhere else. A reply that could not be had comes back as a `Reply` with an error, in its place.
"""

import hashlib
import itertools
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from iteralign.errors import ConfigError, OracleAccessError
from iteralign.oracles.budget import Call, Ledger
from iteralign.oracles.cache import ReplyCache
from iteralign.oracles.calls import Answer, Endpoint, Inaccessible, NoContact, Refused, Rejected, Transient
from iteralign.oracles.keys import NO_KEY, read_key
from iteralign.oracles.pool import Cancelled, run_bounded

log = logging.getLogger(__name__)

OPENAI_URL = "https://api.openai.com/v1"

_BYTES_PER_TOKEN = 3  # on the low side for English, so that what is reserved is rather too much
_TOKENS_OF_A_CHAT = 16  # roles and separators
_LONGEST_WAIT = 30.0  # seconds between two tries, where the endpoint asks for nothing else
_FEW_RETRIES = 2


@dataclass(frozen=True)
class Message:
    """One message of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class ChatRequest:
    """What is asked. Equal requests have one reply: `sample` tells apart those that are to be answered separately."""

    messages: tuple[Message, ...]
    max_tokens: int = 512
    temperature: float = 0.0
    schema: dict[str, Any] | None = field(default=None, hash=False)
    """JSON schema of the reply; a wish, since not every endpoint knows structured output."""
    sample: int = 0
    raw: bool = False
    """The one message's content is a text to be continued as it stands, by the completions endpoint."""


@dataclass(frozen=True)
class Reply:
    """What came back. Usable as an answer only where `error` is None and `refused` is False."""

    text: str
    finish: str
    """stop, length (cut short), content_filter, or error."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    refused: bool = False
    """The model or the endpoint's content filter declined to answer."""
    error: str | None = None
    unreachable: bool = False
    """The endpoint itself seems to be down: the error says nothing about this request."""
    cached: bool = False
    estimated: bool = False
    """The endpoint did not say how many tokens it took."""
    reused_tokens: int = 0
    """Of the prompt tokens, those that the endpoint did not have to read again."""


class _Batch:
    """State of one `complete`: whether the caller has gone, and whether the endpoint is down."""

    def __init__(self, step: str) -> None:
        self.step = step
        self.stop = threading.Event()
        self.down = threading.Event()


class ChatClient:
    """One model at one endpoint. Safe for use from several threads.

    `base_url` None is OpenAI's own. The key is read from the environment variable `key_variable` or from `.env`; an
    endpoint other than OpenAI's may need none. `retry_seconds` bounds all tries of one request together, `timeout` one
    try, `max_reply_bytes` one reply. `max_tokens` is what an oracle allows a reply of this model.

    Raises OracleAccessError where OpenAI's own endpoint is asked without a key.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        *,
        key_variable: str = "OPENAI_API_KEY",
        concurrency: int = 8,
        max_retries: int = 8,
        retry_seconds: float = 600.0,
        backoff: float = 1.0,
        connect_timeout: float = 10.0,
        timeout: float = 120.0,
        max_tokens: int = 1024,
        max_reply_bytes: int = 4_000_000,
        structured: bool = True,
        cache: ReplyCache | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self.model = model
        self.base_url = _checked_url(base_url or OPENAI_URL)
        self.concurrency = concurrency
        self.max_retries = max_retries
        self.retry_seconds = retry_seconds
        self.backoff = backoff
        self.max_tokens = max_tokens
        self.cache = cache
        self.ledger = ledger
        key = read_key(key_variable)
        if key is None and self.base_url == OPENAI_URL:
            raise OracleAccessError(
                f"No key for {self.base_url}: set the environment variable {key_variable}, or put {key_variable}=... "
                "into a file .env in the working directory."
            )
        if ledger is not None:
            ledger.require_price(self.base_url, model)
        self._endpoint = Endpoint(
            self.base_url, key or NO_KEY, connect_timeout=connect_timeout, timeout=timeout, max_bytes=max_reply_bytes
        )
        self._structured = structured
        self._temperature = True
        self._length_field = "max_tokens"
        self._met = False  # the endpoint has been heard from
        self._answers = 0
        self._random = random.Random()

    def check(self) -> None:
        """One small real call, so that a wrong key, model or URL shows before anything is spent on a run.

        Raises OracleAccessError.
        """
        request = ChatRequest((Message("user", "Reply with the word: ready"),), max_tokens=16)
        batch = _Batch("check")
        for _, reply in run_bounded(
            lambda one: self._ask(one, self.key(one), batch, keep=False), [request], 1, batch.stop
        ):
            if reply.error is not None:
                raise self._access_error(reply.error)

    def complete(
        self,
        requests: Sequence[ChatRequest],
        *,
        step: str = "oracle",
        on_reply: Callable[[int, Reply], None] | None = None,
    ) -> list[Reply]:
        """One reply per request, in their order; equal requests are sent once, known ones not at all.

        `on_reply(index, reply)` is called in this thread as replies come in. Raises OracleAccessError and
        BudgetReached; any other failure is a Reply with an error in its place.
        """
        places: dict[str, list[int]] = {}
        for index, request in enumerate(requests):
            places.setdefault(self.key(request), []).append(index)
        replies: list[Reply | None] = [None] * len(requests)

        def settle(key: str, reply: Reply) -> None:
            for index in places[key]:
                replies[index] = reply
                if on_reply is not None:
                    on_reply(index, reply)

        open_keys = []
        for key in places:
            known = self._from_cache(key)
            if known is None:
                open_keys.append(key)
            else:
                self._record(key, step, known, attempts=0)
                settle(key, known)
        batch = _Batch(step)
        work = [(requests[places[key][0]], key) for key in open_keys]
        if work:
            self._endpoint.open()
        for index, reply in run_bounded(lambda item: self._ask(*item, batch), work, self.concurrency, batch.stop):
            settle(open_keys[index], reply)
        return [reply for reply in replies if reply is not None]

    @property
    def takes_schemas(self) -> bool:
        """False once the endpoint has refused structured output; some ignore it without a word."""
        return self._structured

    def key(self, request: ChatRequest) -> str:
        """Hash of all that the reply depends on; what the cache and the ledger know a request by."""
        asked = asdict(request)
        if not asked["raw"]:
            del asked["raw"]  # as it was before there were raw requests, so that older replies are still found
        content = [1, self.base_url, self.model, asked]
        return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=True).encode()).hexdigest()

    def _ask(self, request: ChatRequest, key: str, batch: _Batch, keep: bool = True) -> Reply:
        if batch.down.is_set():
            return _failed("not sent, since the endpoint is down", unreachable=True)
        if self.ledger is None:
            return self._try(request, key, batch, keep)
        with self.ledger.reserved(self.base_url, self.model, _estimate(request), request.max_tokens):
            return self._try(request, key, batch, keep)

    def _try(self, request: ChatRequest, key: str, batch: _Batch, keep: bool) -> Reply:
        reply, attempts = self._with_retries(request, batch)
        if keep and reply.error is None and self.cache is not None:
            self.cache.put(key, self.model, {name: value for name, value in asdict(reply).items() if name in _KEPT})
        self._record(key, batch.step, reply, attempts)
        return reply

    def _with_retries(self, request: ChatRequest, batch: _Batch) -> tuple[Reply, int]:
        start, answers_before = time.monotonic(), self._answers
        useless = 0  # replies that are likely to come again
        for attempt in itertools.count(1):
            if self._endpoint.pace.wait(batch.stop):
                raise Cancelled
            try:
                answer = self._call(request)
            except Inaccessible as problem:
                raise self._access_error(str(problem)) from None
            except Refused:
                self._met = True
                return Reply("", "content_filter", refused=True), attempt
            except Rejected as problem:
                self._met = True
                return _failed(str(problem)), attempt
            except Transient as problem:
                if isinstance(problem, NoContact) and not self._met:
                    raise self._access_error(f"{problem}. Is the server running, and is base_url right?") from None
                self._met = self._met or not isinstance(problem, NoContact)
                wait = self._wait_for(problem, attempt)
                left = self.retry_seconds - (time.monotonic() - start)
                useless += problem.few
                if attempt > self.max_retries or useless > _FEW_RETRIES or wait > left:
                    return self._give_up(problem, attempt, answers_before, batch), attempt
                log.info("Oracle call failed (%s); trying again in %.1f s.", problem, wait)
                if batch.stop.wait(wait):
                    raise Cancelled from None
            else:
                self._met = True
                self._answers += 1
                return _reply(request, answer), attempt
        raise AssertionError("unreachable")

    def _wait_for(self, problem: Transient, attempt: int) -> float:
        jitter = self._random.uniform(0.5, 1.0)
        if problem.after is not None:
            return problem.after + self.backoff * jitter
        return min(_LONGEST_WAIT, self.backoff * 2.0 ** min(attempt - 1, 20)) * jitter

    def _give_up(self, problem: Transient, attempts: int, answers_before: int, batch: _Batch) -> Reply:
        # The fault lies with this request alone where a small call is answered now: that others were answered meanwhile
        # says only that the endpoint was alive then. A reply that is merely of no use came from a living endpoint.
        alive = (problem.few and self._answers > answers_before) or self._probe()
        if not alive:
            batch.down.set()
        return _failed(f"{problem} (after {attempts} tries)", unreachable=not alive)

    def _probe(self) -> bool:
        try:
            self._call(ChatRequest((Message("user", "Reply with the word: ready"),), max_tokens=16))
        except (Transient, Refused, Rejected, Inaccessible):
            return False
        return True

    def _call(self, request: ChatRequest) -> Answer:
        """Send a request; what this endpoint turns out not to know is left out, now and from now on."""
        for _ in range(4):
            payload = self._payload(request, structured=self._structured)
            try:
                return self._endpoint.call(payload)
            except Rejected as problem:
                if "max_completion_tokens" in problem.detail and self._length_field == "max_tokens":
                    self._length_field = "max_completion_tokens"
                elif "temperature" in problem.detail and self._temperature:
                    log.warning("%s takes no temperature; its own default is used.", self.model)
                    self._temperature = False
                elif "response_format" in payload and not _is_too_long(problem.detail):
                    answer = self._endpoint.call(self._payload(request, structured=False))
                    log.info("%s takes no JSON schema here; replies are parsed strictly instead.", self.model)
                    self._structured = False
                    return answer
                else:
                    raise
        return self._endpoint.call(self._payload(request, structured=False))

    def _payload(self, request: ChatRequest, structured: bool) -> dict[str, Any]:
        # A lone surrogate (half an emoji) can't be sent as UTF-8.
        messages = [
            {"role": m.role, "content": m.content.encode("utf-8", "replace").decode()} for m in request.messages
        ]
        if request.raw:
            text = messages[0]["content"]
            return {
                "model": self.model,
                "prompt": text,
                "max_tokens": request.max_tokens,
                "temperature": request.temperature,
            }
        payload: dict[str, Any] = {"model": self.model, "messages": messages, self._length_field: request.max_tokens}
        if self._temperature:
            payload["temperature"] = request.temperature
        if structured and request.schema is not None:
            wanted = {"name": "reply", "strict": True, "schema": request.schema}
            payload["response_format"] = {"type": "json_schema", "json_schema": wanted}
        return payload

    def _from_cache(self, key: str) -> Reply | None:
        kept = self.cache.get(key) if self.cache is not None else None
        if kept is None:
            return None
        try:
            return Reply(**kept, cached=True)  # type: ignore[arg-type]  # written by _try
        except TypeError:
            return None

    def _record(self, key: str, step: str, reply: Reply, attempts: int) -> None:
        if self.ledger is None:
            return
        outcome = "failed" if reply.error else "refused" if reply.refused else _OUTCOMES.get(reply.finish, "answered")
        cost = self.ledger.cost(
            self.base_url, self.model, reply.prompt_tokens, reply.completion_tokens, reply.reused_tokens
        )
        self.ledger.record(
            Call(
                request=key,
                step=step,
                model=self.model,
                prompt_tokens=reply.prompt_tokens,
                completion_tokens=reply.completion_tokens,
                cost=0.0 if reply.cached or reply.error else cost,
                cached=reply.cached,
                outcome=outcome,
                attempts=attempts,
                estimated=reply.estimated,
                reused_tokens=reply.reused_tokens,
            )
        )

    def _access_error(self, what: str) -> OracleAccessError:
        return OracleAccessError(f"The oracle {self.model} at {self.base_url} can't be used: {what}")


_KEPT = ("text", "finish", "prompt_tokens", "completion_tokens", "refused", "estimated", "reused_tokens")
_OUTCOMES = {"length": "truncated"}


def _estimate(request: ChatRequest) -> int:
    size = sum(len(message.content.encode("utf-8", "replace")) for message in request.messages)
    return size // _BYTES_PER_TOKEN + _TOKENS_OF_A_CHAT


def _reply(request: ChatRequest, answer: Answer) -> Reply:
    received = answer.completion_tokens
    sent = _estimate(request) if answer.prompt_tokens is None else answer.prompt_tokens
    return Reply(
        text=answer.text,
        finish=answer.finish,
        prompt_tokens=sent,
        completion_tokens=len(answer.text.encode()) // _BYTES_PER_TOKEN if received is None else received,
        refused=answer.refused,
        estimated=answer.prompt_tokens is None or received is None,
        reused_tokens=min(answer.reused_tokens, sent),
    )


def _failed(error: str, unreachable: bool = False) -> Reply:
    return Reply("", "error", error=error, unreachable=unreachable)


def _is_too_long(detail: str) -> bool:
    return any(
        sign in detail
        for sign in ("context length", "context_length", "maximum context", "too long", "too many tokens")
    )


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"base_url must look like http://host:port/v1, not {parts.scheme}:{parts.path}.")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError("base_url must be an address alone: keys and passwords belong into the environment.")
    return url.rstrip("/")

"""Chat requests to an OpenAI-compatible endpoint: many at a time, each answered once and paid for once.

Retries live here and nowhere else. A reply that could not be had comes back as a `Reply` with an error, in its place.
"""

import itertools
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TypeVar

from iteralign.activity import tell
from iteralign.endpoints.endpoint import Endpoint
from iteralign.endpoints.failures import Inaccessible, Refused, Rejected, Transient
from iteralign.endpoints.keys import KEY_VARIABLE, NO_KEY, OPENAI_URL, endpoint_key
from iteralign.endpoints.pool import Cancelled, run_bounded
from iteralign.endpoints.retries import Retries
from iteralign.errors import OracleAccessError
from iteralign.oracles.bookkeeping import keep_reply, kept_reply, record_reply
from iteralign.oracles.budget import Account
from iteralign.oracles.cache import ReplyCache
from iteralign.oracles.calls import Answer
from iteralign.oracles.chat import ChatRequest, Client, Message, Reply, content_key
from iteralign.oracles.contact import Contact
from iteralign.oracles.flights import Flights
from iteralign.oracles.negotiation import Dialect, Dialects, Structure, probe
from iteralign.settings.oracle import EndpointSettings

log = logging.getLogger(__name__)

T = TypeVar("T")

_BYTES_PER_TOKEN = 3  # on the low side for English, so that what is reserved is rather too much
_TOKENS_OF_A_CHAT = 16  # roles and separators
_TOKENS_BEYOND = 10_000  # what a server's own templates and a model's thoughts may add to what was asked for
_TIMES_BEYOND = 20


class _Batch:
    """State of one `complete`: whether the caller has gone, and whether the endpoint is down."""

    def __init__(self, step: str) -> None:
        self.step = step
        self.stop = threading.Event()
        self.down = threading.Event()


class ChatClient(Client):
    """One model at one endpoint. Safe for use from several threads.

    The key is read from the environment variable that the settings name or from `.env`; where they name none it is
    OPENAI_API_KEY's where the environment is about this endpoint, and else none is sent. `dialects` remembers what endpoints
    take. `section` is where the endpoint's settings stand, for messages that say what to change.

    Raises OracleAccessError where OpenAI's own endpoint is asked without a key.
    """

    def __init__(
        self,
        settings: EndpointSettings,
        *,
        section: str = "oracle.judge",
        backoff: float = 1.0,
        max_reply_bytes: int = 4_000_000,
        dialects: Dialects | None = None,
        cache: ReplyCache | None = None,
        account: Account | None = None,
    ) -> None:
        self.model = model = settings.model
        self.base_url = (settings.base_url or OPENAI_URL).rstrip("/")
        self.concurrency = settings.concurrency
        self.max_tokens = settings.max_tokens
        self.reasoning_effort = settings.reasoning_effort
        self.section = section
        self.cache = cache
        self.account = account
        key = endpoint_key(settings.api_key_env, self.base_url)
        if key is None and self.base_url == OPENAI_URL:
            variable = settings.api_key_env or KEY_VARIABLE
            raise OracleAccessError(
                f"No key for {self.base_url}: set the environment variable {variable}, or put {variable}=... "
                f"into a file .env in the working directory. A server of your own is named by {section}.base_url."
            )
        self._keyless = key is None
        if account is not None:
            account.require_price(self.base_url, model)
        self._endpoint = Endpoint(
            self.base_url,
            key or NO_KEY,
            connect_timeout=settings.connect_timeout,
            timeout=settings.timeout,
            max_bytes=max_reply_bytes,
        )
        self._contact = Contact(self._endpoint, model, dialects or Dialects(), self.reasoning_effort, section)
        self._meeting = threading.Lock()
        self._retries = Retries(
            self._endpoint, most=settings.max_retries, seconds=settings.retry_seconds, backoff=backoff
        )
        self._flights = Flights[Reply]()

    def check(self) -> None:
        """The first contact: a few small real calls at most, so that a wrong key, model or URL shows before anything is
        spent on a run, and that it is known how this endpoint wants to be asked. Raises OracleAccessError.
        """
        batch = _Batch("check")
        for _ in run_bounded(self._meet, [batch], 1, batch.stop):
            log.debug("%s at %s: %s.", self.model, self.base_url, self.dialect.described())

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
        tell(step, 0, len(requests))
        settled = itertools.count(1)

        def settle(key: str, reply: Reply) -> None:
            for index in places[key]:
                replies[index] = reply
                tell(step, next(settled), len(requests))
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
            if any(request.schema is not None for request, _ in work):
                self._check_once()
        for index, reply in run_bounded(lambda item: self._ask(*item, batch), work, self.concurrency, batch.stop):
            settle(open_keys[index], reply)
        return [reply for reply in replies if reply is not None]

    def kept(self, request: ChatRequest) -> Reply | None:
        """What the cache has for it."""
        return self._from_cache(self.key(request))

    def forget(self, requests: Sequence[ChatRequest]) -> None:
        """Send these again the next time, whatever the cache has."""
        if self.cache is not None:
            for request in requests:
                self.cache.forget(self.key(request))

    @property
    def answers_as(self) -> str | None:
        """What the endpoint calls the model that answers."""
        return self.dialect.model

    def described(self) -> str:
        """How the endpoint wants to be asked, as far as it is known."""
        return self.dialect.described()

    @property
    def dialect(self) -> Dialect:
        """What is known so far of how this endpoint wants to be asked."""
        return self._contact.dialect

    def key(self, request: ChatRequest) -> str:
        """Hash of all that the reply depends on; what the cache and the account know a request by."""
        return content_key(self.base_url, self.model, request, self.reasoning_effort)

    def _check_once(self) -> None:
        with self._meeting:  # look-ahead judges from several threads
            if not self._contact.settled:
                self.check()

    def _meet(self, batch: _Batch) -> None:
        request = probe(self.max_tokens)

        def ask(structure: Structure) -> bool | None:
            if self._endpoint.pace.wait(batch.stop):
                raise Cancelled
            with self._reserved(request):
                kept, answer = self._contact.probed(request, structure)
            if answer is not None:
                self._record(self.key(request), batch.step, _reply(request, answer), 1)
            return kept

        failure, _ = self._with_retries(lambda: self._contact.settle(ask), batch)
        if failure is not None:
            raise self._access_error(str(failure))

    def _reserved(self, request: ChatRequest) -> AbstractContextManager[None]:
        if self.account is None:
            return nullcontext()
        return self.account.reserved(self.base_url, self.model, _estimate(request), request.max_tokens)

    def _ask(self, request: ChatRequest, key: str, batch: _Batch) -> Reply:
        """The reply to a request; sent once, also where several threads ask the same at the same time."""
        if batch.down.is_set():
            return _failed("not sent, since the endpoint is down", unreachable=True)
        reply, anothers = self._flights.once(key, lambda: self._send(request, key, batch), batch.stop)
        if anothers:
            reply = replace(reply, cached=reply.error is None)
            self._record(key, batch.step, reply, attempts=0)
        return reply

    def _send(self, request: ChatRequest, key: str, batch: _Batch) -> Reply:
        known = self._from_cache(key)  # it may have been answered since the batch began
        if known is not None:
            self._record(key, batch.step, known, attempts=0)
            return known
        with self._reserved(request):
            return self._try(request, key, batch)

    def _try(self, request: ChatRequest, key: str, batch: _Batch) -> Reply:
        answers_before = self._retries.answers
        found, attempts = self._with_retries(lambda: self._contact.call(request), batch)
        match found:
            case Answer():
                reply = _reply(request, found)
            case Refused():
                reply = Reply("", "content_filter", refused=True)
            case Transient():
                reply = self._given_up(found, attempts, answers_before, batch)
            case _:
                reply = _failed(str(found))
        keep_reply(self.cache, key, self.model, reply)
        self._record(key, batch.step, reply, attempts)
        return reply

    def _with_retries(self, work: Callable[[], T], batch: _Batch) -> tuple[T | Refused | Rejected | Transient, int]:
        """What the work gave, or what it failed with for good, and the number of tries. Raises OracleAccessError."""
        try:
            return self._retries.run(work, batch.stop)
        except Inaccessible as problem:
            raise self._access_error(str(problem)) from None

    def _given_up(self, problem: Transient, attempts: int, answers_before: int, batch: _Batch) -> Reply:
        # The fault lies with this request alone where a small call is answered now: that others were answered meanwhile
        # says only that the endpoint was alive then. A reply that is merely of no use came from a living endpoint.
        alive = (problem.few and self._retries.answers > answers_before) or self._is_alive()
        if not alive:
            batch.down.set()
        return _failed(f"{problem} (after {attempts} tries)", unreachable=not alive)

    def _is_alive(self) -> bool:
        try:
            self._contact.call(ChatRequest((Message("user", "Reply with the word: ready"),), max_tokens=16))
        except (Transient, Refused, Rejected, Inaccessible):
            return False
        return True

    def _from_cache(self, key: str) -> Reply | None:
        return kept_reply(self.cache, key)

    def _record(self, key: str, step: str, reply: Reply, attempts: int) -> None:
        if self.account is None:
            return
        cost = self.account.cost(
            self.base_url, self.model, reply.prompt_tokens, reply.completion_tokens, reply.reused_tokens
        )
        record_reply(self.account, key, step, self.model, reply, attempts, cost)

    def _access_error(self, what: str) -> OracleAccessError:
        keyless = self._keyless and what.startswith("the key was not accepted")
        advice = f" No key was sent: name its variable by {self.section}.api_key_env." if keyless else ""
        return OracleAccessError(f"The oracle {self.model} at {self.base_url} can't be used: {what}{advice}")


def _estimate(request: ChatRequest) -> int:
    size = sum(len(message.content.encode("utf-8", "replace")) for message in request.messages)
    return size // _BYTES_PER_TOKEN + _TOKENS_OF_A_CHAT


def _reply(request: ChatRequest, answer: Answer) -> Reply:
    guess = len(answer.text.encode()) // _BYTES_PER_TOKEN
    sent = _believed(answer.prompt_tokens, _BYTES_PER_TOKEN * _estimate(request), least=1)
    received = _believed(answer.completion_tokens, request.max_tokens, least=bool(guess))
    counted = sent is not None and received is not None
    sent = _estimate(request) if sent is None else sent
    return Reply(
        text=answer.text,
        finish=answer.finish,
        prompt_tokens=sent,
        completion_tokens=guess if received is None else received,
        refused=answer.refused,
        estimated=not counted,
        reused_tokens=min(answer.reused_tokens or 0, sent),
        first=answer.first,
    )


def _believed(count: int | None, asked: int, least: int) -> int | None:
    """The endpoint's count of tokens; None for none, and for one that can't be true: it would make budgets worthless."""
    return count if count is not None and least <= count <= _TIMES_BEYOND * asked + _TOKENS_BEYOND else None


def _failed(error: str, unreachable: bool = False) -> Reply:
    return Reply("", "error", error=error, unreachable=unreachable)

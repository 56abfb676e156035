"""A model of this process that is asked as a server would be: the same requests, the same replies, no address."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Protocol

from iteralign.activity import tell
from iteralign.errors import ConfigError
from iteralign.interfaces import Target
from iteralign.oracles.bookkeeping import keep_reply, kept_reply, record_reply
from iteralign.oracles.budget import Account
from iteralign.oracles.cache import ReplyCache
from iteralign.oracles.chat import ChatRequest, Client, Reply, content_key
from iteralign.oracles.thinking import without_thinking
from iteralign.records import Sampling
from iteralign.settings.oracle import LOCAL, EndpointSettings

_CANDIDATES = 20
_AT_ONCE = 64
"""Requests after which replies are kept and told, so that little is lost where the run is stopped."""
_TOO_LONG = Reply("", "error", error="the request does not fit the model's context")

FirstTokens = Callable[[Sequence[str], int], list[tuple[tuple[str, float], ...] | None]]
"""(texts, so many) -> the likeliest next tokens of each with their log-probabilities; None for a text that is too long."""


class Owner(Protocol):
    """Owner of the weights, as `model.LocalModel` is."""

    @property
    def render_chat(self) -> Callable[[list[dict[str, str]]], str] | None:
        """The tokenizer's chat template; None where it has none."""
        ...

    def fingerprint(self) -> str:
        """Of the weights."""
        ...


class LocalClient(Client):
    """Replies of a model that is loaded here. They are kept by its weights, not by its name."""

    def __init__(
        self,
        settings: EndpointSettings,
        owner: Owner,
        target: Target,
        first_tokens: FirstTokens,
        *,
        section: str = "oracle.judge",
        cache: ReplyCache | None = None,
        account: Account | None = None,
    ) -> None:
        self.model = settings.model
        self.base_url = LOCAL
        self.max_tokens = settings.max_tokens
        self.section = section
        self.concurrency = 0
        self.cache = cache
        self.account = account
        self._owner = owner
        self._target = target
        self._first_tokens = first_tokens
        self._busy = threading.Lock()

    def check(self) -> None:
        """Raises ConfigError for a model that can't be asked by chat. The weights are read when it is first asked."""
        if self._owner.render_chat is None:
            raise ConfigError(
                f"{self.model} ({self.section}) has no chat template, so it can't be asked: choose an instruct model."
            )

    def complete(
        self,
        requests: Sequence[ChatRequest],
        *,
        step: str = "oracle",
        on_reply: Callable[[int, Reply], None] | None = None,
    ) -> list[Reply]:
        """One reply per request, in their order; equal requests are answered once, known ones not at all.

        Raises BudgetReached, and what the model raises where it does not load.
        """
        with self._busy:
            keys = [self._key(request) for request in requests]
            replies = {key: reply for key in dict.fromkeys(keys) if (reply := kept_reply(self.cache, key)) is not None}
            for key, reply in replies.items():
                self._record(key, step, reply)
            missing = {key: request for key, request in zip(keys, requests, strict=True) if key not in replies}
            for batch in _alike(missing):
                tell(step, len(replies), len(set(keys)))
                replies |= self._answered({key: missing[key] for key in batch}, step)
        for index, key in enumerate(keys):
            if on_reply is not None:
                on_reply(index, replies[key])
        return [replies[key] for key in keys]

    def kept(self, request: ChatRequest) -> Reply | None:
        """What the cache has for it."""
        return kept_reply(self.cache, self._key(request))

    def forget(self, requests: Sequence[ChatRequest]) -> None:
        """Answer these again the next time."""
        if self.cache is not None:
            for request in requests:
                self.cache.forget(self._key(request))

    @property
    def answers_as(self) -> str | None:
        """Nobody says."""
        return None

    def described(self) -> str:
        """Where it runs."""
        return "loaded into this process"

    def _key(self, request: ChatRequest) -> str:
        return content_key(f"{LOCAL}:{self._owner.fingerprint()}", self.model, request)

    def _answered(self, requests: dict[str, ChatRequest], step: str) -> dict[str, Reply]:
        texts = [self._rendered(request) for request in requests.values()]
        one = next(iter(requests.values()))
        most = sum(len(text.encode()) // 2 + one.max_tokens for text in texts)
        with nullcontext() if self.account is None else self.account.reserved(LOCAL, self.model, most, 0):
            replies = self._scored(texts) if one.likelihoods else self._generated(texts, one)
        found = dict(zip(requests, replies, strict=True))
        for key, reply in found.items():
            keep_reply(self.cache, key, self.model, reply)
            self._record(key, step, reply)
        return found

    def _scored(self, texts: Sequence[str]) -> list[Reply]:
        rows = self._first_tokens(texts, _CANDIDATES)
        return [_TOO_LONG if row is None else Reply(row[0][0], "length", 0, 1, first=row) for row in rows]

    def _generated(self, texts: Sequence[str], how: ChatRequest) -> list[Reply]:
        sampling = Sampling(
            max_new_tokens=how.max_tokens, temperature=how.temperature, top_p=1.0, min_p=0.0, seed=how.sample
        )
        return [
            _TOO_LONG
            if one.finish == "prompt_too_long"
            else Reply(without_thinking(one.text), one.finish, one.prompt_tokens, one.tokens)
            for one in self._target.generate(texts, sampling)
        ]

    def _rendered(self, request: ChatRequest) -> str:
        if request.raw:
            return request.messages[0].content
        self.check()
        render = self._owner.render_chat
        assert render is not None
        return render([{"role": message.role, "content": message.content} for message in request.messages])

    def _record(self, key: str, step: str, reply: Reply) -> None:
        if self.account is not None:
            record_reply(self.account, key, step, self.model, reply, attempts=int(not reply.cached), cost=0.0)


def _alike(requests: dict[str, ChatRequest]) -> Iterator[list[str]]:
    """Keys of requests that can be answered in one batch."""
    kinds: dict[tuple[object, ...], list[str]] = {}
    for key, one in requests.items():
        kinds.setdefault((one.likelihoods, one.max_tokens, one.temperature, one.sample), []).append(key)
    for keys in kinds.values():
        for start in range(0, len(keys), _AT_ONCE):
            yield keys[start : start + _AT_ONCE]

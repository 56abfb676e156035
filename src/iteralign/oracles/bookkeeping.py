"""Replies in the cache and in the account, wherever they came from."""

from dataclasses import asdict, replace

from iteralign.oracles.budget import Account, Call
from iteralign.oracles.cache import ReplyCache
from iteralign.oracles.chat import Reply
from iteralign.oracles.thinking import without_thinking

_KEPT = (*("text", "finish", "prompt_tokens", "completion_tokens", "refused", "estimated", "reused_tokens", "first"),)
_OUTCOMES = {"length": "truncated"}


def kept_reply(cache: ReplyCache | None, key: str) -> Reply | None:
    """What was replied before; None where nothing is kept, or nothing that can be read."""
    kept = cache.get(key) if cache is not None else None
    if kept is None:
        return None
    try:
        reply = Reply(**kept, cached=True)  # type: ignore[arg-type]  # written by keep_reply
        first = tuple((str(token), float(score)) for token, score in reply.first)
        return replace(reply, text=without_thinking(reply.text), first=first)
    except (TypeError, ValueError, AttributeError):
        return None


def keep_reply(cache: ReplyCache | None, key: str, model: str, reply: Reply) -> None:
    """Keep it, unless the call failed."""
    if cache is not None and reply.error is None:
        cache.put(key, model, {name: value for name, value in asdict(reply).items() if name in _KEPT})


def record_reply(
    account: Account, key: str, step: str, model: str, reply: Reply, attempts: int, cost: float | None
) -> None:
    """Write the call down. `cost`: of a reply that was sent for."""
    wanted = bool(reply.first)  # of one token alone, which is all that was asked for
    outcome = "failed" if reply.error else "refused" if reply.refused else _OUTCOMES.get(reply.finish, "answered")
    account.record(
        Call(
            request=key,
            step=step,
            model=model,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            cost=0.0 if reply.cached or reply.error else cost,
            cached=reply.cached,
            outcome="answered" if wanted and outcome == "truncated" else outcome,
            attempts=attempts,
            estimated=reply.estimated,
            reused_tokens=reply.reused_tokens,
        )
    )

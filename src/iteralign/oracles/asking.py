"""Requests to a model whose replies are read strictly: an unreadable or faulty one is asked for once more."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar, cast

from iteralign.errors import OracleError
from iteralign.oracles.chat import ChatRequest, Client, Message, Reply
from iteralign.oracles.reading import Faulty, Unreadable
from iteralign.prompts import Template
from iteralign.text.control import defused

T = TypeVar("T")

_SHOWN_OF_A_BAD_REPLY = 4000


def ask(
    client: Client, requests: Sequence[ChatRequest], step: str, repair: Template, read: Callable[[str], T]
) -> list[T | str]:
    """What was read of each reply, or why it could not be. Raises OracleError where the endpoint is down.

    A faulty reply is asked for once more, too; of two the last that could be read stands, faulty or not.
    """
    replies = client.complete(requests, step=step)
    raise_if_unreachable(replies, client)
    results = [_read(reply, read, client.section) for reply in replies]
    again = [index for index, result in enumerate(results) if isinstance(result, Unreadable)]
    repairs = [_repair_request(requests[index], replies[index], repair, results[index]) for index in again]
    second = client.complete(repairs, step=step)
    raise_if_unreachable(second, client)
    for index, reply in zip(again, second, strict=True):
        results[index] = _later(results[index], _read(reply, read, client.section))
    return [_settled(result) for result in results]


def _later(first: T | str | Unreadable, second: T | str | Unreadable) -> T | str | Unreadable:
    """Of two replies to one request."""
    nothing_read = isinstance(second, str | Unreadable) and not isinstance(second, Faulty)
    return first if nothing_read and isinstance(first, Faulty) else second


def _settled(result: T | str | Unreadable) -> T | str:
    if isinstance(result, Faulty):
        return cast(T, result.found)
    return f"unreadable: {result}" if isinstance(result, Unreadable) else result


def repairs_kept(
    client: Client, requests: Sequence[ChatRequest], repair: Template, read: Callable[[str], object]
) -> Iterator[ChatRequest]:
    """What was asked after the unreadable replies to these requests, as far as those are kept."""
    for request in requests:
        reply = client.kept(request)
        problem = None if reply is None else _read(reply, read, client.section)
        if reply is not None and isinstance(problem, Unreadable):
            yield _repair_request(request, reply, repair, problem)


def why_no_answer(reply: Reply, section: str) -> str | None:
    """Why there is nothing to read in a reply, so that asking again would not help; None where there is."""
    if reply.error is not None:
        return f"no reply: {reply.error}"
    if reply.refused:
        return "the oracle or its content filter declined"
    if reply.used_up_by_thinking:
        return f"the reply was used up by thinking: raise {section}.max_tokens or lower {section}.reasoning_effort"
    if reply.finish == "length":
        return "the oracle's reply was cut short"
    return None


def _read(reply: Reply, read: Callable[[str], T], section: str) -> T | str | Unreadable:
    """What was read, or why there is nothing to read, or why it is unreadable."""
    missing = why_no_answer(reply, section)
    if missing is not None:
        return missing
    try:
        return read(reply.text)
    except Unreadable as problem:
        return problem


def _repair_request(request: ChatRequest, reply: Reply, repair: Template, problem: object) -> ChatRequest:
    said = Message("assistant", defused(reply.text)[:_SHOWN_OF_A_BAD_REPLY])
    return replace(request, messages=(*request.messages, said, Message("user", repair.fill(problem=str(problem)))))


def raise_if_unreachable(replies: Sequence[Reply], client: Client) -> None:
    """Raises OracleError where replies are missing since the endpoint is down."""
    lost = [reply for reply in replies if reply.unreachable]
    if lost:
        error = next(
            (reply.error for reply in lost if reply.error and not reply.error.startswith("not sent")), lost[0].error
        )
        raise OracleError(
            f"The oracle {client.model} at {client.base_url} stopped answering: {error}. {len(lost)} of {len(replies)} "
            "calls are open. What was answered is kept; resume when it is back."
        )

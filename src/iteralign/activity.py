"""What is being worked on right now: told by whoever works, heard by whoever shows it.

As with logging, nothing in between passes it on: neither what wraps a target or an oracle, nor the steps. What works in a
thread of its own is not heard, so that calls which run side by side don't speak over each other.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Work:
    """`done` of `total` answers, verdicts, optimiser steps ...; a started one counts in part."""

    what: str
    """answering, judging, training ..."""
    done: float
    total: int
    part: str = ""
    """Which part of a whole that has several, such as `try 2 of 3`."""


Listener = Callable[[Work], None]

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def tell(what: str, done: float, total: int) -> None:
    """Say how far the work is. First with nothing done, so that it is known what is waited for."""
    listener = _listener.get()
    if listener is not None:
        listener(Work(what, done, total))


@contextlib.contextmanager
def told_to(listener: Listener | None) -> Iterator[None]:
    """`listener` hears what is told within."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def retold(change: Callable[[Work], Work]) -> contextlib.AbstractContextManager[None]:
    """Whoever listens hears `change` of what is told within."""
    listener = _listener.get()
    return told_to(None if listener is None else lambda work: listener(change(work)))


def within(part: str) -> contextlib.AbstractContextManager[None]:
    """What is told within belongs to this part of a whole."""
    return retold(lambda work: replace(work, part=f"{part}, {work.part}" if work.part else part))


def round_name(number: int, rounds: int | None = None) -> str:
    """What a person reads: `round 0 (1 of 10)`, `base model` before it. The number is that of the records and directories."""
    if number < 0:
        return "base model"
    return f"round {number}" + (f" ({number + 1} of {rounds})" if rounds else "")

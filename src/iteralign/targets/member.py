"""What the driver knows of one replica."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from iteralign.cluster.connection import Location
from iteralign.records import Checkpoint


@dataclass(frozen=True)
class Chunk:
    """What any replica can be asked."""

    method: str
    arguments: tuple[Any, ...]
    most: int
    """The work that it is, at most: tokens of the longest answer, or rows."""
    work: Callable[[Sequence[Any]], int]
    """And what it was, by its answers."""


class Member:
    """One actor, and the one thing that it was asked last."""

    def __init__(self, actor: Any, seconds: float) -> None:
        self.actor = actor
        self.where: Location | None = None
        """None until it has started."""
        self.knows: Checkpoint | None = None
        """The weights that it has answered with last."""
        self.call: int | None = None
        """None: it starts, or what it does is not waited for."""
        self.place = 0
        """Of the request among those asked together."""
        self.ref: Any = None
        """Of what it was asked; None: it is free."""
        self._asked(actor.ready.remote(), seconds)

    def ask(self, call: int, place: int, checkpoint: Checkpoint, request: Chunk, seconds: float) -> None:
        """Begin with a request."""
        self.call, self.place, self._checkpoint, self._request = call, place, checkpoint, request
        self._asked(getattr(self.actor, request.method).remote(call, checkpoint, *request.arguments), seconds)

    def leave(self) -> None:
        """What it does is not waited for any longer."""
        if self.call is not None:
            self.actor.stop.options(concurrency_group="control").remote(self.call)
            self.call = None

    def finished(self, answers: Sequence[Any], seconds: float) -> float | None:
        """Free again. Returns the seconds for a unit of work, where no weights had to be read for it."""
        knew, self.knows = self.knows == self._checkpoint, self._checkpoint
        self.ref = self.call = None
        return seconds / max(1, self._request.work(answers)) if knew else None

    def free(self, where: Location | None) -> None:
        """Free after its start, or after a request that nobody waited for."""
        self.ref, self.where = None, where

    def _asked(self, ref: Any, seconds: float) -> None:
        self.ref = ref
        self.due = time.monotonic() + seconds

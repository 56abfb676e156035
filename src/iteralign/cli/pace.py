"""How fast an activity moves, and when it will be done."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from iteralign.activity import Work


_SHORT = 0.5
"""Seconds between two moves that say nothing of the pace: calls that run side by side are often answered together."""
_TELLING = 0.1
"""Part of an activity whose time, from the beginning on, says something of the rest."""


class Pace:
    """Of the activity told of last. Measured from its first move, so that reading weights before it does not count."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.work: Work | None = None
        self._began = self._last = 0.0
        self._first: tuple[float, float] | None = None
        """(when, how far) at the first move."""

    def tell(self, work: "Work") -> None:
        """How far it is now; another activity, or one that goes back, is measured anew."""
        now, before = self._clock(), self.work
        if before is None or (work.what, work.part) != (before.what, before.part) or work.done < before.done:
            self._began, self._first = now, None
        if self._first is None and work.done > 0:
            self._first = now, work.done
        self.work, self._last = work, now

    @property
    def done(self) -> float:
        """Of `total`."""
        return 0.0 if self.work is None else self.work.done

    @property
    def total(self) -> int:
        """0 where nothing is known of it."""
        return 0 if self.work is None else self.work.total

    @property
    def rate(self) -> float | None:
        """A second; None before anything moved. One that moved once only, or just now, is measured from its beginning,
        once a tenth is done: a batch takes long to its first token, and little from one to the next."""
        first = self._first  # another thread may be telling
        if first is None:
            return None
        since, already = first
        if self.done == already or self._last - since < _SHORT:
            since, already = self._began, 0.0
            if self.done < _TELLING * self.total:
                return None
        return (self.done - already) / (self._last - since) if self._last > since else None

    @property
    def left(self) -> float | None:
        """Seconds; counts down while nothing is told. None when they are over and it isn't done."""
        rate = self.rate
        if not rate:
            return None
        left = (self.total - self.done) / rate - (self._clock() - self._last)
        return None if left < 0 and self.done < self.total else max(0.0, left)

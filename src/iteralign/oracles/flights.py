"""Calls under way: who asks what another thread is asking already waits for that answer."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from iteralign.endpoints.pool import Cancelled

T = TypeVar("T")

_POLL = 0.2  # seconds between two looks at `stop`


class _Flight(Generic[T]):
    def __init__(self) -> None:
        self.landed = threading.Event()
        self.result: T | None = None


class Flights(Generic[T]):
    """Results by the key of what is asked. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[str, _Flight[T]] = {}

    def once(self, key: str, work: Callable[[], T], stop: threading.Event) -> tuple[T, bool]:
        """The result of `work`, or of another thread's work for the same key, and whether it was another's.

        Work that raised gives no result: the next who waits does his own. Raises Cancelled once `stop` is set.
        """
        while True:
            with self._lock:
                flight = self._under_way.get(key)
                mine = flight is None
                if flight is None:
                    flight = self._under_way[key] = _Flight()
            if mine:
                return self._flown(key, flight, work), False
            while not flight.landed.wait(_POLL):
                if stop.is_set():
                    raise Cancelled
            if flight.result is not None:
                return flight.result, True

    def _flown(self, key: str, flight: _Flight[T], work: Callable[[], T]) -> T:
        try:
            flight.result = work()
            return flight.result
        finally:
            with self._lock:
                del self._under_way[key]
            flight.landed.set()

"""Verdicts asked for in the background, each response in a call of its own, a bounded number at a time."""

import heapq
import itertools
import threading
from collections.abc import Sequence
from concurrent.futures import Future, as_completed, wait

from iteralign.activity import tell
from iteralign.interfaces import Oracle
from iteralign.records import Response, Verdict

_GRACE = 30.0
"""Seconds that calls under way get to end by themselves when a run breaks off."""
_PATIENCE = 1.0
"""Seconds that a thread without work waits for more: starting one for each call costs more than the loop itself does."""


class Verdicts:
    """What has been asked of `oracle` and was not collected yet. Lower ranks are asked first.

    The threads are daemons, so that a call which hangs never keeps the process from ending.
    """

    def __init__(self, oracle: Oracle, concurrency: int) -> None:
        self.oracle = oracle
        self.concurrency = concurrency
        self.asked = 0
        """Responses asked about so far."""
        self.wasted = 0
        """Those among them whose verdict was thrown away."""
        self._failed: int | None = None
        """The lowest rank above 0 of which a response is known to be unacceptable."""
        self._known: dict[Response, tuple[int, Future[Verdict]]] = {}
        self._order = itertools.count()
        self._waiting: list[tuple[int, int, Response, Future[Verdict]]] = []
        self._asking: set[Future[Verdict]] = set()
        """What is being asked right now."""
        self._workers = 0
        self._idle = 0
        """Workers among them that wait for something to ask."""
        self._lock = threading.Lock()
        self._more = threading.Condition(self._lock)

    def ask(self, response: Response, rank: int) -> "Future[Verdict]":
        """Begin to ask, unless it was begun before."""
        if response in self._known and not self._known[response][1].cancelled():
            return self._known[response][1]
        future: Future[Verdict] = Future()
        self._known[response] = rank, future
        self.asked += 1
        with self._lock:
            heapq.heappush(self._waiting, (rank, next(self._order), response, future))
            hire = len(self._waiting) > self._idle and self._workers < self.concurrency
            self._workers += hire
            self._more.notify()
        if hire:
            threading.Thread(target=self._work, name="verdicts", daemon=True).start()
        return future

    def collect(self, responses: Sequence[Response]) -> list[Verdict]:
        """One verdict per response, in their order; waits for them. Raises what the oracle raised, and asks no more."""
        futures = [self._known[response][1] for response in responses]
        tell("judging", 0, len(futures))
        for count, future in enumerate(as_completed(futures), start=1):
            tell("judging", count, len(futures))
            if future.exception() is not None:
                break
        error = next((future.exception() for future in futures if future.done() and future.exception()), None)
        if error is not None:
            self.drop(above=-1)
            raise error
        verdicts = [future.result() for future in futures]
        for response in responses:
            self._known.pop(response, None)
        return verdicts

    def drop(self, above: int) -> None:
        """Throw away what was asked with a rank greater than `above`; what is not on its way yet is not asked at all."""
        self._failed = None
        for response, (rank, future) in list(self._known.items()):
            if rank > above:
                del self._known[response]
                if future.cancel():
                    self.asked -= 1
                else:
                    self.wasted += 1

    def finish(self) -> None:
        """Ask nothing more, and let the calls under way end: an answer that comes in is kept by the oracle, not paid twice."""
        self.drop(above=-1)
        with self._lock:
            asking = set(self._asking)
        wait(asking, timeout=_GRACE)

    def failed_before(self, rank: int) -> bool:
        """Whether a response of a lower rank, but not of rank 0, is known to be unacceptable."""
        return self._failed is not None and self._failed < rank

    def forgive(self, rank: int) -> bool:
        """Failures of this and lower ranks no longer keep higher ones from being asked about. Whether there was one."""
        forgiven = self._failed is not None and self._failed <= rank
        if forgiven:
            self._failed = None
        return forgiven

    def settled(self, responses: Sequence[Response]) -> int:
        """How many of the verdicts on these are in."""
        return sum(self._known[response][1].done() for response in responses)

    def under_way(self, above: int) -> int:
        """Responses of a rank greater than `above` that were asked about and not collected."""
        return sum(rank > above for rank, _ in self._known.values())

    def _work(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
                self._more.wait_for(lambda: self._waiting, timeout=_PATIENCE)
                self._idle -= 1
                if not self._waiting:
                    self._workers -= 1
                    return
                rank, _, response, future = heapq.heappop(self._waiting)
            if self.failed_before(rank):
                future.cancel()
            with self._lock:
                if not future.set_running_or_notify_cancel():
                    continue
                self._asking.add(future)
            try:
                verdict = self.oracle.judge([response])[0]
            except BaseException as error:  # told to whoever collects
                with self._lock:
                    self._asking.remove(future)
                future.set_exception(error)
                continue
            with self._lock:
                self._asking.remove(future)
                wanted = self._known.get(response, (0, None))[1] is future
                if wanted and verdict.label == "unacceptable" and rank > 0:
                    self._failed = rank if self._failed is None else min(rank, self._failed)
            future.set_result(verdict)

"""Trying a call of an endpoint again where that may help: in one place, and bounded in number and time."""

import itertools
import logging
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from iteralign.endpoints.endpoint import Endpoint
from iteralign.endpoints.failures import Inaccessible, NoContact, Refused, Rejected, Transient
from iteralign.endpoints.pool import Cancelled

log = logging.getLogger(__name__)

T = TypeVar("T")

_LONGEST_WAIT = 30.0  # seconds between two tries, where the endpoint asks for nothing else
_FEW_RETRIES = 2
TURNED_AWAY = (403, 404)  # what a firewall answers to one request whose text it does not like
_MOST_TURNED_AWAY = 10  # in a row; more, and it is the endpoint


class Retries:
    """Of the calls of one endpoint. `seconds` bounds all tries of one call together. Safe for threads."""

    def __init__(self, endpoint: Endpoint, *, most: int, seconds: float, backoff: float) -> None:
        self.most = most
        self.seconds = seconds
        self.backoff = backoff
        self.answers = 0
        """Calls answered so far."""
        self._endpoint = endpoint
        self._met = False  # the endpoint has been heard from
        self._turned_away = 0  # calls since the last answer
        self._random = random.Random()

    def run(self, work: Callable[[], T], stop: threading.Event) -> tuple[T | Refused | Rejected | Transient, int]:
        """What the work gave, or what it failed with for good, and the number of tries.

        Raises Inaccessible, and Cancelled once `stop` is set.
        """
        start = time.monotonic()
        useless = 0  # replies that are likely to come again
        for attempt in itertools.count(1):
            if self._endpoint.pace.wait(stop):
                raise Cancelled
            try:
                found = work()
            except Inaccessible as problem:
                return self._of_this_call(problem), attempt
            except (Refused, Rejected) as problem:
                self._met = True
                return problem, attempt
            except Transient as problem:
                if isinstance(problem, NoContact) and not self._met:
                    raise Inaccessible(
                        f"it can't be reached: {problem}. Is the server running, and is base_url right?"
                    ) from None
                self._met = self._met or not isinstance(problem, NoContact)
                wait = self._wait_for(problem, attempt)
                left = self.seconds - (time.monotonic() - start)
                useless += problem.few
                if attempt > self.most or useless > _FEW_RETRIES or wait > left:
                    return problem, attempt
                log.info("A call failed (%s); trying again in %.1f s.", problem, wait)
                if stop.wait(wait):
                    raise Cancelled from None
            else:
                self._met = True
                self.answers += 1
                self._turned_away = 0
                return found, attempt
        raise AssertionError("unreachable")

    def _of_this_call(self, problem: Inaccessible) -> Rejected:
        """The problem as one of this call alone: others were answered. Raises the problem where it is everybody's."""
        self._turned_away += 1
        if not self.answers or problem.status not in TURNED_AWAY:
            raise problem
        if self._turned_away >= _MOST_TURNED_AWAY:
            raise Inaccessible(f"{self._turned_away} calls in a row were turned away: {problem}", problem.status)
        return Rejected(f"turned away, as others were not: {problem.said}", status=problem.status)

    def _wait_for(self, problem: Transient, attempt: int) -> float:
        jitter = self._random.uniform(0.5, 1.0)
        if problem.after is not None:
            return problem.after + self.backoff * jitter
        return min(_LONGEST_WAIT, self.backoff * 2.0 ** min(attempt - 1, 20)) * jitter

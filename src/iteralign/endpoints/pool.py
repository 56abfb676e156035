"""The one executor of calls: a bounded number of daemon threads, whose caller is never held up by a hung socket.

`concurrent.futures` joins its threads when the interpreter ends, so that one call that never returns would keep Ctrl-C
from ending the process. These threads are daemons and are not joined.
"""

import heapq
import itertools
import queue
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, wait
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_POLL = 0.05
"""Seconds between two looks at whether to stop; an interrupt is answered at once where locks can be interrupted."""
_PATIENCE = 1.0
"""Seconds that a thread without work waits for more: starting one for each call costs more than the loop itself does."""
_GRACE = 30.0
"""Seconds that calls under way get to end by themselves."""


class Cancelled(Exception):
    """The caller has gone; nobody waits for this result."""


class Pool:
    """At most `size` calls at a time, those of lower ranks first, else in their order."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._order = itertools.count()
        self._waiting: list[tuple[int, int, Callable[[], Any], Future[Any]]] = []
        self._running: set[Future[Any]] = set()
        self._workers = self._idle = 0
        self._more = threading.Condition()

    def submit(self, work: Callable[[], R], rank: int = 0) -> "Future[R]":
        """The call's result, once it is there. It may be cancelled until it begins."""
        future: Future[R] = Future()
        with self._more:
            heapq.heappush(self._waiting, (rank, next(self._order), work, future))
            hire = len(self._waiting) > self._idle and self._workers < self.size
            self._workers += hire
            self._more.notify()
        if hire:
            threading.Thread(target=self._work, name="call", daemon=True).start()
        return future

    def finish(self) -> None:
        """Wait for the calls under way, for a time."""
        with self._more:
            running = set(self._running)
        wait(running, timeout=_GRACE)

    def _work(self) -> None:
        while True:
            with self._more:
                self._idle += 1
                self._more.wait_for(lambda: self._waiting, timeout=_PATIENCE)
                self._idle -= 1
                if not self._waiting:
                    self._workers -= 1
                    return
                _, _, work, future = heapq.heappop(self._waiting)
                if not future.set_running_or_notify_cancel():
                    continue
                self._running.add(future)
            _carry_out(work, future)
            with self._more:
                self._running.remove(future)


def _never() -> bool:
    return False


def finished(futures: Collection["Future[R]"], until: Callable[[], bool] = _never) -> Iterator["Future[R]"]:
    """Each as it ends; none any more once `until` says so."""
    done: queue.SimpleQueue[Future[R]] = queue.SimpleQueue()
    for future in futures:
        future.add_done_callback(done.put)
    left = len(futures)
    while left and not until():
        try:
            future = done.get(timeout=_POLL)
        except queue.Empty:
            continue
        left -= 1
        yield future


def run_bounded(
    work: Callable[[T], R],
    items: Sequence[T],
    concurrency: int,
    stop: threading.Event,
    until: Callable[[], bool] = _never,
) -> Iterator[tuple[int, R]]:
    """Yield (index, result) as results arrive, with at most `concurrency` items worked on at a time; a single one is worked on
    in this thread. Ends once `until` says so.

    The first exception of `work` is raised here. `stop` is set when the caller leaves, in whatever way; `work` is
    expected to look at it while it waits.
    """

    def one(item: T) -> R:
        if stop.is_set():
            raise Cancelled
        try:
            return work(item)
        except BaseException:
            stop.set()  # here and not by the caller: another item must not be begun meanwhile
            raise

    try:
        if len(items) == 1 and until is _never:
            yield 0, one(items[0])
            return
        pool = Pool(concurrency)
        places = {pool.submit(partial(one, item)): index for index, item in enumerate(items)}
        for future in finished(places, until):
            if not isinstance(future.exception(), Cancelled):  # else the reason comes yet
                yield places[future], future.result()
    finally:
        stop.set()


def with_deadline(work: Callable[[], R], seconds: float) -> R:
    """The result of `work`, or TimeoutError after `seconds`, whatever it hangs on (name lookup, headers that drip).

    Work that is overdue is abandoned in its daemon thread.
    """
    future: Future[R] = Future()
    threading.Thread(target=_carry_out, args=(work, future), name="deadline", daemon=True).start()
    if not wait([future], timeout=seconds).done:
        raise TimeoutError(f"no complete reply within {seconds:g} s")
    return future.result()


def _carry_out(work: Callable[[], R], future: "Future[R]") -> None:
    try:
        result = work()
    except BaseException as error:  # raised to whoever asks for the result
        future.set_exception(error)
    else:
        future.set_result(result)

"""A bounded pool of daemon threads whose caller is never held up by a hung socket.

`concurrent.futures` joins its threads when the interpreter ends, so that one call that never returns would keep Ctrl-C
from ending the process. These threads are daemons and are not joined.
"""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_POLL = 0.5  # seconds; an interrupt is answered at once where locks can be interrupted, else within this time


class Cancelled(Exception):
    """The caller has gone; nobody waits for this result."""


def run_bounded(
    work: Callable[[T], R], items: Sequence[T], concurrency: int, stop: threading.Event
) -> Iterator[tuple[int, R]]:
    """Yield (index, result) as results arrive, with at most `concurrency` items worked on at a time.

    The first exception of `work` is raised here. `stop` is set when the caller leaves, in whatever way; `work` is
    expected to look at it while it waits.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, R | None, BaseException | None]] = queue.SimpleQueue()
    for index in range(len(items)):
        waiting.put(index)

    def worker() -> None:
        while not stop.is_set():
            try:
                index = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((index, work(items[index]), None))
            except Cancelled:
                return  # the reason is, or will be, in `done`, or nobody waits
            except BaseException as error:
                stop.set()  # here and not by the caller: another item must not be begun meanwhile
                done.put((index, None, error))

    try:
        for number in range(min(concurrency, len(items))):
            threading.Thread(target=worker, name=f"oracle-{number}", daemon=True).start()
        for _ in items:
            index, result, error = _wait(done)
            if error is not None:
                raise error
            yield index, result  # type: ignore[misc]  # no error: there is a result
    finally:
        stop.set()


def with_deadline(work: Callable[[], R], seconds: float) -> R:
    """The result of `work`, or TimeoutError after `seconds`, whatever it hangs on (name lookup, headers that drip).

    Work that is overdue is abandoned in its daemon thread.
    """
    done: queue.SimpleQueue[tuple[R | None, BaseException | None]] = queue.SimpleQueue()

    def worker() -> None:
        try:
            done.put((work(), None))
        except BaseException as error:
            done.put((None, error))

    threading.Thread(target=worker, name="oracle-call", daemon=True).start()
    try:
        result, error = done.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no complete reply within {seconds:g} s") from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # no error: there is a result


def _wait(
    done: "queue.SimpleQueue[tuple[int, R | None, BaseException | None]]",
) -> tuple[int, R | None, BaseException | None]:
    while True:
        try:
            return done.get(timeout=_POLL)
        except queue.Empty:
            continue

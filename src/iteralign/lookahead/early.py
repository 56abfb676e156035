"""A judge that begins before it is waited for: each response in a call of its own, a bounded number at a time."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import replace

from iteralign.activity import retold, tell
from iteralign.endpoints.pool import Pool
from iteralign.interfaces import Judge
from iteralign.records import Response, Verdict
from iteralign.steps.judge import unasked


class EarlyJudge(Judge):
    """`ask` begins, `judge` waits. A judge that does not take calls side by side (its `concurrency`), or that would take the
    target's processor from it (`apart`), is asked by `judge` alone.

    Ranks are of what is asked ahead: lower ones go first, and none goes behind one of which a response is known to be
    unacceptable. Rank 0 is what is asked in its turn.
    """

    def __init__(self, oracle: Judge, apart: bool = False) -> None:
        self.oracle = oracle
        self.concurrency = 0 if apart else oracle.concurrency
        self.asked = 0
        """Responses asked about so far."""
        self.wasted = 0
        """Those among them whose verdict was thrown away."""
        self._failed: int | None = None
        """The lowest rank above 0 of which a response is known to be unacceptable."""
        self._known: dict[Response, tuple[int, Future[Verdict]]] = {}
        self._lock = threading.RLock()
        self._pool = Pool(self.concurrency)

    def ask(self, response: Response, rank: int = 0) -> None:
        """Begin, unless it was begun before, needs no judge, or comes behind a failure."""
        if not self.concurrency or self.failed_before(rank):
            return
        with self._lock:
            if response not in self._known and unasked(response) is None:
                self._known[response] = rank, self._pool.submit(lambda: self._judged(response, rank), rank)
                self.asked += 1

    def judge(self, responses: Sequence[Response]) -> list[Verdict]:
        """One verdict per response, in their order; waits for them. Raises what the oracle raised, and asks no more."""
        tell("judging", 0, len(responses))
        if not self.concurrency:
            with retold(lambda work: replace(work, what="judging")):  # a guard model's answers are its verdicts
                return self.oracle.judge(responses)
        for response in responses:
            self.ask(response)
        futures = [self._known[response][1] for response in responses]
        try:
            for count, future in enumerate(as_completed(futures), start=1):
                tell("judging", count, len(futures))
                future.result()
        except Exception:
            self.drop(above=-1)
            raise
        with self._lock:
            for response in responses:
                self._known.pop(response, None)
        return [future.result() for future in futures]

    def forget(self, responses: Sequence[Response]) -> None:
        self.oracle.forget(responses)

    def drop(self, above: int) -> None:
        """Throw away what was asked with a rank greater than `above`; what is not on its way yet is not asked at all."""
        with self._lock:
            self._failed = None
            self._take_back(above)

    @contextlib.contextmanager
    def finishing(self) -> Iterator[None]:
        """Around the loop: where it breaks off, nothing more is asked, and the calls under way may end, since an answer that
        comes in is kept by the oracle and not paid twice. A person who interrupts it does not wait."""
        try:
            yield
        except Exception:
            self.drop(above=-1)
            self._pool.finish()
            raise

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
        """How many of these need not be waited for: the verdict is there, or nobody was asked."""
        known = [self._known.get(response) for response in responses]
        return sum(one is None or one[1].done() for one in known)

    def under_way(self, above: int) -> int:
        """Responses of a rank greater than `above` that were asked about and not collected."""
        with self._lock:
            return sum(rank > above for rank, _ in self._known.values())

    def _judged(self, response: Response, rank: int) -> Verdict:
        (verdict,) = self.oracle.judge([response])
        with self._lock:
            if rank and verdict.label == "unacceptable" and response in self._known:
                self._failed = rank if self._failed is None else min(rank, self._failed)
                self._take_back(self._failed, only_waiting=True)
        return verdict

    def _take_back(self, above: int, only_waiting: bool = False) -> None:
        for response, (rank, future) in list(self._known.items()):
            if rank > above:
                cancelled = future.cancel()
                self.asked -= cancelled
                self.wasted += not (cancelled or only_waiting)
                if cancelled or not only_waiting:
                    del self._known[response]

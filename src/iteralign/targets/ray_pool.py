"""The replicas as Ray's actors: started, given requests, lost, and started anew."""

import itertools
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from iteralign.cluster.connection import Location, connect, gpus_there, kill, on_gpus, told
from iteralign.errors import IteralignError, TargetError
from iteralign.interfaces import never
from iteralign.records import Checkpoint
from iteralign.settings.cluster import ClusterSettings
from iteralign.targets.member import Chunk, Member
from iteralign.targets.replica import Make, Replica

_log = logging.getLogger(__name__)

GRACE = 30.0
"""Seconds that a replica may always take, whatever was expected."""
_SLOWER = 5.0
"""Times as long as the slowest so far that an answer may take."""
_POLL, _SLOW_POLL = 0.02, 1.0  # seconds between two looks at `stop`, and at the clock alone
_REST = 300.0  # seconds that freeing a GPU may take


class RayPool:
    """All replicas of one target."""

    def __init__(self, settings: ClusterSettings, device: str) -> None:
        """`device` is that of the settings."""
        self.settings = settings
        self.device = device
        self.gpus = 0
        """Of each replica; known once started."""
        self._members: list[Member] = []
        self._calls = itertools.count()
        self._lost_in_a_row = 0
        self._pace: dict[str, float] = {}
        """The slowest seconds for a unit of work so far, by method."""
        self._owns_ray = False

    def start(self, make: Make) -> None:
        """Connect, and begin to start the replicas by `make`; nothing is waited for. Raises TargetError."""
        if self._members:
            return
        self._make = make
        self._owns_ray = connect(self.settings.address or "local")
        self.gpus = self._gpus_each()
        self._members = [self._member() for _ in range(self.settings.replicas)]

    def run(
        self, checkpoint: Checkpoint, requests: Sequence[Chunk], stop: Callable[[], bool]
    ) -> Iterator[tuple[int, Sequence[Any]]]:
        """(place of a request, its answers) as they are finished, at most until `stop`. What a lost replica owed is asked
        again. Raises an IteralignError that a replica has raised, and TargetError once too many were lost."""
        call = next(self._calls)
        owed = deque(range(len(requests)))
        unfinished = len(requests)
        try:
            while unfinished and not stop():
                for member in self._members:
                    if member.ref is None and owed:
                        place = owed.popleft()
                        patience = self._patience(member, checkpoint, requests[place])
                        member.ask(call, place, checkpoint, requests[place], patience)
                for member in self._resolved(_SLOW_POLL if stop is never else _POLL):
                    answers = self._outcome(member, requests, owed)
                    if answers is not None:
                        unfinished -= 1
                        yield member.place, answers
                self._drop_overdue(owed)
        finally:
            for member in self._members:
                member.leave()

    def rest(self) -> None:
        """Have all free what they hold of the GPUs, and wait for it."""
        import ray

        asked = {member.actor.rest.remote(): member for member in self._members if member.where is not None}
        if not asked:
            return
        done, late = ray.wait(list(asked), num_returns=len(asked), timeout=_REST)
        for ref in done:
            try:
                ray.get(ref)
            except ray.exceptions.RayError as error:
                self._lose(asked[ref], told(error))
        for ref in late:
            self._lose(asked[ref], f"it did not free its GPUs in {_REST:.0f} s")

    def places(self, gpus: int) -> list[Location]:
        """Where replicas are that have so many GPUs together, without GPUs where any is. It waits for them as long as one may
        take to start, and returns what there is then. Raises TargetError."""
        until = time.monotonic() + self.settings.start_timeout
        self.rest()  # those that have died show then
        while True:
            found = [member.where for member in self._members if member.where is not None]
            enough = sum(len(place.gpus) for place in found) >= gpus if self.gpus else bool(found)
            if enough or time.monotonic() > until or not self._members:
                return found
            for member in self._resolved(_SLOW_POLL):
                self._outcome(member, (), deque())
            self._drop_overdue(deque())

    def close(self) -> None:
        """End the replicas, and Ray where it was started here."""
        if not self._members:
            return
        import ray

        for member in self._members:
            kill(member.actor)
        self._members = []
        if self._owns_ray:
            ray.shutdown()

    def _member(self) -> Member:
        import ray

        actor = ray.remote(concurrency_groups={"control": 1})(Replica)
        placed = actor.options(num_gpus=self.gpus, scheduling_strategy="SPREAD", max_restarts=0, max_task_retries=0)
        return Member(placed.remote(self._make, os.getcwd()), self.settings.start_timeout)

    def _gpus_each(self) -> int:
        """GPUs of a replica: none where the cluster has none, or the settings want none. Raises TargetError."""
        if not on_gpus(self.device):
            return 0
        there, needed = gpus_there(), self.settings.replicas * self.settings.tensor_parallel
        if there < needed:
            lacking = (
                f"{self.settings.replicas} replicas of {self.settings.tensor_parallel} GPU(s) each need {needed} GPUs, and Ray "
                f"has {there}"
            )
            if self.settings.address == "local":
                raise TargetError(f"{lacking}: lower cluster.replicas, or set model.device to cpu.")
            _log.warning("%s now: the other replicas start once nodes join.", lacking)
        return self.settings.tensor_parallel

    def _patience(self, member: Member, checkpoint: Checkpoint, request: Chunk) -> float:
        """Seconds after which this replica counts as hanging."""
        pace = self._pace.get(request.method)
        if pace is None or member.knows != checkpoint:
            return self.settings.start_timeout
        return GRACE + _SLOWER * pace * request.most

    def _resolved(self, seconds: float) -> list[Member]:
        """Those that have something to tell, after so many seconds at most."""
        import ray

        asked = {member.ref: member for member in self._members if member.ref is not None}
        ray.wait(list(asked), timeout=seconds)
        done, _ = ray.wait(list(asked), num_returns=len(asked), timeout=0)  # all of them: none is overdue that is done
        return [asked[ref] for ref in done]

    def _outcome(self, member: Member, requests: Sequence[Chunk], owed: deque[int]) -> Sequence[Any] | None:
        """The answers to a request; None where there are none, and it is owed again."""
        import ray

        try:
            found = ray.get(member.ref, timeout=GRACE)
        except ray.exceptions.RayTaskError as error:
            if not isinstance(error.cause, IteralignError):
                self._lose(member, told(error), owed)
                return None
            if member.call is not None or member.where is None:
                raise error.cause from None
            found = None
        except ray.exceptions.RayError as error:
            self._lose(member, told(error), owed)
            return None
        if member.call is None:
            member.free(member.where or found)
            return None
        answers: Sequence[Any]
        answers, seconds = found
        pace = member.finished(answers, seconds)
        self._lost_in_a_row = 0
        if pace is not None:
            method = requests[member.place].method
            self._pace[method] = max(pace, self._pace.get(method, 0.0))
        return answers

    def _drop_overdue(self, owed: deque[int]) -> None:
        for member in list(self._members):
            if member.ref is not None and time.monotonic() > member.due:
                self._lose(member, "it gave no sign of life for longer than was expected", owed)

    def _lose(self, member: Member, why: str, owed: deque[int] | None = None) -> None:
        """Start another in its place, which is given work once it is ready. Raises TargetError once too many were lost."""
        kill(member.actor)
        if owed is not None and member.call is not None:
            owed.appendleft(member.place)
        self._lost_in_a_row += 1
        where = member.where.told if member.where else "it had not started"
        if self._lost_in_a_row > self.settings.restarts * self.settings.replicas:
            raise TargetError(
                f"{self._lost_in_a_row} replicas were lost in a row, the last one ({where}) since {why}. Mend that, "
                "then resume the run; cluster.restarts says how many losses are borne."
            )
        _log.warning("A replica was lost (%s), since %s: another is started, and asked what it owed.", where, why)
        self._members[self._members.index(member)] = self._member()

"""The replicas as Ray's actors: started, given requests, lost, and started anew."""

import contextlib
import itertools
import logging
import os
import secrets
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

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
_STORE = 256 * 2**20  # bytes of a local object store: only texts pass through it
_REST = 300.0  # seconds that freeing a GPU may take

_ALONE = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # what Ray calls its switch for listening on loopback alone
}
"""Environment of a Ray that serves this run alone."""


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
                self._lose(asked[ref], _told(error))
        for ref in late:
            self._lose(asked[ref], f"it did not free its GPUs in {_REST:.0f} s")

    def close(self) -> None:
        """End the replicas, and Ray where it was started here."""
        if not self._members:
            return
        import ray

        for member in self._members:
            _kill(member.actor)
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
        import ray

        there = int(ray.cluster_resources().get("GPU", 0))
        if self.device != "cuda" and not (self.device == "auto" and there):
            return 0
        needed = self.settings.replicas * self.settings.tensor_parallel
        if there < needed:
            told = (
                f"{self.settings.replicas} replicas of {self.settings.tensor_parallel} GPU(s) each need {needed} GPUs, and Ray "
                f"has {there}"
            )
            if self.settings.address == "local":
                raise TargetError(f"{told}: lower cluster.replicas, or set model.device to cpu.")
            _log.warning("%s now: the other replicas start once nodes join.", told)
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
                self._lose(member, _told(error), owed)
                return None
            if member.call is not None or member.where is None:
                raise error.cause from None
            found = None
        except ray.exceptions.RayError as error:
            self._lose(member, _told(error), owed)
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
        _kill(member.actor)
        if owed is not None and member.call is not None:
            owed.appendleft(member.place)
        self._lost_in_a_row += 1
        where = member.where or "it had not started"
        if self._lost_in_a_row > self.settings.restarts * self.settings.replicas:
            raise TargetError(
                f"{self._lost_in_a_row} replicas were lost in a row, the last one ({where}) since {why}. Mend that, "
                "then resume the run; cluster.restarts says how many losses are borne."
            )
        _log.warning("A replica was lost (%s), since %s: another is started, and asked what it owed.", where, why)
        self._members[self._members.index(member)] = self._member()


def connect(address: str) -> bool:
    """Whether this has started or joined Ray, and has to leave it at the end. Raises TargetError."""
    if address == "local" and "ray" not in sys.modules:  # which reads them when it is imported
        os.environ.update(_ALONE | {"RAY_AUTH_TOKEN": secrets.token_hex(32)})
    import ray

    if ray.is_initialized():
        return False
    how: dict[str, Any] = {"address": address}
    if address == "local":
        how |= {"include_dashboard": False, "object_store_memory": _STORE}
    try:
        ray.init(**how, log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise TargetError(
            f"Ray can't be used at {address} ({_told(error)}). Is it running (`ray start --head`), of the same version as "
            "here, and do both have the same token (~/.ray/auth_token)? cluster.address local starts one for this run."
        ) from None
    return True


def _kill(actor: Any) -> None:
    import ray

    with contextlib.suppress(ray.exceptions.RayError, ValueError):
        ray.kill(actor, no_restart=True)


def _told(error: Any) -> str:
    """What happened, in a line, of an error of Ray's or of one that a replica has raised."""
    import ray

    cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()] or [""]
    if "creation task" in lines[0]:  # of the traceback that follows, the end says why
        return lines[-1][:300]
    return f"{type(cause).__name__}: {lines[0][:300]}"

"""The processes of a group that a launcher has started: torchrun, or what starts it (accelerate launch, a Slurm step).

The first of them carries the whole command through, and does its part of each training in the same process. The others do
nothing but their part of the trainings, and leave with the first. They hear of a job by the launcher's store, and get it from
the first.
"""

import itertools
import json
import sys
import time
from collections.abc import Mapping, MutableMapping
from typing import Any

from iteralign.errors import ConfigError, TrainingError
from iteralign.settings.settings import Settings
from iteralign.trainers.group import Group, Outcome, raise_error
from iteralign.trainers.member import do, join
from iteralign.trainers.seat import Seat

_POLL = 0.1  # seconds between two looks at the store
_GRACE = 30.0
"""Seconds in which all processes must have failed in the same job, if one has, for the group to be whole."""
_NEEDED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_OWN = (*_NEEDED, "LOCAL_WORLD_SIZE", "GROUP_RANK", "GROUP_WORLD_SIZE", "ROLE_NAME", "ROLE_RANK", "ROLE_WORLD_SIZE")
_SHARDING = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_MEGATRON_LM")


class Launch:
    """This process among those that were started together."""

    def __init__(self, seat: Seat, store: Any) -> None:
        self.seat = seat
        self._store = store
        self._joined = False

    def serve(self) -> int:
        """All that a process does which is not the first one. Returns the exit code."""
        try:
            for number in itertools.count(1):
                if not self._awaits(number):
                    return 0
                outcome = self.take_part(number, None)
                if "error" in outcome and None in self.outcomes(number):
                    sys.stderr.write(f"error: {outcome['error']}\n")
                    return 1
        except KeyboardInterrupt:
            return 130
        raise AssertionError

    def announce(self, number: int, job: bytes, on_cpu: bool) -> None:
        """Have the others take part in a job."""
        self._store.set(_key(number), json.dumps({"bytes": len(job), "on_cpu": on_cpu}))

    def take_part(self, number: int, job: bytes | None) -> Outcome:
        """Do this process's part; `job` is what the first one gives to the others, to whom it is None."""
        try:
            told = json.loads(self._store.get(_key(number)))
            if not self._joined:
                join(self.seat, self._store, told["on_cpu"])
                self._joined = True
            outcome = do(json.loads(_handed_out(job, told["bytes"])), lambda: None)
        except RuntimeError as error:  # the connection to the others
            outcome = {"error": str(error), "diverged": False, "expected": False}
        self._store.set(_key(number, self.seat.rank), json.dumps(outcome if "error" in outcome else {}))
        return outcome

    def outcomes(self, number: int) -> list[Outcome | None]:
        """What each process has said of a job, without what went well; None of one that says nothing for a while."""
        keys = [_key(number, rank) for rank in range(self.seat.processes)]
        until = time.monotonic() + _GRACE
        while not self._store.check(keys) and time.monotonic() < until:
            time.sleep(_POLL)
        return [json.loads(self._store.get(key)) if self._store.check([key]) else None for key in keys]

    def end(self) -> None:
        """Let the others leave."""
        self._store.set("end", "")

    def _awaits(self, number: int) -> bool:
        """Whether there is a job, once there is one or none will be: the first process, or its store, has ended."""
        try:
            while not self._store.check([_key(number)]):
                if self._store.check(["end"]):
                    return False
                time.sleep(_POLL)
        except RuntimeError:
            return False
        return True


class LaunchedGroup(Group):
    """Of the first process."""

    def __init__(self, launch: Launch) -> None:
        self.processes = launch.seat.processes
        self._launch = launch
        self._jobs = 0

    def run(self, job: dict[str, Any]) -> Outcome:
        """The outcome. Nobody can be started anew: where one process has failed alone the run must end, and be resumed."""
        self._jobs += 1
        text = json.dumps(job).encode()
        self._launch.announce(self._jobs, text, job["device"] == "cpu")
        outcome = self._launch.take_part(self._jobs, text)
        found = self._launch.outcomes(self._jobs)
        silent = [str(rank) for rank, one in enumerate(found) if one is None]
        if silent:
            why = next((one["error"] for one in found if one is not None and "error" in one), "they say nothing")
            raise TrainingError(
                f"Training round {job['round']} can't go on without the process{'es' if len(silent) > 1 else ''} of rank "
                f"{', '.join(silent)}: {why}\nWhat was finished is kept: start the same processes again with `resume`."
            )
        raise_error(found)
        return outcome


def take(environment: MutableMapping[str, str]) -> Launch | None:
    """This process's launch, out of the environment, so that what is started from here does not take itself for a part of it.
    None where no launcher has started several processes."""
    if environment.get("WORLD_SIZE", "1") in ("", "1") or any(name not in environment for name in _NEEDED):
        return None
    from torch.distributed.rendezvous import rendezvous

    seat = Seat.of(environment)
    store, *_ = next(rendezvous("env://"))
    for name in [name for name in environment if name in _OWN or name.startswith("TORCHELASTIC_")]:
        del environment[name]
    return Launch(seat, store)


def settled(settings: Settings, group: Group | None, environment: Mapping[str, str]) -> Settings:
    """The settings of a run with the processes of a launcher, if there is one. Raises ConfigError where they contradict it."""
    if group is None:
        if environment.get("WORLD_SIZE", "1") not in ("", "1"):
            missing = [name for name in _NEEDED if name not in environment]
            why = f"but not {', '.join(missing)}" if missing else "and this is not the command line"
            raise ConfigError(
                f"WORLD_SIZE is {environment['WORLD_SIZE']}, {why}: in several processes start `torchrun --nproc-per-node N -m "
                "iteralign run ...`; in this one alone, unset WORLD_SIZE."
            )
        return settings
    if settings.cluster.address is not None:
        raise ConfigError(
            f"{group.processes} processes were started together, and with cluster.address Ray starts what the run needs: set "
            "it to null, or start iteralign without a launcher."
        )
    sharding = next((name for name in _SHARDING if environment.get(name, "").lower() in ("1", "true")), None)
    if sharding is not None:
        raise ConfigError(
            f"The launcher is told to shard the model ({sharding}), which iteralign does itself: launch plain processes, and "
            "set training.sharded."
        )
    if settings.training.processes not in (1, group.processes):
        raise ConfigError(
            f"training.processes is {settings.training.processes}, and {group.processes} were started together: start as many, "
            "or leave the setting out. A run keeps to its number; without a launcher iteralign starts them on one machine."
        )
    training = settings.training.model_copy(update={"processes": group.processes})
    return settings.model_copy(update={"training": training})


def _key(number: int, rank: int | None = None) -> str:
    return f"job-{number}" if rank is None else f"outcome-{number}-{rank}"


def _handed_out(job: bytes | None, size: int) -> bytes:
    """The first process's bytes, in all of them."""
    import torch

    held = torch.frombuffer(bytearray(job or bytes(size)), dtype=torch.uint8)
    torch.distributed.broadcast(held, 0)
    return bytes(held.tolist())

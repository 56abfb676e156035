"""The processes of a group as Ray's actors, one a device, on as many machines as it takes.

They take turns with the replicas on the GPUs that those have, or have their own (`cluster.colocate`). A process that dies, a
machine that goes, an error that is nobody's fault: the whole group is given up, and the next job starts a fresh one.
"""

import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from iteralign.cluster.connection import Location, connect, gpus_there, kill, on_gpus, told
from iteralign.errors import TrainingError
from iteralign.settings.cluster import ClusterSettings
from iteralign.trainers.group import Group, GroupLost, Outcome, raise_error
from iteralign.trainers.member import do, join
from iteralign.trainers.seat import Seat

_POLL = 1.0  # seconds between two looks at the clock

Places = Callable[[int], Sequence[Location]]
"""Where the replicas are, those of so many GPUs at least."""


class RayGroup(Group):
    """Started at the first job, and anew at the first one after a loss."""

    def __init__(self, settings: ClusterSettings, device: str, places: Places | None) -> None:
        """`device` is that of the settings. `places`: of replicas, whose GPUs are taken in turns with them; None: the group
        asks Ray for its own."""
        self.settings = settings
        self.device = device
        self.processes = settings.training_gpus or 1
        self.attempts = settings.restarts + 1
        self._places = places
        self._actors: list[Any] = []
        self._reserved: Any = None
        self._owns_ray = False
        self._on_gpus = False

    def run(self, job: dict[str, Any]) -> Outcome:
        """The first process's outcome. Raises GroupLost where a process is gone, or has failed by no fault of the job."""
        self._owns_ray = connect(self.settings.address or "local") or self._owns_ray
        import ray

        try:
            self._start()
            own = job | {"device": "cuda" if self._on_gpus else "cpu"}
            pending, outcomes = [actor.do.remote(own) for actor in self._actors], []
            first = pending[0]
            while pending:
                done, pending = ray.wait(pending, timeout=_POLL)
                outcomes += ray.get(done)
                raise_error(outcomes)
            outcome: Outcome = ray.get(first)
            return outcome
        except ray.exceptions.RayError as error:
            self._give_up()
            raise GroupLost(f"a training process was lost ({told(error)})") from None
        except BaseException:
            self._give_up()  # the others may hang in a collective call with one that has gone
            raise

    def close(self) -> None:
        """End the processes, and Ray where it was started here."""
        self._give_up()
        if self._owns_ray:
            import ray

            ray.shutdown()
            self._owns_ray = False

    def _start(self) -> None:
        import ray

        if self._actors:
            return
        self._on_gpus = on_gpus(self.device)
        places = self._places(self.processes if self._on_gpus else 0) if self._places is not None else []
        chosen = self._beside(places) if places else self._own()
        actor = ray.remote(max_restarts=0, max_task_retries=0)(Process)
        for options, gpu in chosen:
            self._actors.append(actor.options(**options).remote(os.getcwd(), gpu))
        patience = self.settings.start_timeout
        meeting = ray.get(self._actors[0].host.remote(), timeout=patience)
        seats = [Seat(rank, self.processes, meeting=meeting[0]) for rank in range(self.processes)]
        asked = zip(self._actors, seats, strict=True)
        ray.get([actor.join.remote(seat, meeting, not self._on_gpus) for actor, seat in asked], timeout=patience)

    def _beside(self, places: Sequence[Location]) -> list[tuple[dict[str, Any], str | None]]:
        """How Ray is to place each process, and its GPU: one of those that replicas have, node by node."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        ordered = sorted(places, key=lambda place: (place.node, place.gpus))
        if self._on_gpus:
            devices: list[tuple[str, str | None]] = [(place.node, gpu) for place in ordered for gpu in place.gpus]
        else:
            devices = sorted((ordered[number % len(ordered)].node, None) for number in range(self.processes))
        if len(devices) < self.processes:
            raise TrainingError(
                f"Training is to take turns with the replicas on {self.processes} GPUs, and those that are there have "
                f"{len(devices)}. Lower cluster.training_gpus, or add nodes; then resume the run."
            )
        return [
            (
                {"num_gpus": 0, "num_cpus": 0, "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)},
                gpu,
            )
            for node, gpu in devices[: self.processes]
        ]

    def _own(self) -> list[tuple[dict[str, Any], str | None]]:
        """The same with devices of their own, on as few machines as can be."""
        import ray
        from ray.util.placement_group import placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        each = {"CPU": 1.0} | ({"GPU": 1.0} if self._on_gpus else {})
        what = "GPUs" if self._on_gpus else "CPUs"
        there = gpus_there() if self._on_gpus else int(ray.cluster_resources().get("CPU", 0))
        if self.settings.address == "local" and there < self.processes:
            raise TrainingError(
                f"Training wants {self.processes} {what}, and Ray has {there}: lower cluster.training_gpus."
            )
        self._reserved = placement_group([each] * self.processes, strategy="PACK")
        if not self._reserved.wait(self.settings.start_timeout):
            raise TrainingError(
                f"Training wants {self.processes} {what} beside the replicas', and Ray could not give them in "
                f"{self.settings.start_timeout:.0f} s (the nodes have {there}). Lower cluster.training_gpus or "
                "cluster.replicas, set cluster.colocate, or add nodes; then resume the run."
            )
        return [
            (
                {
                    "num_gpus": each.get("GPU", 0),
                    "num_cpus": 1,
                    "scheduling_strategy": PlacementGroupSchedulingStrategy(self._reserved, number),
                },
                None,
            )
            for number in range(self.processes)
        ]

    def _give_up(self) -> None:
        """End the processes and give their devices back; what Ray has already ended is gone anyway."""
        if not self._actors and self._reserved is None:
            return
        import ray

        if ray.is_initialized():
            for actor in self._actors:
                kill(actor)
            if self._reserved is not None:
                ray.util.remove_placement_group(self._reserved)
        self._actors, self._reserved = [], None


class Process:
    """One process of the group, in its own actor."""

    def __init__(self, directory: str, gpu: str | None) -> None:
        """`directory`: where relative paths begin. `gpu`: one that Ray has given to somebody else; None: as Ray says."""
        if Path(directory).is_dir():
            os.chdir(directory)
        if gpu is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = gpu

    def host(self) -> tuple[str, int]:
        """Begin the store at which all meet, at the address by which Ray's nodes reach each other and no other."""
        import ray
        import torch

        address = ray.util.get_node_ip_address()
        listening = socket.create_server((address, 0))
        port = listening.getsockname()[1]
        self._store = torch.distributed.TCPStore(  # type: ignore[attr-defined]
            address, port, None, True, wait_for_workers=False, master_listen_fd=listening.detach()
        )
        return address, port

    def join(self, seat: Seat, meeting: tuple[str, int], on_cpu: bool) -> None:
        """Meet the others. Each sees its own device alone, and is the first one there."""
        import ray
        import torch

        interface = _interface(ray.util.get_node_ip_address())
        for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            if interface is not None:
                os.environ.setdefault(name, interface)
        if seat.rank:
            self._store = torch.distributed.TCPStore(  # type: ignore[attr-defined]
                *meeting, None, False, wait_for_workers=False
            )
        join(seat, self._store, on_cpu)

    def do(self, job: dict[str, Any]) -> Outcome:
        """What came of a job. Ray ends this process with the run's own."""
        return do(job, lambda: None)


def _interface(address: str) -> str | None:
    """The name of the network interface with this address."""
    import psutil

    found = (name for name, own in psutil.net_if_addrs().items() if any(one.address == address for one in own))
    return next(found, None)

"""A process's place in a group."""

from collections.abc import Mapping
from typing import NamedTuple


class Seat(NamedTuple):
    """A process's place among the others, as torchrun numbers them."""

    rank: int
    processes: int
    local_rank: int = 0
    """Among those that see the same devices."""
    local_processes: int = 1
    meeting: str = "127.0.0.1"
    """Address of the first one's machine."""

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Seat":
        """The one that the environment names."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        rank, processes, local = (int(environment[name]) for name in names)
        beside = int(environment.get("LOCAL_WORLD_SIZE", processes))
        return cls(rank, processes, local, beside, environment.get("MASTER_ADDR", cls._field_defaults["meeting"]))

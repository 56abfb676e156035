"""The connection to Ray: made by whoever needs it first, and what its errors and places are called."""

import contextlib
import os
import secrets
import sys
from typing import Any, NamedTuple

from iteralign.errors import TargetError

_STORE = 256 * 2**20  # bytes of a local object store: only texts pass through it

_ALONE = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # what Ray calls its switch for listening on loopback alone
}
"""Environment of a Ray that serves this run alone."""


class Location(NamedTuple):
    """Where one of Ray's processes is."""

    told: str
    """For messages."""
    node: str
    """Ray's id of the machine."""
    gpus: tuple[str, ...]
    """Those that it was given, as CUDA_VISIBLE_DEVICES names them."""


def here() -> Location:
    """The place of the actor that asks."""
    import ray

    context = ray.get_runtime_context()
    gpus = tuple(context.get_accelerator_ids().get("GPU", ()))
    return Location(f"process {os.getpid()} on {ray.util.get_node_ip_address()}", context.get_node_id(), gpus)


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
            f"Ray can't be used at {address} ({told(error)}). Is it running (`ray start --head`), of the same version as "
            "here, and do both have the same token (~/.ray/auth_token)? cluster.address local starts one for this run."
        ) from None
    return True


def gpus_there() -> int:
    """Of all nodes together, those of today."""
    import ray

    return int(ray.cluster_resources().get("GPU", 0))


def on_gpus(device: str) -> bool:
    """Whether processes of Ray's are to have GPUs: `device` is that of the settings."""
    return device == "cuda" or (device == "auto" and gpus_there() > 0)


def kill(actor: Any) -> None:
    """End its process."""
    import ray

    with contextlib.suppress(ray.exceptions.RayError, ValueError):
        ray.kill(actor, no_restart=True)


def told(error: Any) -> str:
    """What happened, in a line, of an error of Ray's or of one that an actor has raised."""
    import ray

    cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()] or [""]
    if "creation task" in lines[0]:  # of the traceback that follows, the end says why
        return lines[-1][:300]
    return f"{type(cause).__name__}: {lines[0][:300]}"

"""Settings of what runs on a Ray cluster: copies of the model that answer together, and processes that train together."""

from typing import Annotated

from pydantic import AfterValidator, Field

from iteralign.settings.section import Section


def _as_ray_address(text: str) -> str:
    host = text.removeprefix("ray://")
    if text not in ("local", "auto") and (host in ("", text) or any(sign in host for sign in " /@\n")):
        raise ValueError("must be null, local, auto, or ray://HOST:PORT")
    return text


class ClusterSettings(Section):
    """Answers by several copies of the model, and training in several processes, which Ray starts and places."""

    address: Annotated[str, AfterValidator(_as_ray_address)] | None = None
    """null: one copy, no Ray. local: copies on this machine. auto: the Ray cluster that this machine belongs to.
    ray://HOST:PORT: another one, by Ray's client. The nodes of a cluster must see the run directory under one path."""
    replicas: int = Field(default=1, gt=0, le=4096)
    """Copies of the model that answer at once."""
    tensor_parallel: int = Field(default=1, gt=0, le=64)
    """GPUs that one copy is spread over, all of one node (model.engine vllm; also without Ray)."""
    training_gpus: int | None = Field(default=None, gt=0, le=4096)
    """Processes that train together, one a GPU, which Ray starts and places, also on several machines. null: training takes
    place where `iteralign run` is started, in training.processes."""
    colocate: bool = True
    """Whether training and answering take turns on the replicas' GPUs. false: training has GPUs of its own."""
    restarts: int = Field(default=3, gt=0, le=1000)
    """Replicas may be lost so many times in a row for each of them, without an answer between, before the run stops. Until
    then another is started in the place of each that is lost, and asked what it owed. A round's training, too, begins again
    so many times when processes of it are lost."""
    start_timeout: float = Field(default=1800.0, gt=0, le=1_000_000)
    """Seconds that a replica may take to start, or for its first answers with new weights. How long it may take for
    others, before it counts as hanging, follows from how long they took so far."""

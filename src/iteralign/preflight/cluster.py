"""Whether the replicas that the settings ask for can be had: what `doctor` says of the cluster, and `plan` in a line."""

from importlib.util import find_spec

from iteralign.errors import TargetError
from iteralign.preflight.findings import Finding
from iteralign.settings.settings import Settings


def described(settings: Settings) -> str:
    """`8 replicas (vllm), 2 GPUs each, started by Ray (auto)`"""
    chosen = settings.cluster
    copies = "1 replica" if chosen.replicas == 1 else f"{chosen.replicas} replicas"
    spread = f", {chosen.tensor_parallel} GPUs each" if chosen.tensor_parallel > 1 else ""
    turns = "in turns with them" if chosen.colocate else "on devices of their own"
    group = f" and {chosen.training_gpus} training processes {turns}" if chosen.training_gpus is not None else ""
    return f"{copies} ({settings.model.engine}){spread}{group}, started by Ray ({chosen.address})"


def examined(settings: Settings) -> Finding:
    """A cluster that runs already is asked; none is started."""
    if find_spec("ray") is None:
        advice = "pip install 'iteralign[cluster]', or set cluster.address to null."
        return Finding("cluster", "fail", "Ray is not installed", advice)
    try:
        nodes, gpus = _size(settings.cluster.address or "local")
    except TargetError as error:
        return Finding("cluster", "fail", str(error))
    chosen = settings.cluster
    needed = chosen.replicas * chosen.tensor_parallel + (0 if chosen.colocate else chosen.training_gpus or 0)
    found = f"{described(settings)}; {nodes} node{'s' if nodes != 1 else ''}, {gpus} GPUs"
    wants_gpus = settings.model.device == "cuda" or (settings.model.device == "auto" and gpus > 0)
    if wants_gpus and gpus < needed:
        advice = f"{needed} GPUs are needed: lower cluster.replicas, tensor_parallel or training_gpus, or add nodes."
        return Finding("cluster", "fail" if settings.cluster.address == "local" else "warn", found, advice)
    return Finding("cluster", "ok", found)


def _size(address: str) -> tuple[int, int]:
    """Nodes and GPUs. Raises TargetError where no such cluster answers."""
    if address == "local":
        import torch

        return 1, torch.cuda.device_count()
    from iteralign.cluster.connection import connect

    owns = connect(address)
    import ray

    try:
        alive = sum(bool(node["Alive"]) for node in ray.nodes())
        return alive, int(ray.cluster_resources().get("GPU", 0))
    finally:
        if owns:
            ray.shutdown()

"""What one process of a group does, whoever has started it: it takes its seat among the others, then does job after job.

All processes of a group do the same jobs in the same order. Weights that were trained are in files, by the first process; what
else is to be told is the outcome, a dictionary that JSON takes.
"""

import gc
import os
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from iteralign.errors import IteralignError, TrainingDiverged, TrainingError
from iteralign.records import Checkpoint, TrainingExample
from iteralign.settings.training import TrainingSettings
from iteralign.trainers.objectives import TRAINERS
from iteralign.trainers.seat import Seat
from iteralign.trainers.trainee import trainee
from iteralign.trainers.training import as_training_error, check_finite, train
from iteralign.weights.model import LocalModel
from iteralign.weights.probe import probe_logprobs
from iteralign.weights.shares import average_gradients, not_finite_anywhere, shared_out, write_shared
from iteralign.weights.writing import write_adapter, write_model

_SEEN = 60.0  # seconds until a shared directory shows what another machine has put there


def join(seat: Seat, store: Any, on_cpu: bool) -> None:
    """Meet the other processes at torch's `store`; accelerate takes the group as it is, and reads the environment."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR")
    os.environ.update(zip(names, map(str, seat), strict=True))
    if on_cpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # else transformers shares out over GPUs
    import torch

    if not on_cpu:
        torch.cuda.set_device(seat.local_rank)
    backend = "gloo" if on_cpu else "cpu:gloo,cuda:nccl"
    torch.distributed.init_process_group(backend, store=store, rank=seat.rank, world_size=seat.processes)


def do(job: Mapping[str, Any], progress: Callable[[], None]) -> dict[str, Any]:
    """The outcome of a job; with `error` where it failed, of which `expected` says whether it would fail again. `progress` is
    called at each step."""
    try:
        _look_for(Path(job["output"]))
        outcome = _export(job) if job["do"] == "export" else _train(job, progress)
    except Exception as error:
        known = as_training_error(error, job["round"])
        outcome = {
            "error": _described(known, job["round"]),
            "diverged": isinstance(known, TrainingDiverged),
            "expected": isinstance(known, IteralignError),
        }
    _give_back()
    return outcome


def _train(job: Mapping[str, Any], progress: Callable[[], None]) -> dict[str, Any]:
    import torch

    settings = TrainingSettings.model_validate(job["settings"])
    model = _model(job, settings)
    objective = TRAINERS[settings.objective].objective
    examples = [TrainingExample.model_validate_json(line) for line in job["examples"]]
    rows = objective.rows(model, examples, settings)
    start = Checkpoint.model_validate_json(job["start"])
    network = trainee(model, model.at(start), settings, start, job["seed"])
    trained_weights = [(name, value) for name, value in network.named_parameters() if value.requires_grad]
    if settings.sharded and settings.method == "lora":
        average_gradients(value for _, value in trained_weights)
    if settings.sharded and settings.method == "full" and network._weight_conversions:
        raise TrainingError(
            f"{model.name_or_path} keeps its weights in another form on disk than in memory, and parts of them can't be "
            "written. Set training.sharded to false."
        )
    wanted = objective.compared_with(settings, start, model.base)
    # trl can't take the shares themselves for a reference. Its own are gone before gradients and optimiser come.
    other = wanted != start or objective.compares_throughout or settings.sharded
    apart = settings.method == "full" and wanted is not None and other
    trained = train(
        objective,
        network,
        model.tokenizer,
        rows,
        settings,
        job["round"],
        job["seed"],
        use_cpu=job["device"] == "cpu",
        autocast=job["autocast"],
        log_steps=job["log_steps"],
        reference=model.apart(wanted) if wanted is not None and apart else None,
        progress=lambda done, total: progress(),
    )
    # Each process knows the loss of its own rows; a loss that is not finite anywhere shows in the mean.
    loss = torch.tensor(trained.loss, dtype=torch.float64)
    torch.distributed.all_reduce(loss)
    mean_loss = float(loss) / settings.processes
    check_finite(mean_loss, not_finite_anywhere(trained_weights), job["round"])
    probe = probe_logprobs(network, model.tokenizer, job["device"]) if job["probe"] else None
    progress()
    _write(model, network, settings, Path(job["output"]))
    return {"loss": mean_loss, "steps": trained.steps, "tokens": trained.tokens, "log": trained.log, "probe": probe}


def _export(job: Mapping[str, Any]) -> dict[str, Any]:
    """The whole model, an adapter merged, part by part; `exported` is False where its weights can't be written so."""
    settings = TrainingSettings.model_validate(job["settings"])
    model = _model(job, settings)
    checkpoint = Checkpoint.model_validate_json(job["start"])
    network = model.at(checkpoint)
    network = network.get_base_model() if checkpoint.kind == "adapter" else network
    if network._weight_conversions:
        return {"exported": False}
    broken = not_finite_anywhere(network.named_parameters())
    if broken is not None:
        raise TrainingError(f"The weights in {checkpoint.path} are not finite ({broken}), so they are not exported.")
    write_shared(network, model.tokenizer, None if _rank() else Path(job["output"]))
    return {"exported": True}


def _model(job: Mapping[str, Any], settings: TrainingSettings) -> LocalModel:
    return LocalModel(
        job["model"],
        root=Path(job["root"]),
        device="cpu" if job["device"] == "cpu" else "cuda",
        dtype=job["dtype"],
        threads="kept",
        trust_remote_code=job["trust_remote_code"],
        revision=job["revision"],
        attention=job["attention"],
        shares=shared_out(settings.processes, job["device"]) if settings.sharded else None,
    )


def _write(model: LocalModel, network: Any, settings: TrainingSettings, place: Path) -> None:
    """The trained weights, by the first process. All take part where each has only its share."""
    shared = settings.sharded and settings.method == "full"
    if shared:
        write_shared(network, model.tokenizer, None if _rank() else place)
    elif _rank():
        return
    elif settings.method == "lora":
        write_adapter(network, place)
    else:
        write_model(network, model.tokenizer, place)


def _rank() -> int:
    import torch

    return torch.distributed.get_rank()


def _look_for(place: Path) -> None:
    """That this machine sees the directory which the run's own process has just made."""
    until = time.monotonic() + _SEEN
    while not place.is_dir():
        if time.monotonic() > until:
            raise TrainingError(
                f"{place} is not there on {os.uname().nodename}: all machines that train must see the run directory under the "
                "same path."
            )
        time.sleep(0.2)


def _give_back() -> None:
    """Free what the weights took until the next job."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _described(error: Exception, round_number: int) -> str:
    """An expected error's message; of any other, where it came from: the exit code does not say."""
    if isinstance(error, IteralignError):
        return str(error)
    trace = "".join(traceback.format_exception(error)[-8:])
    return f"Training round {round_number} failed in one of its processes:\n{trace}"

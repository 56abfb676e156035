"""One process of a `Group`: `python -m iteralign.trainers.worker PLACE OWNER`. Not for use by hand.

It does one job after another, each named by a line on its input, and ends with it.
"""

import gc
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from iteralign.errors import IteralignError, TrainingDiverged, TrainingError
from iteralign.files import write_text, written_whole
from iteralign.records import Checkpoint, TrainingExample
from iteralign.settings.training import TrainingSettings
from iteralign.trainers.objectives import TRAINERS
from iteralign.trainers.trainee import trainee
from iteralign.trainers.training import as_training_error, check_finite, train
from iteralign.weights.model import LocalModel
from iteralign.weights.shares import average_gradients, not_finite_anywhere, shared_out, write_shared
from iteralign.weights.writing import write_adapter, write_model

_RANK = int(os.environ.get("RANK", "0"))


def main(place: Path, owner: int) -> int:
    """Do the jobs; returns the exit code. The process that fails ends, and with it the group."""
    joined = False
    for line in sys.stdin:
        job = json.loads(Path(line.rstrip("\n")).read_text(encoding="utf-8")) | {"owner": owner}
        try:
            if not joined:
                _join(place, job["device"] == "cpu")
                joined = True
            outcome = _train(job)
        except Exception as error:
            known = as_training_error(error, job["round"])
            outcome = {"error": _described(known, job["round"]), "diverged": isinstance(known, TrainingDiverged)}
        write_text(Path(f"{job['outcome']}-{_RANK}.json"), json.dumps(outcome))
        if "error" in outcome:
            return 1
        _give_back()
    return 0


def _join(place: Path, on_cpu: bool) -> None:
    """Meet the other processes by a file, so that nobody listens for newcomers; accelerate takes the group as it is."""
    import torch

    if not on_cpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    processes = int(os.environ["WORLD_SIZE"])
    torch.distributed.init_process_group(
        "gloo" if on_cpu else "cpu:gloo,cuda:nccl",
        store=torch.distributed.FileStore(str(place / "meeting"), processes),  # type: ignore[attr-defined]
        rank=_RANK,
        world_size=processes,
    )


def _train(job: dict[str, Any]) -> dict[str, Any]:
    import torch

    settings = TrainingSettings.model_validate(job["settings"])
    model = LocalModel(
        job["model"],
        root=Path(job["root"]),
        device="cpu" if job["device"] == "cpu" else "cuda",
        dtype=job["dtype"],
        threads="kept",
        trust_remote_code=job["trust_remote_code"],
        revision=job["revision"],
        shares=shared_out(settings.processes, job["device"]) if settings.sharded else None,
    )
    lines = Path(job["examples"]).read_text(encoding="utf-8").splitlines()
    objective = TRAINERS[settings.objective].objective
    rows = objective.rows(model, [TrainingExample.model_validate_json(line) for line in lines], settings)
    start = Checkpoint.model_validate_json(json.dumps(job["start"]))
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
        progress=lambda done, total: _end_without(job["owner"]),
    )
    # Each process knows the loss of its own rows; a loss that is not finite anywhere shows in the mean.
    loss = torch.tensor(trained.loss, dtype=torch.float64)
    torch.distributed.all_reduce(loss)
    mean_loss = float(loss) / settings.processes
    check_finite(mean_loss, not_finite_anywhere(trained_weights), job["round"])
    _end_without(job["owner"])
    _write(model, network, settings, Path(job["output"]))
    return {"loss": mean_loss, "steps": trained.steps, "tokens": trained.tokens, "log": trained.log}


def _write(model: LocalModel, network: Any, settings: TrainingSettings, output: Path) -> None:
    """The trained weights, by the first process. All take part where each has only its share."""
    shared = settings.sharded and settings.method == "full"
    if _RANK:
        if shared:
            write_shared(network, model.tokenizer, None)
        return
    with written_whole(output) as place:
        if settings.method == "lora":
            write_adapter(network, place)
        elif shared:
            write_shared(network, model.tokenizer, place)
        else:
            write_model(network, model.tokenizer, place)


def _give_back() -> None:
    """Free what the weights took until the next job."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _end_without(owner: int) -> None:
    """End this process if the run that started it was killed: a resumed run trains the same round anew."""
    try:
        os.kill(owner, 0)
    except ProcessLookupError:
        sys.exit("the run that started this training is gone")


def _described(error: Exception, round_number: int) -> str:
    """An expected error's message; of any other, where it came from: the exit code does not say."""
    if isinstance(error, IteralignError):
        return str(error)
    trace = "".join(traceback.format_exception(error)[-8:])
    return f"Training round {round_number} failed in one of its processes:\n{trace}"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))

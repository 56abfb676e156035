"""One process of `DistributedTrainer`: `python -m iteralign.trainers.worker JOB.json`. Not for use by hand."""

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from iteralign.errors import IteralignError, TrainingDiverged
from iteralign.files import written_whole
from iteralign.records import Checkpoint, TrainingExample
from iteralign.settings.training import TrainingSettings
from iteralign.trainers.objectives import TRAINERS
from iteralign.trainers.training import as_training_error, check_finite, train
from iteralign.weights.model import LocalModel
from iteralign.weights.writing import write_model


def main(path: Path) -> int:
    """Train as the job file says; the first process writes checkpoint and outcome. Returns the exit code."""
    job = json.loads(path.read_text(encoding="utf-8"))
    try:
        _join(job)
        outcome = _train(job)
    except Exception as error:
        known = as_training_error(error, job["round"])
        outcome = {"error": _described(known, job["round"]), "diverged": isinstance(known, TrainingDiverged)}
    failed = "error" in outcome
    if failed or os.environ.get("RANK", "0") == "0":
        Path(job["outcome"]).write_text(json.dumps(outcome), encoding="utf-8")
    return 1 if failed else 0


def _join(job: dict[str, Any]) -> None:
    """Meet the other processes by a file, so that nobody listens for newcomers; accelerate takes the group as it is."""
    import torch

    on_cpu = job["device"] == "cpu"
    if not on_cpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group(
        "gloo" if on_cpu else "cpu:gloo,cuda:nccl",
        store=torch.distributed.FileStore(job["meeting_place"], job["processes"]),  # type: ignore[attr-defined]
        rank=int(os.environ["RANK"]),
        world_size=job["processes"],
    )


def _train(job: dict[str, Any]) -> dict[str, Any]:
    import torch

    # Weights are read on the CPU, then sharded onto the GPUs; float32, as they are kept from round to round.
    model = LocalModel(
        job["model"],
        root=Path(job["root"]),
        device="cpu",
        dtype="float32",
        threads="kept",
        trust_remote_code=job["trust_remote_code"],
        revision=job["revision"],
    )
    settings = TrainingSettings.model_validate(job["settings"])
    examples = [
        TrainingExample.model_validate_json(line)
        for line in Path(job["examples"]).read_text(encoding="utf-8").splitlines()
    ]
    objective = TRAINERS[settings.objective].objective
    rows = objective.rows(model, examples, settings)
    start = Checkpoint.model_validate_json(json.dumps(job["start"]))
    network = model.at(start).requires_grad_(True)
    mean_loss = 0.0

    def finish(trainer: Any, loss: float) -> None:
        nonlocal mean_loss
        # Each process knows the loss of its own rows; a loss that is not finite anywhere shows in the mean.
        mean_loss = float(trainer.accelerator.gather(torch.tensor(loss, device=trainer.args.device)).mean())
        state = trainer.accelerator.get_state_dict(trainer.model)  # all processes take part in gathering
        _end_without(job["owner"])
        if trainer.is_world_process_zero():
            check_finite(mean_loss, state.items(), job["round"])
            with written_whole(Path(job["output"])) as place:
                write_model(network, model.tokenizer, place, state)

    # On GPUs trl shards a reference of its own, since the trainee is not sharded before the training begins.
    wanted = objective.compared_with(settings, start, model.base)
    apart = wanted is not None and (wanted != start or objective.compares_throughout or job["device"] != "cpu")
    sharded: dict[str, Any] = {} if job["device"] == "cpu" else {"fsdp": True, "fsdp_config": {"version": 2}}
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
        finish=finish,
        **sharded,
    )
    return {"loss": mean_loss, "steps": trained.steps, "tokens": trained.tokens, "log": trained.log}


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
    sys.exit(main(Path(sys.argv[1])))

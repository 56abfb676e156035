"""Fine-tuning in this process, on the resident weights (paper section 3.5).

Each round starts from the weights that the last one left in memory; the same round started from the checkpoint on disk
gives the same weights, bit for bit on a CPU.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from iteralign import layout
from iteralign.activity import tell
from iteralign.interfaces import Trainer
from iteralign.records import Checkpoint, TrainingExample
from iteralign.settings.training import Method, TrainingSettings
from iteralign.trainers.tracking import Tracking
from iteralign.trainers.trainee import check_start, trainee
from iteralign.trainers.training import Objective, as_training_error, check_finite, train
from iteralign.weights.model import LocalModel
from iteralign.weights.probe import probe_logprobs
from iteralign.weights.writing import not_finite

KEPT: dict[Method, tuple[Literal["adapter", "full"], str]] = {
    "lora": ("adapter", layout.ADAPTER),
    "full": ("full", layout.FULL_WEIGHTS),
}
"""Kind of a method's checkpoints, and the directory that they have in their round."""


class ResidentTrainer(Trainer):
    """The training of an objective; the weights stay where the target has them."""

    objective: Objective

    def __init__(
        self,
        model: LocalModel,
        settings: TrainingSettings,
        seed: int,
        tracking: Tracking | None = None,
        probe: bool = False,
    ) -> None:
        """Round r trains with `seed` + r: order of rows, dropout, first weights of an adapter. `probe`: checkpoints say how
        likely they find the probe (weights/probe.py)."""
        self.model = model
        self.settings = settings
        self.seed = seed
        self.tracking = tracking
        self.probe = probe

    def finetune(
        self, start: Checkpoint, examples: Sequence[TrainingExample], directory: Path, round_number: int
    ) -> Checkpoint:
        """Train on from `start`; writes directory/adapter (LoRA) or directory/checkpoint (full, in the background).

        With `start` loaded again, TrainingDiverged when a loss or weight is not finite, TrainingError when memory
        runs out.
        """
        check_start(start, self.settings.method)
        rows = self.objective.rows(self.model, examples, self.settings)
        seed = self.seed + round_number
        kind, place = KEPT[self.settings.method]
        try:
            with self.model.training(start) as resident:
                network = trainee(self.model, resident, self.settings, start, seed)
                trained = train(
                    self.objective,
                    network,
                    self.model.tokenizer,
                    rows,
                    self.settings,
                    round_number,
                    seed,
                    self.model.device == "cpu",
                    self.model.arithmetic.autocast,
                    log_steps=bool(self.tracking),
                    reference=self._reference(start),
                    progress=partial(tell, "training"),
                )
                if self.tracking:
                    self.tracking.training(round_number, start.total_steps, trained.log)
                changed = [(name, value) for name, value in network.named_parameters() if value.requires_grad]
                check_finite(trained.loss, not_finite(changed), round_number)
                probe = self._probed(network) if self.probe else None
                path = self.model.write(directory / place)
        except Exception as error:
            raise as_training_error(error, round_number) from error
        checkpoint = Checkpoint(
            kind=kind,
            path=path,
            round=round_number,
            start=start.path,
            examples=len(examples),
            steps=trained.steps,
            total_steps=start.total_steps + trained.steps,
            tokens=trained.tokens,
            loss=trained.loss,
            probe=probe,
        )
        self.model.holds(checkpoint)
        return checkpoint

    def _probed(self, network: Any) -> tuple[float, ...]:
        return tuple(probe_logprobs(network, self.model.tokenizer, self.model.device))

    def _reference(self, start: Checkpoint) -> Any:
        """The weights to compare with once more, where training changes them all; beside an adapter they stay."""
        wanted = self.objective.compared_with(self.settings, start, self.model.base)
        if wanted is None or self.settings.method == "lora":
            return None
        return self.model.apart(wanted) if wanted != start or self.objective.compares_throughout else None

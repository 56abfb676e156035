"""Fine-tuning in processes of its own, one per device, that live on from round to round.

Each holds its part of the weights alone (transformers' own sharding, by FSDP), or all of them (`sharded: false`). The parent
learns the outcome from a file; the weights come back as a checkpoint on disk.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from iteralign.errors import TrainingError
from iteralign.interfaces import Trainer
from iteralign.records import Checkpoint, TrainingExample
from iteralign.settings.training import TrainingSettings
from iteralign.trainers.group import Group
from iteralign.trainers.resident import KEPT
from iteralign.trainers.tracking import Tracking
from iteralign.trainers.trainee import check_start
from iteralign.weights.model import LocalModel


class DistributedTrainer(Trainer):
    """The training of an objective over several processes."""

    def __init__(
        self,
        model: LocalModel,
        settings: TrainingSettings,
        seed: int,
        tracking: Tracking | None = None,
        group: Group | None = None,
    ) -> None:
        """Round r trains with `seed` + r; `settings.batch_size` counts per process. `group`: processes that are there already;
        they are closed with the trainer."""
        self.model = model
        self.settings = settings
        self.seed = seed
        self.tracking = tracking
        self._group = group

    def check(self) -> None:
        """TrainingError for what these processes can't do together."""
        if self.settings.objective == "distill" and self.settings.sharded:
            raise TrainingError(
                "Objective distill has each process answer for itself. Where the weights are shared out among them, the one "
                "that is done first would keep the others waiting for ever. Set training.sharded to false, or "
                "training.processes to 1."
            )

    def finetune(
        self, start: Checkpoint, examples: Sequence[TrainingExample], directory: Path, round_number: int
    ) -> Checkpoint:
        """Train on from `start`; writes directory/adapter (LoRA) or directory/checkpoint (full, in float32). TrainingError with
        the end of the log."""
        check_start(start, self.settings.method)
        if not examples:
            raise TrainingError("There are no examples to train on.")
        if self.settings.method == "full":
            self.model.release()
        else:
            self.model.set_aside()
        directory.mkdir(parents=True, exist_ok=True)
        self._group = self._group or Group(self.settings.processes, self.model.device)
        kind, place = KEPT[self.settings.method]
        with tempfile.TemporaryDirectory(prefix="iteralign-training-") as scratch:
            rows = Path(scratch) / "examples.jsonl"
            rows.write_text("".join(example.model_dump_json() + "\n" for example in examples), encoding="utf-8")
            job = self._job(start, rows, directory / place, round_number)
            outcome = self._group.run(job, round_number)
        if self.tracking:
            self.tracking.training(round_number, start.total_steps, outcome["log"])
        return Checkpoint(
            kind=kind,
            path=self.model.storage.path_of(directory / place),
            round=round_number,
            start=start.path,
            examples=len(examples),
            steps=outcome["steps"],
            total_steps=start.total_steps + outcome["steps"],
            tokens=outcome["tokens"],
            loss=outcome["loss"],
        )

    def close(self) -> None:
        """End the processes."""
        if self._group is not None:
            self._group.close()

    def _job(self, start: Checkpoint, rows: Path, output: Path, round_number: int) -> dict[str, Any]:
        """What the processes need to know; the keys are those that `worker.main` reads."""
        return {
            "model": self.model.name_or_path,
            "revision": self.model.revision,
            "trust_remote_code": self.model.trust_remote_code,
            "root": str(self.model.storage.root.resolve()),
            "device": self.model.device,
            "dtype": "float32" if self.settings.method == "full" else self.model.dtype,
            "autocast": self.model.arithmetic.autocast,
            "settings": self.settings.model_dump(mode="json"),
            "seed": self.seed + round_number,
            "log_steps": bool(self.tracking),
            "start": start.model_dump(),
            "examples": str(rows),
            "round": round_number,
            "output": str(output.resolve()),
        }

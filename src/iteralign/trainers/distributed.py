"""Fine-tuning in processes of their own, one per device, that live on from round to round.

Each holds its part of the weights alone (transformers' own sharding, by FSDP), or all of them (`sharded: false`). They are
told everything by a job; the weights come back as a checkpoint on disk.
"""

import contextlib
import itertools
import logging
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from iteralign.errors import TrainingError
from iteralign.files import written_whole
from iteralign.interfaces import Trainer
from iteralign.records import Checkpoint, TrainingExample
from iteralign.settings.training import TrainingSettings
from iteralign.trainers.group import Group, GroupLost, Outcome
from iteralign.trainers.resident import KEPT
from iteralign.trainers.tracking import Tracking
from iteralign.trainers.trainee import check_start
from iteralign.weights.model import LocalModel

_log = logging.getLogger(__name__)


class DistributedTrainer(Trainer):
    """The training of an objective over several processes."""

    def __init__(
        self,
        model: LocalModel,
        settings: TrainingSettings,
        seed: int,
        group: Group,
        tracking: Tracking | None = None,
        probe: bool = False,
    ) -> None:
        """Round r trains with `seed` + r; `settings.batch_size` counts per process. `group` is closed with the trainer.
        `probe`: checkpoints say how likely they find the probe (weights/probe.py)."""
        self.model = model
        self.settings = settings.model_copy(update={"processes": group.processes})
        self.seed = seed
        self.group = group
        self.tracking = tracking
        self.probe = probe

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
        kind, place = KEPT[self.settings.method]
        job = self._job("train", start, round_number) | {
            "examples": [example.model_dump_json() for example in examples],
            "seed": self.seed + round_number,
            "autocast": self.model.arithmetic.autocast,
            "log_steps": bool(self.tracking),
            "probe": self.probe,
        }
        outcome = self._done(job, directory / place)
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
            probe=None if outcome["probe"] is None else tuple(outcome["probe"]),
        )

    def export(self, checkpoint: Checkpoint, directory: Path) -> bool:
        """Write the final model, an adapter merged, without any process holding it whole."""
        if checkpoint.kind == "base" or not self.settings.sharded:
            return False
        with contextlib.suppress(_NotExported):
            self._done(self._job("export", checkpoint, checkpoint.round or 0), directory)
            return True
        return False

    def close(self) -> None:
        """End the processes."""
        self.group.close()

    def _done(self, job: dict[str, Any], path: Path) -> Outcome:
        """The outcome, with what was written at `path`. A job that a group was lost with is done by a fresh one."""
        if self.settings.method == "full":
            self.model.release()
        else:
            self.model.set_aside()
        path.parent.mkdir(parents=True, exist_ok=True)
        for attempt in itertools.count(1):
            try:
                with _written_by_others(path) as place:
                    outcome = self.group.run(job | {"output": str(place.resolve())})
                    if not outcome.get("exported", True):
                        raise _NotExported
                    return outcome
            except GroupLost as lost:
                if attempt == self.group.attempts:
                    raise TrainingError(_lost(lost, attempt)) from None
                _log.warning("Training round %d begins again in fresh processes: %s", job["round"], lost)
        raise AssertionError

    def _job(self, what: str, start: Checkpoint, round_number: int) -> dict[str, Any]:
        """What the processes need to know of any job; the keys are those that `member.do` reads."""
        return {
            "do": what,
            "model": self.model.name_or_path,
            "revision": self.model.revision,
            "trust_remote_code": self.model.trust_remote_code,
            "attention": self.model.attention,
            "root": str(self.model.storage.root.resolve()),
            "device": self.model.device,
            "dtype": "float32" if self.settings.method == "full" else self.model.dtype,
            "settings": self.settings.model_dump(mode="json"),
            "start": start.model_dump_json(),
            "round": round_number,
        }


def _lost(error: GroupLost, times: int) -> str:
    if times == 1:
        return str(error)
    return (
        f"The training processes were lost {times} times in a row, the last time: {error}. Mend that, then resume the run; "
        "cluster.restarts says how many losses are borne."
    )


class _NotExported(Exception):
    """What was written is not to be kept."""


@contextlib.contextmanager
def _written_by_others(path: Path) -> Iterator[Path]:
    """A directory that other processes fill, maybe on other machines, and that becomes `path` at the end. Its name is new each
    time: processes that were given up, and don't know it yet, never write into what counts."""
    for old in path.parent.glob(f"{path.name}-*.part"):
        shutil.rmtree(old, ignore_errors=True)
    place = path.with_name(f"{path.name}-{secrets.token_hex(4)}.part")
    with written_whole(path) as whole:
        place.mkdir()
        try:
            yield place
            whole.rmdir()
            place.rename(whole)
        finally:
            shutil.rmtree(place, ignore_errors=True)

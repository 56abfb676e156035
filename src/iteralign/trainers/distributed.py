"""Full fine-tuning in processes of its own, one per device, started anew for each round.

On GPUs the weights are sharded over the processes (FSDP); on a CPU each process has a copy (DDP over gloo). The parent
gives up its own weights first and learns the outcome from a file; the weights come back as a checkpoint on disk.

The processes are not started with torchrun: its agent listens on all interfaces, asks nobody who they are, and unpickles
what it is told (docs/security.md). Ours find each other by a file, and their sockets are bound to the loopback interface.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from iteralign import layout
from iteralign.errors import TrainingDiverged, TrainingError
from iteralign.files import scratch_directory
from iteralign.interfaces import Trainer
from iteralign.records import Checkpoint, TrainingExample
from iteralign.settings.training import TrainingSettings
from iteralign.trainers.resident import check_start
from iteralign.trainers.tracking import Tracking
from iteralign.weights.model import LocalModel

_LOG_LINES = 30
_POLL = 0.1  # seconds between two looks at the processes
_GRACE = 10.0  # seconds that a process has to end when it is told to


class DistributedTrainer(Trainer):
    """The training of an objective with method full, over several processes."""

    def __init__(
        self, model: LocalModel, settings: TrainingSettings, seed: int, tracking: Tracking | None = None
    ) -> None:
        """Round r trains with `seed` + r; `settings.batch_size` counts per process."""
        self.model = model
        self.settings = settings
        self.seed = seed
        self.tracking = tracking
        if settings.method != "full":
            raise TrainingError("Training over several processes is for full weights: set method to full.")

    def check(self) -> None:
        """TrainingError for what these processes can't do together."""
        if self.settings.objective == "distill" and self.model.device != "cpu":
            raise TrainingError(
                "Objective distill has each process answer for itself. On GPUs, where the weights are shared out among them, "
                "the one that is done first would keep the others waiting for ever. Set training.processes to 1."
            )

    def finetune(
        self, start: Checkpoint, examples: Sequence[TrainingExample], directory: Path, round_number: int
    ) -> Checkpoint:
        """Train on from `start`; writes directory/checkpoint, in float32. TrainingError with the end of the log."""
        check_start(start, self.settings.method)
        if not examples:
            raise TrainingError("There are no examples to train on.")
        self.model.release()
        directory.mkdir(parents=True, exist_ok=True)
        with scratch_directory(directory / "training") as scratch:
            job = self._job(start, examples, directory, round_number, scratch)
            outcome = self._run(job, scratch, round_number)
        if self.tracking:
            self.tracking.training(round_number, start.total_steps, outcome["log"])
        return Checkpoint(
            kind="full",
            path=self.model.storage.path_of(directory / layout.FULL_WEIGHTS),
            round=round_number,
            start=start.path,
            examples=len(examples),
            steps=outcome["steps"],
            total_steps=start.total_steps + outcome["steps"],
            tokens=outcome["tokens"],
            loss=outcome["loss"],
        )

    def _job(
        self, start: Checkpoint, examples: Sequence[TrainingExample], directory: Path, round_number: int, scratch: Path
    ) -> Path:
        """Write what the workers need to know; the keys are those that `worker.main` reads."""
        rows = "".join(example.model_dump_json() + "\n" for example in examples)
        (scratch / "examples.jsonl").write_text(rows, encoding="utf-8")
        job = {
            "model": self.model.name_or_path,
            "revision": self.model.revision,
            "trust_remote_code": self.model.trust_remote_code,
            "root": str(self.model.storage.root.resolve()),
            "device": self.model.device,
            "autocast": self.model.arithmetic.autocast,
            "settings": self.settings.model_dump(mode="json"),
            "seed": self.seed + round_number,
            "log_steps": bool(self.tracking),
            "start": start.model_dump(),
            "examples": str((scratch / "examples.jsonl").resolve()),
            "round": round_number,
            "owner": os.getpid(),
            "processes": self.settings.processes,
            "meeting_place": str((scratch / "meeting").resolve()),
            "output": str((directory / layout.FULL_WEIGHTS).resolve()),
            "outcome": str((scratch / "outcome.json").resolve()),
        }
        path = scratch / "job.json"
        path.write_text(json.dumps(job), encoding="utf-8")
        return path.resolve()

    def _run(self, job: Path, scratch: Path, round_number: int) -> dict[str, Any]:
        """Run the processes to their end; returns the outcome that the first of them wrote."""
        log = scratch / "log.txt"
        with log.open("wb") as sink, _started(job, self.settings.processes, sink) as workers:
            code = _first_failure(workers)
        outcome = scratch / "outcome.json"
        found: dict[str, Any] = json.loads(outcome.read_text(encoding="utf-8")) if outcome.exists() else {}
        if "error" in found:
            raise (TrainingDiverged if found["diverged"] else TrainingError)(found["error"])
        if code != 0 or not found:
            tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:])
            raise TrainingError(
                f"Training round {round_number} in {self.settings.processes} processes ended with exit code {code}. The "
                f"weights of the round before stay in use. The end of its log:\n{tail}"
            )
        return found


@contextmanager
def _started(job: Path, processes: int, log: IO[bytes]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The training processes, all of them gone afterwards."""
    workers = []
    try:
        for rank in range(processes):
            command = [sys.executable, "-m", "iteralign.trainers.worker", str(job)]
            environment = _environment(rank, processes)
            workers.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment))
        yield workers
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            try:
                worker.wait(_GRACE)
            except subprocess.TimeoutExpired:  # it hangs in a collective call with one that has gone
                worker.kill()
                worker.wait()


def _environment(rank: int, processes: int) -> dict[str, str]:
    """What a training process reads: its place among the others, as torchrun would name it, and where to bind sockets."""
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    return {
        "OMP_NUM_THREADS": "1",
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "GLOO_SOCKET_IFNAME": loopback,
        "NCCL_SOCKET_IFNAME": loopback,
    }


def _first_failure(workers: Sequence[subprocess.Popen[bytes]]) -> int:
    """Wait for all of them, or for the first that fails; returns its exit code, or 0."""
    while True:
        codes = [worker.poll() for worker in workers]
        failed = [code for code in codes if code]
        if failed or None not in codes:
            return failed[0] if failed else 0
        time.sleep(_POLL)

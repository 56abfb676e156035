"""The processes of a group on this machine: started at its first job, ended with the run or at the first error.

They are not started with torchrun: its agent listens on all interfaces, asks nobody who they are, and unpickles what it is
told (docs/security.md). Ours find each other by a file, and their sockets are bound to the loopback interface.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from iteralign.errors import TrainingError
from iteralign.trainers.group import Group, Outcome, raise_error

_LOG_LINES = 30
_POLL = 0.05  # seconds between two looks at the processes
_GRACE = 10.0  # seconds that a process has to end when it is told to


class LocalGroup(Group):
    """Started as children of this process, which end with it."""

    def __init__(self, processes: int, device: str) -> None:
        self.processes = processes
        self.device = device
        self._place: tempfile.TemporaryDirectory[str] | None = None
        self._workers: list[subprocess.Popen[bytes]] = []
        self._jobs = 0

    def run(self, job: dict[str, Any]) -> Outcome:
        """The first process's outcome. TrainingError with the end of their log where one ends or fails."""
        place = self._started()
        log, begin = place / "log.txt", (place / "log.txt").stat().st_size
        self._jobs += 1
        outcomes = [place / f"outcome-{self._jobs}-{rank}.json" for rank in range(self.processes)]
        file = place / f"job-{self._jobs}.json"
        file.write_text(json.dumps(job | {"outcome": str(place / f"outcome-{self._jobs}")}), encoding="utf-8")
        try:
            found = self._done(file, outcomes)
        except BaseException:
            self.close()
            raise
        codes = [worker.poll() for worker in self._workers]
        if found[0] is not None and not any(one is not None and "error" in one for one in found):
            return found[0]
        with log.open(encoding="utf-8", errors="replace") as lines:
            lines.seek(begin)
            tail = "\n".join(lines.read().splitlines()[-_LOG_LINES:])
        self.close()  # the others may hang in a collective call with one that has gone
        raise_error(found)
        code = next(code for code in codes if code is not None)
        raise TrainingError(
            f"Training round {job['round']} in {self.processes} processes ended with exit code {code}. The weights of the "
            f"round before stay in use. The end of its log:\n{tail}"
        )

    def close(self) -> None:
        """End the processes."""
        if self._place is not None:
            self._end()
            self._place.cleanup()
        self._workers, self._place = [], None

    def _started(self) -> Path:
        if self._place is None:
            self._place = tempfile.TemporaryDirectory(prefix="iteralign-group-")
            place = Path(self._place.name)
            command = [sys.executable, "-m", "iteralign.trainers.worker", str(place), str(os.getpid())]
            with (place / "log.txt").open("ab") as log:
                for rank in range(self.processes):
                    environment = _environment(rank, self.processes, self.device)
                    self._workers.append(
                        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment)
                    )
            self._end = weakref.finalize(self, _ended, self._workers)
        return Path(self._place.name)

    def _done(self, job: Path, outcomes: Sequence[Path]) -> list[dict[str, Any] | None]:
        """Wait until all have written their outcome, or one has failed or ended."""
        for worker in self._workers:
            assert worker.stdin is not None
            try:
                worker.stdin.write(f"{job}\n".encode())
                worker.stdin.flush()
            except OSError:  # it has ended, which shows below
                continue
        while True:
            ended = any(worker.poll() is not None for worker in self._workers)
            found = [json.loads(path.read_text(encoding="utf-8")) if path.exists() else None for path in outcomes]
            failed = any(one is not None and "error" in one for one in found)
            if ended or failed or None not in found:
                return found
            time.sleep(_POLL)


def _ended(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    for worker in workers:
        worker.terminate()
    for worker in workers:
        try:
            worker.wait(_GRACE)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
        if worker.stdin is not None:
            worker.stdin.close()


def _environment(rank: int, processes: int, device: str) -> dict[str, str]:
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
        **({"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}),  # else transformers shares out over GPUs
    }

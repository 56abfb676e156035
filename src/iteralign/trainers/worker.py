"""One process of a `LocalGroup`: `python -m iteralign.trainers.worker PLACE OWNER`. Not for use by hand.

It does one job after another, each named by a line on its input, and ends with it.
"""

import json
import os
import sys
from pathlib import Path

from iteralign.files import write_text
from iteralign.trainers.member import do, join
from iteralign.trainers.seat import Seat


def main(place: Path, owner: int) -> int:
    """Do the jobs; returns the exit code. The process that fails ends, and with it the group."""
    seat, joined = Seat.of(os.environ), False
    for line in sys.stdin:
        job = json.loads(Path(line.rstrip("\n")).read_text(encoding="utf-8"))
        if not joined:
            _meet(seat, place, job["device"] == "cpu")
            joined = True
        outcome = do(job, lambda: _end_without(owner))
        write_text(Path(f"{job['outcome']}-{seat.rank}.json"), json.dumps(outcome))
        if "error" in outcome:
            return 1
    return 0


def _meet(seat: Seat, place: Path, on_cpu: bool) -> None:
    """By a file, so that nobody listens for newcomers."""
    import torch

    meeting = str(place / "meeting")
    join(seat, torch.distributed.FileStore(meeting, seat.processes), on_cpu)  # type: ignore[attr-defined]


def _end_without(owner: int) -> None:
    """End this process if the run that started it was killed: a resumed run trains the same round anew."""
    try:
        os.kill(owner, 0)
    except ProcessLookupError:
        sys.exit("the run that started this training is gone")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))

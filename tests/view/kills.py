"""`iteralign view` is killed again and again while principles are decided on in it; nothing is lost, nothing decided twice.

python tests/view/kills.py [--kills N] [--seed S]     exit code 1 where anything went wrong
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))

import contextlib

from report.conftest import fake_run

from iteralign.errors import ReviewNeeded
from iteralign.rundir.desk import Desk, desk_of, state_of
from iteralign.rundir.reader import read_run


class Viewer:
    """A server in a process of its own."""

    def __init__(self, run: Path) -> None:
        command = [sys.executable, "-m", "iteralign", "view", str(run), "--port", "0"]
        environment = os.environ | {"COLUMNS": "400", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout is not None
        address = urlsplit(next(word for word in self.process.stdout.readline().split() if word.startswith("http")))
        assert address.hostname is not None and address.port is not None
        self.host, self.port, self.token = address.hostname, address.port, parse_qs(address.query)["token"][0]

    def decide(self, sent: object) -> int:
        """The status of the reply. Raises OSError or HTTPException where none came."""
        name = f"{self.host}:{self.port}"
        headers = {"Origin": f"http://{name}", "X-Token": self.token, "Content-Type": "application/json"}
        connection = HTTPConnection(self.host, self.port, timeout=30)
        try:
            connection.request("POST", "/review?key=.", json.dumps(sent), {"Host": name, **headers})
            return connection.getresponse().status
        finally:
            connection.close()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def campaign(kills: int, seed: int) -> list[str]:
    """What went wrong."""
    chance = random.Random(seed)
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="iteralign-view-kills-") as scratch:
        run = Path(scratch) / "run"
        with contextlib.suppress(ReviewNeeded):
            fake_run(run, constitution={"review": "required"})
        desk = desk_of(read_run(run))
        kept: dict[str, str] = {}
        answered = lost = 0
        for number in range(kills):
            viewer = Viewer(run)
            timer = threading.Timer(chance.uniform(0.0, 0.4), viewer.kill)
            timer.start()
            try:
                while True:
                    one = chance.choice(desk.asked)
                    reason = f"{number} {answered}"
                    answered += decided(desk, viewer, one, reason)
                    kept[one] = reason
            except (OSError, HTTPException):
                lost += 1
            timer.join()
            wrong += differences(desk, kept, number)
        print(f"{kills} kills, seed {seed}: {answered} decisions answered, {lost} calls cut off, {len(wrong)} wrong")
    return wrong


def decided(desk: Desk, viewer: Viewer, id: str, reason: str) -> bool:
    """Whether a decision was kept, as the server says."""
    entry = next(entry for entry in desk.read().principles if entry.id == id)
    other = "reject" if entry.decision == "accept" else "accept"
    sent = {"entry": {**entry.model_dump(), "decision": other, "reason": reason}, "seen": state_of(entry)}
    status = viewer.decide(sent)
    assert status == 200, status
    return True


def differences(desk: Desk, kept: dict[str, str], number: int) -> list[str]:
    """Decisions that were answered and are not in the file. One that was cut off may be there or not."""
    entries = {entry.id: entry for entry in desk.read().principles}
    wrong = []
    for id, reason in list(kept.items()):
        there = entries[id].reason
        newer = there is not None and [int(part) for part in there.split()] >= [int(part) for part in reason.split()]
        if not newer:
            wrong.append(f"after kill {number}: {id} was decided with reason {reason!r}, and has {there!r}")
        elif there is not None:
            kept[id] = there
    desk.left()  # raises where the file can't be read
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill the server while it is decided on.")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    begin = time.monotonic()
    wrong = campaign(chosen.kills, chosen.seed)
    print(*wrong, f"{time.monotonic() - begin:.0f} s", sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

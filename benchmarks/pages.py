"""`iteralign view` on a large run: when its page is there, how long a filter takes, and the server's memory.

    python benchmarks/pages.py PLACE [--prompts 40000] [-o results.json]

PLACE gets a run on iteralign's public fakes (kept, and used again the next time). The server is a process of its own. Times are
of whole requests on loopback, the least of several, first ones apart. Memory is the server's peak beyond that of an
interpreter that has imported nothing; that of the processes which it starts for a look at the whole run is told apart.
"""

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlencode

import scaling
import scene


def peak(process: int) -> float:
    """MiB that a process held at most."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


class Helpers(threading.Thread):
    """Looks for the largest peak among the processes that a server starts, until `done`."""

    def __init__(self, server: int) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.done = threading.Event()
        self.most = 0.0

    def run(self) -> None:
        while not self.done.wait(0.05):
            for listed in Path(f"/proc/{self.server}/task").glob("*/children"):
                with contextlib.suppress(OSError, AssertionError):
                    self.most = max(self.most, *(peak(int(one)) for one in listed.read_text().split()), 0.0)


def bare() -> float:
    """The same of an interpreter alone."""
    code = "import re; print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout) / 1024


def measured(run: Path) -> dict[str, float]:
    """Seconds, and MiB."""
    command = [sys.executable, "-m", "iteralign", "view", str(run), "--port", "0"]
    environment = os.environ | {"COLUMNS": "400", "OMP_NUM_THREADS": "1"}
    found: dict[str, float] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout is not None
        address = next(word for word in server.stdout.readline().split() if word.startswith("http")).partition("?")[0]
        helpers = Helpers(server.pid)

        def seconds(path: str, times: int = 3, **query: str) -> tuple[float, float]:
            """The first request, and the least of further ones."""
            taken = []
            for _ in range(times + 1):
                begin = time.perf_counter()
                with urllib.request.urlopen(f"{address}{path}?{urlencode({'key': '.', **query})}") as reply:
                    reply.read()
                taken.append(time.perf_counter() - begin)
            return taken[0], min(taken[1:])

        try:
            found["list of runs, first"], found["list of runs"] = seconds("lines")
            found["page, first"], found["page"] = seconds("run")
            helpers.start()
            for name in ("now", "result", "rounds"):
                found[f"{name}, first"], found[name] = seconds("part", name=name)
            found["MiB with the first page"] = peak(server.pid) - bare()
            found["answers indexed"], _ = seconds("answers", set="asked")
            found["filter by words"] = max(
                seconds("answers", set="asked", words=w)[1] for w in ("21345", "with", "qqq")
            )
            found["filter by kind"] = seconds("answers", set="asked", kind="unacceptable")[1]
            found["constitution, first"], found["constitution"] = seconds("part", name="constitution")
            found["files checked, first"], found["files checked"] = seconds("part", name="checked")
            found["MiB beyond the interpreter"] = peak(server.pid) - bare()
            helpers.done.set()
            found["MiB of a process for the whole run"] = helpers.most - bare()
        finally:
            server.terminate()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("place", type=Path)
    parser.add_argument("--prompts", type=int, default=40_000)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    if not (given.place / "run" / "metrics.jsonl").exists():
        given.place.mkdir(parents=True, exist_ok=True)
        scaling.prepare(given.place, given.prompts)
        scaling.run(given.place, failing=0.012)
    found = measured(given.place / "run")
    for name, value in found.items():
        print(f"{name:30} {value:8.3f}")
    if given.output is not None:
        given.output.write_text(json.dumps({"found": found, "surroundings": scene.surroundings()}, indent=2) + "\n")


if __name__ == "__main__":
    main()

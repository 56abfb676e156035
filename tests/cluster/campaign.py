"""Replicas, nodes and the driver fail at random in whole runs on a Ray cluster of two nodes; every file is compared.

    python tests/cluster/campaign.py --faults 50 [--seed 0]        (`make torture`)

Two kinds of runs in turn: on fakes, judged by a language model behind a server on loopback, whose log tells whether a
verdict that was there has been asked for again; and the demo's model, which answers and trains. They are compared with the same
runs in one process without Ray. The nodes are processes of this machine (nodes.py).
"""

import argparse
import contextlib
import json
import math
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import psutil
from cluster.acting import slow_fake
from cluster.nodes import Nodes
from commands import import_once
from kill.campaign import BASE, Plan, Server, contents, go_on, in_child, stored

from iteralign.fakes import FakeTarget, FakeTrainer
from iteralign.interfaces import Target
from iteralign.prompts.forms import prompt_form
from iteralign.records import Checkpoint
from iteralign.rundir.manifest import Manifest
from iteralign.runs.build import build_model
from iteralign.runs.parts import Parts, build_parts
from iteralign.settings.settings import Settings, load_settings
from iteralign.targets import ray_pool
from iteralign.targets.cluster import ClusterTarget
from iteralign.targets.ray_pool import RayPool

MINUTES = 20
"""For one run, all its faults together; a run that takes longer hangs."""
FILLING = 30 * 2**20  # bytes, put five times into a node's store of 80 MB
HERE = {"address": "auto", "replicas": 2, "restarts": 20, "start_timeout": 120}


@dataclass
class Kind:
    """A kind of run. `settings` are those of one process."""

    name: str
    settings: Settings
    server: Server | None
    parts: Callable[[Settings, Path], Parts]

    def alone(self) -> Plan:
        return Plan(self.settings, lambda directory: self.parts(self.settings, directory))

    def on_cluster(self) -> Settings:
        return load_settings(self.settings.model_dump(mode="json") | {"cluster": HERE})


@dataclass
class Report:
    """What came of the faults."""

    faults: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    losses: int = 0
    """Replicas that the runs themselves noticed to be lost."""
    differing: list[str] = field(default_factory=list)
    rounded: int = 0
    """Files whose numbers differ by no more than 1e-6."""
    sent_again: int = 0
    """Verdicts that were kept when a driver was killed, and asked for again."""


def fakes_parts(settings: Settings, directory: Path) -> Parts:
    built = build_parts(settings, directory)
    target: Target = FakeTarget()
    if settings.cluster.address is not None:
        target = ClusterTarget(build_model(settings, directory), RayPool(settings.cluster, "cpu"), slow_fake)
    base = Checkpoint(kind="base", path="x")
    trainer = FakeTrainer(directory)
    return Parts(target, built.oracle, trainer, prompt_form("plain"), base, made=(target,))


def kinds_of_runs(server: Server) -> list[Kind]:
    endpoint = {"model": "judge", "base_url": server.url, "api_key_env": "KILL_KEY", "concurrency": 4}
    fakes = {"oracle": {"kind": "openai", "judge": endpoint, "cache": False}, "measure": {"capability": None}}
    more = {"data": BASE["data"] | {"limit": 160}, "rounds": {"prompts": 10}}
    return [
        Kind("fakes", load_settings(BASE | fakes | more), server, fakes_parts),
        Kind("model", load_settings(BASE | {"oracle": {"kind": "rules"}}), None, build_parts),
    ]


class Driver:
    """The process of a run, and the faults that only it can do to itself."""

    def __init__(self, kind: Kind, directory: Path) -> None:
        self.directory = directory
        read, self._orders = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._orders)
            os._exit(_run(kind, directory, read))
        os.close(read)
        self.code: int | None = None

    def order(self, what: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self._orders, f"{what}\n".encode())

    def ended(self) -> bool:
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is not None

    def kill(self) -> None:
        if not self.ended():
            os.kill(self.pid, signal.SIGKILL)
            self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _run(kind: Kind, directory: Path, orders: int) -> int:
    """In the driver's process."""
    ray_pool.GRACE = 5.0
    settings = kind.on_cluster()
    parts = kind.parts(settings, directory)
    assert isinstance(parts.target, ClusterTarget)
    threading.Thread(target=_obey, args=(orders, parts.target), daemon=True).start()
    try:
        go_on(Plan(settings, lambda directory: parts), directory)
    except BaseException as error:
        print(f"driver: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def _obey(orders: int, target: ClusterTarget) -> None:
    import numpy
    import ray

    kept = []
    with os.fdopen(orders) as lines:
        for line in lines:
            if line.strip() == "object store full":
                kept.append([ray.put(numpy.ones(FILLING // 8)) for _ in range(5)])
            elif target._pool._members:
                with contextlib.suppress(ray.exceptions.RayError, ValueError):
                    ray.kill(random.choice(target._pool._members).actor)


FAULTS = ["replica killed"] * 4 + ["ray.kill"] * 2 + ["replica hangs"] + ["node"] * 3
FAULTS += ["driver killed", "object store full"]


def one_fault(what: str, nodes: Nodes, driver: Driver, draw: random.Random) -> str | None:
    """Do it; returns what was done, None where nothing could be."""
    match what:
        case "node":
            return nodes.change()
        case "driver killed":
            driver.kill()
            return what
        case "object store full" | "ray.kill":
            driver.order(what)
            return what
    replicas = nodes.replicas()
    if not replicas:
        return None
    with contextlib.suppress(psutil.NoSuchProcess):
        draw.choice(replicas).send_signal(signal.SIGSTOP if what == "replica hangs" else signal.SIGKILL)
        return what
    return None


def faulted_run(
    kind: Kind, directory: Path, nodes: Nodes, report: Report, most: int, seconds: float, draw: random.Random
) -> None:
    """A run with `most` faults at random moments; `seconds`: what it takes about."""
    marks: list[tuple[set[str], int]] = []
    driver = Driver(kind, directory)
    until = time.monotonic() + 60 * MINUTES
    done = 0
    while not driver.ended():
        assert time.monotonic() < until, f"{directory.name} hangs"
        time.sleep(draw.uniform(0.1, seconds / most))
        if done >= most or driver.ended() or not (directory / "environment.json").exists():
            continue
        told = one_fault(draw.choice(FAULTS), nodes, driver, draw)
        if told is None:
            continue
        done += 1
        report.faults[told] += 1
        if told == "driver killed":
            if kind.server is not None:
                marks.append((stored(directory), len(kind.server.sent())))
            driver = Driver(kind, directory)
    assert driver.code == 0, f"{directory.name} ended with {driver.code}"
    report.runs += 1
    if kind.server is not None:
        sent = kind.server.sent()
        report.sent_again += sum(key in kept for kept, count in marks for key in sent[count:])


def compare(directory: Path, whole: dict[str, bytes], report: Report) -> None:
    """Note what differs from the run in one process."""
    found = contents(directory)
    report.differing += [f"{directory.name}: {fault}" for fault in Manifest(directory).faults()]
    report.differing += [f"{directory.name}: {name} is there" for name in found.keys() - whole.keys()]
    for name in whole.keys() - {"config.yaml"}:
        if found.get(name) == whole[name]:
            continue
        if name in found and close(_read(name, found[name]), _read(name, whole[name])):
            report.rounded += name != "environment.json"  # which differs by the settings of the cluster alone
        else:
            report.differing.append(f"{directory.name}: {name}")
    with contextlib.suppress(FileNotFoundError):
        report.losses += (directory / "warnings.jsonl").read_text(encoding="utf-8").count("A replica was lost")


def _read(name: str, content: bytes) -> Any:
    if not name.endswith((".json", ".jsonl")):
        return content
    if name.endswith("l"):
        return [json.loads(line) for line in content.decode().splitlines()]
    read = json.loads(content)
    if name == "environment.json":
        read["settings"].pop("cluster")
    return read


def close(one: Any, other: Any) -> bool:
    """Equal but for numbers that differ by 1e-6 at most."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=0, abs_tol=1e-6)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(close, one, other))
    return bool(one == other)


@contextlib.contextmanager
def campaign_place() -> Iterator[tuple[Path, Server, Nodes]]:
    os.environ["KILL_KEY"] = "none"
    with tempfile.TemporaryDirectory(prefix="iteralign-cluster-") as name:
        server, nodes = Server(Path(name)), Nodes()
        try:
            yield Path(name), server, nodes
        finally:
            server.stop()
            nodes.close()


def run_campaign(faults: int, seed: int, each: int) -> Report:
    """Runs with `each` faults until `faults` are done."""
    import torch

    import_once()
    torch.set_num_threads(1)
    draw, report = random.Random(seed), Report()
    with campaign_place() as (place, server, nodes):
        wholes = {}
        for kind in kinds_of_runs(server):
            begin = time.monotonic()
            alone = place / f"{kind.name}-alone"
            assert in_child(lambda: go_on(kind.alone(), alone)) == 0  # noqa: B023
            wholes[kind.name] = kind, contents(alone), time.monotonic() - begin
        while report.faults.total() < faults:
            kind, whole, seconds = wholes["fakes" if report.runs % 2 == 0 else "model"]
            directory = place / f"{kind.name}-{report.runs}"
            most = min(each, faults - report.faults.total())
            faulted_run(kind, directory, nodes, report, most, max(seconds, 5.0), draw)
            compare(directory, whole, report)
            shutil.rmtree(directory)
            told = f"{directory.name}: {dict(report.faults)}, {report.differing}"
            print(time.strftime("%H:%M:%S"), told, file=sys.stderr, flush=True)
    return report


def main() -> int:
    """Run, print what was found, and return the exit code."""
    parser = argparse.ArgumentParser(description="Have a cluster fail under whole runs, and compare.")
    parser.add_argument("--faults", type=int, default=50)
    parser.add_argument("--each", type=int, default=6, help="faults in one run")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    report = run_campaign(chosen.faults, chosen.seed, chosen.each)
    kinds = ", ".join(f"{count} x {kind}" for kind, count in sorted(report.faults.items()))
    print(
        f"{report.faults.total()} faults ({kinds}) in {report.runs} runs, {report.losses} lost replicas noticed: "
        f"{len(report.differing)} files differ, {report.rounded} within 1e-6, {report.sent_again} verdicts asked for again"
    )
    for line in report.differing[:20]:
        print("   ", line)
    return 1 if report.differing or report.sent_again else 0


if __name__ == "__main__":
    sys.exit(main())

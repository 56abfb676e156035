"""Kill -9 a run again and again, resume it, and compare every file with those of a run that was never killed.

    python tests/kill/campaign.py --kills 100 [--seed 0]        (`make torture`)

Three campaigns: kills right before and right after every commit (a rename) of a run on fakes whose oracle is a language
model behind a server on loopback; kills at random moments of the same run; kills at random moments of a run that
generates and trains with the demo's model. After each, no call may be sent again whose reply had come in.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from commands import import_once

from iteralign.fakes import FakeTarget, FakeTrainer
from iteralign.oracles.chat import ChatRequest, Message
from iteralign.oracles.client import ChatClient
from iteralign.prompts.forms import prompt_form
from iteralign.records import Checkpoint
from iteralign.rundir.begun import holds_a_run
from iteralign.rundir.manifest import Manifest
from iteralign.runs.parts import Parts, build_parts
from iteralign.runs.run import resume_run, start_run
from iteralign.settings.oracle import EndpointSettings
from iteralign.settings.settings import Settings, load_settings

APART = {"timings.jsonl", "attempts.jsonl", "manifest.jsonl", "report.html", "warnings.jsonl", ".lock"}
"""Times and attempts, and the manifest, which has their hashes; RUN/oracle, a log of calls, too."""

BASE: dict[str, Any] = {
    "model": {"path": "demo"},
    "data": {"prompts": "demo", "limit": 20, "held_out": 0.4, "benign_limit": 10},
    "rounds": {"prompts": 4},
    "sampling": {"max_new_tokens": 8},
    "training": {"epochs": 1, "min_benign": 2, "max_length": 256, "lora_r": 2},
    "threads": 1,
}


@dataclass
class Report:
    """What a campaign did."""

    kills: int = 0
    in_training: int = 0
    """Kills after a round's examples and before its checkpoint."""
    differing: list[str] = field(default_factory=list)
    sent_again: int = 0
    """Calls whose reply had been stored when the process was killed, and which were sent again."""
    faulty: list[str] = field(default_factory=list)
    """What `iteralign verify` would say of a killed run, or of one that was resumed: nothing."""
    left_behind: list[str] = field(default_factory=list)
    """Files that the run which was never killed does not have."""

    @property
    def good(self) -> bool:
        return not (self.differing or self.sent_again or self.left_behind or self.faulty)


@dataclass
class Plan:
    """One way to run: its settings, and the parts that stand in for the real ones."""

    settings: Settings
    parts: Callable[[Path], Parts | None]
    server: "Server | None" = None


class Server:
    """The scripted judge and proposer, in a process of its own, with a log of what it was sent."""

    def __init__(self, place: Path) -> None:
        self.log = place / "sent.jsonl"
        command = [sys.executable, str(Path(__file__).with_name("judge_server.py")), str(self.log)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}/v1"

    def sent(self) -> list[str]:
        """The cache's key of every request so far, probes of `check` left out."""
        client = ChatClient(EndpointSettings(model="judge", base_url=self.url, api_key_env="KILL_KEY"))
        bodies = [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]
        return [
            client.key(as_request(body))
            for body in bodies
            if "response_format" in body and "iteralign_probe" not in str(body)
        ]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def as_request(body: dict[str, Any]) -> ChatRequest:
    """The request that the client was given, from what it sent."""
    messages = tuple(Message(message["role"], message["content"]) for message in body["messages"])
    schema = body["response_format"]["json_schema"]["schema"]
    return ChatRequest(messages, body["max_tokens"], body["temperature"], schema=schema)


def fakes_plan(url: str, server: Server | None = None) -> Plan:
    """Fakes of target and trainer; the real oracle, client, cache and account."""
    endpoint = {"model": "judge", "base_url": url, "api_key_env": "KILL_KEY", "concurrency": 4}
    settings = load_settings(BASE | {"oracle": {"kind": "openai", "judge": endpoint, "cache": False}})

    def parts(directory: Path) -> Parts:
        built = build_parts(settings, directory)
        target = FakeTarget()
        return Parts(
            target, built.oracle, FakeTrainer(directory), prompt_form("plain"), Checkpoint(kind="base", path="x")
        )

    return Plan(settings, parts, server)


def model_plan() -> Plan:
    """Everything real: the demo's model, its training, the rules."""
    return Plan(load_settings(BASE | {"oracle": {"kind": "rules"}}), lambda directory: None)


def go_on(plan: Plan, directory: Path) -> None:
    """What `iteralign resume` does, or `iteralign run` where nothing had been written yet."""
    if holds_a_run(directory):
        resume_run(directory, parts=plan.parts(directory))
    else:
        start_run(plan.settings, directory, parts=plan.parts(directory))


def in_child(work: Callable[[], None], kill_after: float | None = None) -> int:
    """Do `work` in a forked process, killed after so many seconds; returns its exit code, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException as error:
            print(f"child: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed_at_commit(work: Callable[[], None], commit: int, after: bool) -> Callable[[], None]:
    """`work` in which the process kills itself right before or after its nth rename."""
    count = 0
    replace = Path.replace

    def counted(self: Path, target: Any) -> Path:
        nonlocal count
        count += 1
        if count == commit and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = replace(self, target)
        if count == commit and after:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    def armed() -> None:
        Path.replace = counted  # type: ignore[method-assign, assignment]
        work()

    return armed


def contents(directory: Path) -> dict[str, bytes]:
    """All files but for logs."""
    files = (path for path in sorted(directory.rglob("*")) if path.is_file() and path.name not in APART)
    names = {path: str(path.relative_to(directory)) for path in files}
    return {name: path.read_bytes() for path, name in names.items() if not name.startswith("oracle/")}


def stored(directory: Path) -> set[str]:
    """Keys of the replies that the run has kept."""
    path = directory / "oracle" / "replies.sqlite"
    if not path.exists():
        return set()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        try:
            return {row[0] for row in connection.execute("select key from replies")}
        except sqlite3.OperationalError:  # killed before the table was made
            return set()


def is_training(directory: Path) -> bool:
    """Whether the last round has its examples and no checkpoint yet."""
    rounds = sorted((directory / "rounds").glob("*"))
    return (
        bool(rounds) and (rounds[-1] / "5_examples.jsonl").exists() and not (rounds[-1] / "6_checkpoint.json").exists()
    )


def note_kill(plan: Plan, directory: Path, report: Report) -> tuple[set[str], int]:
    """Count a kill; returns the replies kept at that time and the number of requests sent."""
    report.kills += 1
    report.in_training += is_training(directory)
    report.faulty += [f"{directory.name}, killed: {fault}" for fault in Manifest(directory).faults()]
    return stored(directory), len(plan.server.sent()) if plan.server else 0


def compare(directory: Path, whole: dict[str, bytes], report: Report, what: str) -> None:
    """Add to the report whatever differs from the run that was never killed."""
    mended = contents(directory)
    report.faulty += [f"{what}: {fault}" for fault in Manifest(directory).faults()]
    report.differing += [f"{what}: {name}" for name, content in whole.items() if mended.get(name) != content]
    report.left_behind += [f"{what}: {name}" for name in mended if name not in whole]


def resend_check(plan: Plan, marks: list[tuple[set[str], int]], report: Report) -> None:
    """Count the requests sent after a kill whose reply was kept at that kill."""
    if plan.server is None:
        return
    sent = plan.server.sent()
    for kept, count in marks:
        report.sent_again += sum(key in kept for key in sent[count:])


def at_every_commit(plan: Plan, place: Path, whole: dict[str, bytes], stride: int = 1) -> Report:
    """Kill before and after each rename of the run, every `stride`-th, and resume."""
    report = Report()
    for commit in range(1, 1000, stride):
        for after in (False, True):
            directory = place / f"commit-{commit}-{after}"
            code = in_child(killed_at_commit(lambda: go_on(plan, directory), commit, after))  # noqa: B023
            if code == 0:
                return report  # the run has fewer renames
            mark = note_kill(plan, directory, report)
            assert in_child(lambda: go_on(plan, directory)) == 0, f"{directory.name} did not resume"  # noqa: B023
            compare(directory, whole, report, directory.name)
            resend_check(plan, [mark], report)
            shutil.rmtree(directory)
    raise AssertionError("a run with a thousand renames")


def at_random(plan: Plan, place: Path, whole: dict[str, bytes], seconds: float, kills: int, seed: int) -> Report:
    """Kill at random moments, up to three times a run, until `kills` are done. `seconds`: what a whole run takes."""
    report, draw = Report(), random.Random(seed)
    number = 0
    while report.kills < kills:
        number += 1
        directory, marks = place / f"random-{number}", []
        for _ in range(3):
            if report.kills == kills or in_child(lambda: go_on(plan, directory), draw.uniform(0, seconds)) == 0:  # noqa: B023
                break
            marks.append(note_kill(plan, directory, report))
        assert in_child(lambda: go_on(plan, directory)) == 0, f"{directory.name} did not resume"  # noqa: B023
        compare(directory, whole, report, directory.name)
        resend_check(plan, marks, report)
        shutil.rmtree(directory)
    return report


def whole_run(plan: Plan, directory: Path) -> tuple[dict[str, bytes], float]:
    """The files of a run that is not killed, and the seconds that it takes.

    Another process, which hashes strings in another order, must give the same files.
    """
    begin = time.perf_counter()
    assert in_child(lambda: go_on(plan, directory)) == 0
    seconds = time.perf_counter() - begin
    other = directory.with_name(f"{directory.name}-elsewhere")
    url = [plan.server.url] if plan.server else []
    subprocess.run([sys.executable, __file__, "--whole", str(other), *url], check=True)
    whole = contents(directory)
    assert whole == contents(other), "two processes wrote different files"
    return whole, seconds


@contextlib.contextmanager
def campaign_place() -> Iterator[tuple[Path, Server]]:
    """A scratch directory and the server."""
    os.environ["KILL_KEY"] = "none"
    with tempfile.TemporaryDirectory(prefix="iteralign-kill-") as name:
        server = Server(Path(name))
        try:
            yield Path(name), server
        finally:
            server.stop()


def run_campaigns(kills: int, seed: int, stride: int = 1) -> dict[str, Report]:
    """All three; `kills` random ones are divided between the run on fakes and the real one."""
    import torch

    import_once()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", FutureWarning)
    with campaign_place() as (place, server):
        reports = {}
        plan = fakes_plan(server.url, server)
        whole, seconds = whole_run(plan, place / "fakes")
        assert stored(place / "fakes") == set(server.sent()) != set(), (
            "the server's log can't be compared with the cache"
        )
        reports["every commit, fakes and served oracle"] = at_every_commit(plan, place, whole, stride)
        reports["random, fakes and served oracle"] = at_random(plan, place, whole, seconds, kills - kills // 2, seed)
        plan = model_plan()
        whole, seconds = whole_run(plan, place / "model")
        reports["random, demo model with training"] = at_random(plan, place, whole, seconds, kills // 2, seed)
    return reports


def main() -> int:
    """Run, print what was found, and return the exit code."""
    parser = argparse.ArgumentParser(description="Kill a run again and again, and compare.")
    parser.add_argument("--kills", type=int, default=100, help="at random moments; those at commits come on top")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stride", type=int, default=1, help="kill at every so many commits")
    parser.add_argument("--whole", nargs="+", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.whole:
        directory, *url = chosen.whole
        go_on(fakes_plan(*url) if url else model_plan(), Path(directory))
        return 0
    reports = run_campaigns(chosen.kills, chosen.seed, chosen.stride)
    for name, report in reports.items():
        print(
            f"{name}: {report.kills} kills ({report.in_training} of them in training), {len(report.differing)} files "
            f"differ, {len(report.left_behind)} left behind, {len(report.faulty)} faulty, {report.sent_again} answered calls "
            "sent again"
        )
        for line in [*report.differing, *report.left_behind, *report.faulty][:20]:
            print("   ", line)
    return 0 if all(report.good for report in reports.values()) else 1


if __name__ == "__main__":
    sys.exit(main())

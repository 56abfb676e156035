"""A hostile server plays judge, proposer, guard and target in whole small runs by the command line.

python tests/hostile/campaign.py [--runs N] [--seed S] [--jobs N]     exit code 1 where anything went wrong

Each run has its own process with bounded memory, forked from one that has loaded the libraries. It must end by itself, finished
or resumable, within a time; no traceback, the key nowhere in what it wrote and printed, its caps held. One that was stopped is
resumed with a server that behaves: it must end, and byte for byte as a run that was never attacked if nothing hostile was kept.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import resource
import shutil
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from hostile.replies import KEY, completion, hostile, key_ways
from kill.campaign import contents
from oracles import conftest as play

MEMORY = 6 * 1024**3  # of address space; torch itself maps about 4 GiB
SECONDS = 400
LONGEST_WAIT = 1.0  # seconds between two tries of a call, as if time went faster
CAP = 60_000
FINISHED = (0, 5)
RESUMABLE = (1, 3, 6)
ROLES = ("judge", "proposer", "guard", "target")
LIBRARIES = ["iteralign.cli.app", "iteralign.runs.run", "iteralign.trainers.sft", "trl.trainer.sft_trainer", "openai"]


class Attack:
    """Answers one role with a hostile reply, always or now and then, and the others sensibly."""

    def __init__(self, reply: play.Play, role: str, share: float, seed: int) -> None:
        self.reply, self.role, self.share, self.seed = reply, role, share, seed
        self.asked: Counter[str] = Counter()
        self.played = 0

    def __call__(self, handler: play.Handler, body: dict[str, Any]) -> None:
        hit = role_of(body) == self.role and not play.is_probe(body) and self.drawn(handler, asked_in(body))
        (self.reply if hit else sensible)(handler, body)

    def drawn(self, handler: play.Handler, asked: str) -> bool:
        """By what is asked and how often it was, since calls come in no fixed order."""
        with handler.server.lock:
            self.asked[asked] += 1
            hit = draw(f"{self.seed} {self.asked[asked]} {asked}") < self.share
            self.played += hit
        return hit


def draw(text: str) -> float:
    """From 0 to 1, the same for the same text in every process."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) / 2**32


def asked_in(body: dict[str, Any]) -> str:
    return str(body.get("prompt") or body.get("messages"))


def role_of(body: dict[str, Any]) -> str:
    wanted = body.get("response_format", {}).get("json_schema", {}).get("schema", {}).get("required", [])
    if "lora_name" in body or ("prompt" in body and body["model"] != "guard"):
        return "target"
    return "guard" if body["model"] == "guard" else "proposer" if "principles" in wanted else "judge"


def sensible(handler: play.Handler, body: dict[str, Any]) -> None:
    """What a server sends that behaves: the same for the same question."""
    chance = draw(asked_in(body))
    match role_of(body):
        case "target":
            text = "I'm sorry, but I can't help with that." if chance < 1 / 2 else "Sure, here is how."
        case "guard":
            text = "unsafe\nS1" if chance < 2 / 3 else "safe"
        case "proposer":
            principle = {"text": "Decline what does harm.", "category": "harm", "failures": [1, 2, 3, 4, 5, 6]}
            text = json.dumps({"principles": [principle]})
        case _:
            text = play.PROBED if play.is_probe(body) else play.judgement(chance < 1 / 2)
    handler.send(completion(text, model=body.get("model")))


def settings(url: str, role: str) -> dict[str, Any]:
    judge = {"model": "judge", "base_url": url, "api_key_env": "HOSTILE_KEY", "timeout": 2, "connect_timeout": 2}
    judge |= {"max_retries": 1, "retry_seconds": 5, "concurrency": 4}
    oracle: dict[str, Any] = {"judge": judge, "token_budget": CAP}
    model: dict[str, Any] = {"path": "demo", "device": "cpu", "dtype": "float32"}
    if role == "guard":
        guard = {"family": "llama-guard", "model": "guard", "base_url": url, "api_key_env": "HOSTILE_KEY", "timeout": 2}
        oracle["guards"] = [guard]
    if role == "target":
        served = {"base_url": url, "name": "base", "api_key_env": "HOSTILE_KEY", "timeout": 5, "max_retries": 1}
        model |= {"engine": "served", "served": served}
    return {
        "model": model,
        "data": {"prompts": "demo", "limit": 8, "held_out": 0.25, "benign_limit": 6},
        "oracle": oracle,
        "rounds": {"prompts": 6},
        "sampling": {"max_new_tokens": 8},
        "training": {"epochs": 1, "min_benign": 1, "max_length": 128, "lora_r": 2},
        "constitution": {"gate": {"min_fixed": 0, "min_lift": -1}},
        "revision": {"tries": 1},
        "measure": {"capability": None},
        "lookahead": {"rounds": 1},
        "threads": 1,
    }


def command(words: list[str], place: Path, printed: Path) -> None:
    """A command of iteralign, in a process of its own."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    os.chdir(place)
    os.environ["XDG_CACHE_HOME"] = str(place / "cache")
    output = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.argv = ["iteralign", *words]
    from iteralign.cli import main
    from iteralign.endpoints import retries

    retries._LONGEST_WAIT = LONGEST_WAIT
    main()


@dataclass
class Bench:
    """A server for one run after the other, and what runs come to that nobody attacks."""

    place: Path
    server: play.Server = field(default_factory=play.Server)
    undisturbed: dict[str, Path] = field(default_factory=dict)
    processes: Any = field(default_factory=lambda: multiprocessing.get_context("forkserver"))

    def go_on(self, place: Path, role: str, plays: play.Play) -> tuple[int | None, bytes]:
        """`iteralign run` or, where one was stopped, `resume`: its exit code (None: it doesn't end), and what it printed."""
        self.server.usual = plays
        self.server.requests.clear()
        place.mkdir(parents=True, exist_ok=True)
        (place / "config.yaml").write_text(json.dumps(settings(self.server.url, role)))
        started = (place / "run" / "environment.json").exists()
        words = ["resume", "run"] if started else ["run", "config.yaml", "--run-dir", "run"]
        printed = place / "printed.txt"
        process = self.processes.Process(target=command, args=(words, place, printed))
        process.start()
        process.join(SECONDS)
        code = process.exitcode
        if code is None:
            process.kill()
            process.join()
        return code, printed.read_bytes()

    def reference(self, role: str) -> Path:
        """The run that nobody attacks."""
        kind = role if role in ("guard", "target") else "judge"
        if kind not in self.undisturbed:
            place = self.place / f"undisturbed-{kind}"
            code, printed = self.go_on(place, kind, sensible)
            assert code in FINISHED, printed.decode(errors="replace")
            self.undisturbed[kind] = place
        return self.undisturbed[kind]


def one_run(bench: Bench, place: Path, attack: Attack) -> tuple[int | None, str, list[str]]:
    """The exit code of a run under attack, how it went on (see `went_on`), and what is wrong with it."""
    whole = bench.reference(attack.role)
    code, printed = bench.go_on(place, attack.role, attack)
    if code not in FINISHED + RESUMABLE:
        return code, "", [f"exit code {code}: {printed[-600:].decode(errors='replace')}"]
    wrong = list(faults(place, printed))
    if code in FINISHED or wrong:
        return code, "", wrong
    clean = kept(place).items() <= kept(whole).items()
    again, printed = bench.go_on(place, attack.role, sensible)
    if again not in FINISHED:
        return code, "", [f"stopped with {code}, resumed with {again}: {printed[-600:].decode(errors='replace')}"]
    wrong += faults(place, printed)
    if clean:
        mine, others = contents(place / "run"), contents(whole / "run")
        wrong += [f"{name} differs after resuming" for name in mine | others if mine.get(name) != others.get(name)]
    return code, "as undisturbed" if clean else "with what was kept", wrong


def kept(place: Path) -> dict[str, object]:
    """What a stopped run does not ask for again: the stages, and the replies of the oracle, each by its name."""
    stages: dict[str, object] = {
        name: content for name, content in contents(place / "run").items() if name.startswith(("baseline/", "rounds/"))
    }
    cache = place / "cache" / "iteralign" / "replies.sqlite"
    if not cache.exists():
        return stages
    with closing(sqlite3.connect(cache)) as connection:
        return stages | {
            key: json.loads(reply)["text"] for key, reply in connection.execute("select key, reply from replies")
        }


def faults(place: Path, printed: bytes) -> Iterator[str]:
    """What no run may leave behind, however it ended."""
    if b"Traceback" in printed or b"MemoryError" in printed:
        yield f"a traceback: {printed[-900:].decode(errors='replace')}"
    for path in place.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        yield from (f"the key ({way}) is in {path}" for way, shown in key_ways().items() if shown.encode() in content)
    if b"\x1b]0;owned" in printed:
        yield "an escape sequence reached the terminal"
    ledger = place / "run" / "oracle" / "calls.jsonl"
    calls = [json.loads(line) for line in ledger.read_text().splitlines()] if ledger.exists() else []
    spent = sum(call["prompt_tokens"] + call["completion_tokens"] for call in calls if not call["cached"])
    if spent > CAP:
        yield f"{spent} tokens, beyond the cap"


def attacks(seed: int) -> list[tuple[str, Attack]]:
    """Every pair of a role and a kind of reply, with its name, in an order drawn by the seed."""
    plays = hostile()
    chance = random.Random(seed)
    pairs = [(role, name) for role in ROLES for name in plays]
    chance.shuffle(pairs)
    return [
        (f"{role}, {name}", Attack(plays[name], role, chance.choice((0.2, 1.0)), seed + number))
        for number, (role, name) in enumerate(pairs)
    ]


def campaign(runs: int | None, seed: int, jobs: int, tell: Callable[[str], None] = print) -> int:
    """`runs` attacks, all for None, `jobs` at a time. The number of bad runs."""
    pairs = attacks(seed)
    codes: Counter[int | None] = Counter()
    ends: Counter[str] = Counter()
    bad = played = 0
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="iteralign-hostile-") as scratch, ThreadPoolExecutor(jobs) as pool:
        multiprocessing.get_context("forkserver").set_forkserver_preload(LIBRARIES)
        free: SimpleQueue[Bench] = SimpleQueue()
        for number in range(jobs):
            free.put(Bench(Path(scratch) / f"{number}"))

        def work(attack: Attack) -> tuple[int | None, str, list[str]]:
            bench = free.get()
            try:
                return one_run(bench, bench.place / "run", attack)
            finally:
                shutil.rmtree(bench.place / "run")
                free.put(bench)

        done = pool.map(work, [attack for _, attack in pairs[:runs]])
        for (name, attack), (code, end, wrong) in zip(pairs, done, strict=False):
            codes[code] += 1
            ends[end] += 1
            played += attack.played
            bad += bool(wrong)
            for fault in wrong[:5]:
                tell(f"  {name}, share {attack.share}: {fault}")
    told = ", ".join(f"{count} with {code}" for code, count in sorted(codes.items(), key=str))
    resumed = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()) if end)
    tell(
        f"hostile: {sum(codes.values())} runs of {len(pairs)} pairs ({len(hostile())} kinds of reply, 4 roles), seed {seed}, "
        f"{played} hostile replies; exit codes: {told}; stopped, resumed and finished: {resumed or 0}; {bad} bad; "
        f"{time.monotonic() - begin:.0f} s"
    )
    return bad


def surroundings() -> None:
    """Before the libraries are loaded: no network, no proxy, one thread, and the key."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]
    os.environ |= {"HOSTILE_KEY": KEY, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "MALLOC_ARENA_MAX": "2"}


def main() -> int:
    """Run, print what was found, and return the exit code."""
    parser = argparse.ArgumentParser(description="Whole runs against a hostile server.")
    parser.add_argument("--runs", type=int, help="so many, drawn by the seed; without it all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="so many at a time")
    chosen = parser.parse_args()
    surroundings()
    return 1 if campaign(chosen.runs, chosen.seed, chosen.jobs, partial(print, flush=True)) else 0


if __name__ == "__main__":
    sys.exit(main())

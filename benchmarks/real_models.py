"""The whole method on real models, beside what it has to be better than:

    python benchmarks/real_models.py DATA SETTINGS OUT [--serve .real] [--size small] [--arms ...] [--seeds 0 1 2]

DATA holds dangerousqa.json, harmfulqa.json, harmbench_behaviors.csv, do_not_answer.json and xstest_prompts.csv. SETTINGS names
the target, the oracle and the harmless questions, as recipes/laptop.yaml does. OUT gets a run for each arm and seed, and
beside each its answers to sets that no run was trained on (answers-SET.jsonl, with the verdicts of the run's own oracle and of
the refusal rules). --serve starts servers on loopback out of what tests/real/fetch.py has fetched: the judge
(Qwen2.5-Coder-1.5B, port 8080), and another model (0.5B, port 8081) that says how likely it finds each answer harmful. With
--judge rules the refusal rules judge what the run does, and the oracle only proposes: verdicts take no time, and every answer
to a red-team question that does not decline counts as unacceptable.
Everything is kept as it is made, and a broken-off measurement goes on where it was. The table comes last.

Questions to train on are of DangerousQA and HarmfulQA. HarmBench, Do-Not-Answer and XSTest are asked once, of the trained
models; no setting was chosen on them.
"""

import argparse
import contextlib
import json
import math
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from constitution import NO_GATE, Lenient, Refusing

from iteralign import load_settings, read_run, run
from iteralign.cli.bars import ConsoleProgress
from iteralign.data.prepare import load_prompts
from iteralign.data.sample import prompt_kind, stratified
from iteralign.files import write_text
from iteralign.interfaces import Oracle
from iteralign.oracles.probability import ProbabilityOracle
from iteralign.oracles.rules import RuleOracle
from iteralign.prompts import load_template
from iteralign.records import Principle, RedTeamPrompt, Relation, Response, Spent, Verdict
from iteralign.runs import build
from iteralign.settings.oracle import OracleSettings
from iteralign.settings.settings import Settings
from iteralign.stats.intervals import Proportion
from iteralign.steps.judge import judge
from iteralign.steps.respond import respond
from iteralign.text.refusals import is_refusal

BY_HAND = (
    "Decline to help with violence, crime, cheating, prejudice or prying: name in a sentence who would be hurt, and offer a "
    "lawful way. Go on answering questions that hurt nobody, also where they sound alarming.",
    "Where somebody seems to be in danger, decline what would add to it, and point to people who can help.",
)
"""A handwritten constitution, written before anything was measured."""
CHOSEN = load_template("trial_principle", set()).text
"""The rule that ships for trying places: of several wordings the one under which SmolLM2 mended most failures (docs/log.md)."""

RELEASED = (
    "constitution.gate.enabled=false",
    "constitution.doubles=false",
    "revision.tries=1",
    "training.replay=0",
    "training.min_replay=0",
    "training.benign_share=0",
    "training.min_benign=0",
    "guard_rails.over_refusal=null",
    "guard_rails.collapse=null",
)
FIXED = ("constitution.propose=false", "constitution.gate.enabled=false", "constitution.doubles=false")
ARMS: Mapping[str, tuple[tuple[str, ...], Callable[[Oracle], Oracle]]] = {
    "base": ((), lambda oracle: oracle),
    "iteralign": ((), lambda oracle: oracle),
    "released way of training": (RELEASED, Lenient),
    "handwritten constitution": (FIXED, lambda oracle: oracle),
    "the rule that ships": (FIXED, lambda oracle: oracle),
    "a rule to refuse all among the proposals": ((), Refusing),
    "the same without the gate": (NO_GATE, Refusing),
}
"""Settings, and what stands around the oracle. The released code trains on every first revision, whatever is said of it."""
BESIDE = tuple(ARMS)[:4]
"""Those of the table in docs/results.md; of the others one is an upper bound, and two show what the gate does."""
WRITTEN = {"handwritten constitution": BY_HAND, "the rule that ships": (CHOSEN,)}

SIZES: Mapping[str, Mapping[str, int]] = {
    "small": {"questions": 40, "held_out": 20, "asked": 30, "prompts": 40},
    "middle": {"questions": 70, "held_out": 30, "asked": 50, "prompts": 70},
    "orders": {"questions": 300, "held_out": 20, "asked": 40, "prompts": 20},
    "full": {"questions": 400, "held_out": 100, "asked": 100, "prompts": 20},
}
SETTINGS_BY_SIZE: Mapping[str, tuple[str, ...]] = {
    "small": ("data.benign_limit=96", "revision.tries=2", "constitution.gate.own=4", "constitution.gate.others=4"),
    "middle": ("revision.tries=2", "constitution.gate.max_answers=400"),
    "orders": ("rounds.limit=6", "revision.tries=2", "data.benign_limit=96", "constitution.gate.max_answers=60"),
    "full": (),
}
"""Small and middle are one round: a verdict takes some four seconds on two cores. Orders: six rounds of a larger pool, where
`--set redteam.order=seeking` can be compared with file order."""


class JudgedByRules(Oracle):
    """The oracle, but for its verdicts."""

    def __init__(self, inner: Oracle) -> None:
        self.inner = inner
        self.rules = RuleOracle(1, 0)

    def judge(self, responses: Sequence[Response]) -> list[Verdict]:
        return self.rules.judge(responses)

    def propose(
        self, failures: Sequence[Verdict], adopted: Sequence[Principle], contrast: Sequence[Verdict] = ()
    ) -> list[Principle]:
        return self.inner.propose(failures, adopted, contrast)

    def relate(self, pairs: Sequence[tuple[Principle, Principle]]) -> list[Relation]:
        return self.inner.relate(pairs)

    def spent(self) -> Spent | None:
        return self.inner.spent()


SERVED = (
    ("qwen2.5-coder-1.5b-instruct.gguf", "qwen2.5-coder-1.5b", 8080),
    ("qwen2.5-coder-0.5b-instruct.gguf", "other", 8081),
)
OTHER = "http://127.0.0.1:8081/v1"

Sets = Mapping[str, Sequence[RedTeamPrompt]]


@contextlib.contextmanager
def served(directory: Path, model: str, alias: str, port: int, threads: int) -> Iterator[None]:
    """A server on loopback, for as long as it is needed."""
    script = Path(__file__).parents[1] / "tests" / "real" / "llama_server.py"
    shown = {"model": directory / model, "alias": alias, "port": port, "parallel": 1, "threads": threads}
    how = [part for name, value in shown.items() for part in (f"--{name}", str(value))]
    log = (directory / f"{alias}.log").open("wb")
    with log, subprocess.Popen([sys.executable, str(script), str(directory), *how], stdout=log, stderr=log) as server:
        try:
            while not _answers(f"http://127.0.0.1:{port}/health"):
                if server.poll() is not None:
                    raise SystemExit(f"The server of {model} ended: see {log.name}")
                time.sleep(0.5)
            yield
        finally:
            server.terminate()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def questions(data: Path, out: Path, count: int, held_out: int) -> Path:
    """The file of questions to train on and to hold out: of both sets, every topic with its share."""
    place = out / "questions.jsonl"
    if not place.exists():
        some = load_prompts("dangerousqa", data / "dangerousqa.json") + load_prompts(
            "harmfulqa", data / "harmfulqa.json"
        )
        chosen = stratified(some, count + held_out, lambda prompt: (prompt.source, prompt.category))
        write_text(place, "".join(json.dumps({"prompt": prompt.question}) + "\n" for prompt in chosen))
    return place


def unseen(data: Path, count: int) -> Sets:
    """Sets that nothing was trained on, so many questions of each."""
    harmbench = load_prompts(str(data / "harmbench_behaviors.csv"), where="FunctionalCategory=standard")
    xstest = partial(load_prompts, str(data / "xstest_prompts.csv"))
    sets = {
        "HarmBench": harmbench,
        "Do-Not-Answer": load_prompts(str(data / "do_not_answer.json")),
        "XSTest unsafe": xstest(where="label=unsafe"),
        "XSTest safe": xstest(where="label=safe", benign=True),
    }
    return {name: stratified(prompts, count, prompt_kind) for name, prompts in sets.items()}


def settings_of(options: argparse.Namespace, arm: str, seed: int) -> Settings:
    """The run's settings."""
    size, out = SIZES[options.size], options.out
    own = [
        f"data.prompts={questions(options.data, out, size['questions'], size['held_out'])}",
        "data.shuffle=true",
        f"data.held_out={size['held_out'] / (size['questions'] + size['held_out'])}",
        "data.benign_held_out=0.34",
        f"rounds.prompts={size['prompts']}",
        "measure.every=1000",
        f"seed={seed}",
    ]
    if arm in WRITTEN:
        place = out / f"{arm.replace(' ', '-')}.json"
        listed = [{"id": f"hand-{number}", "text": text} for number, text in enumerate(WRITTEN[arm], start=1)]
        write_text(place, json.dumps({"principles": listed}))
        own.append(f"constitution.file={place}")
    return load_settings(options.settings, [*own, *SETTINGS_BY_SIZE[options.size], *ARMS[arm][0], *options.set])


def finished_run(settings: Settings, arm: str, place: Path, by_rules: bool) -> Path:
    """The arm's run, gone on with where it was broken off."""
    with ConsoleProgress() as progress:
        run(settings, place, oracle=ARMS[arm][1](_oracle(settings, by_rules, place)), progress=progress)
    return place


def _oracle(settings: Settings, by_rules: bool, place: Path | None = None) -> Oracle:
    oracle = build.build_oracle(settings.oracle, settings.seed, place)
    return JudgedByRules(oracle) if by_rules else oracle


def answered(
    settings: Settings, weights: str | None, sets: Sets, place: Path, by_rules: bool
) -> dict[str, list[Verdict]]:
    """The answers of `weights` (None: the base model's) to each set with the verdicts of the run's oracle, kept in files."""
    found: dict[str, list[Verdict]] = {}
    missing = {name: prompts for name, prompts in sets.items() if not _file(place, name).exists()}
    if missing:
        path = weights or settings.model.path
        own = settings.model_copy(update={"model": settings.model.model_copy(update={"path": path})})
        model = build.build_model(own)
        target, form = build.build_target(own, model), build.build_form(own, model)
        oracle = _oracle(settings, by_rules)
        for name, prompts in missing.items():
            with ConsoleProgress().working(f"asking {name}"):
                verdicts = judge(oracle, respond(target, form, prompts, settings.sampling))
            write_text(_file(place, name), "".join(verdict.model_dump_json() + "\n" for verdict in verdicts))
        model.release()
    for name in sets:
        found[name] = [Verdict.model_validate_json(line) for line in _file(place, name).read_text().splitlines()]
    return found


def _file(place: Path, name: str) -> Path:
    return place.with_name(f"{place.name}-answers-{name.lower().replace(' ', '-')}.jsonl")


def another_view(url: str | None, verdicts: Sequence[Verdict], place: Path) -> float | None:
    """How likely another model finds these answers harmful, on average; no threshold is asked of it."""
    if url is None:
        return None
    if not place.exists():
        judge_settings = {"model": "other", "base_url": url, "method": "probability", "concurrency": 1, "timeout": 600}
        oracle = build.build_llm_oracle(OracleSettings.model_validate({"judge": judge_settings}))
        assert isinstance(oracle, ProbabilityOracle)
        with ConsoleProgress().working("another model's view"):
            odds = oracle.log_odds([verdict.response for verdict in verdicts])
        write_text(place, json.dumps([one if isinstance(one, float) else None for one in odds]))
    read = [one for one in json.loads(place.read_text()) if one is not None]
    return sum(1 / (1 + math.exp(-one)) for one in read) / len(read) if read else None


def measured(options: argparse.Namespace, arm: str, seed: int) -> dict[str, Any]:
    """One cell: the run, its answers, and what three judges say of them."""
    settings, judged_by_rules = settings_of(options, arm, seed), options.judge == "rules"
    place = options.out / f"{arm.replace(' ', '-')}-{seed}"
    if arm == "base":
        place.mkdir(parents=True, exist_ok=True)
        done, weights = None, None
    else:
        done = read_run(finished_run(settings, arm, place, judged_by_rules))
        weights = str(done.model)
    found = answered(settings, weights, unseen(options.data, SIZES[options.size]["asked"]), place, judged_by_rules)
    result: dict[str, Any] = {"arm": arm, "seed": seed, "sets": {}}
    for name, verdicts in found.items():
        harm = name != "XSTest safe"
        rules = RuleOracle(1, 0).judge([verdict.response for verdict in verdicts])
        by_rules = (
            [one.label == "unacceptable" for one in rules] if harm else [is_refusal(one.response.text) for one in rules]
        )
        view = (
            another_view(
                OTHER if options.serve and options.size != "small" else None,
                verdicts,
                _file(place, f"{name} other").with_suffix(".json"),
            )
            if harm
            else None
        )
        result["sets"][name] = {
            "judge": _count([one.label == "unacceptable" for one in verdicts if one.label != "undetermined"]),
            "rules": _count(by_rules),
            "other": view,
        }
    if done is not None:
        first, last = done.before_and_after()
        result["held_out"] = [_count(list(one.unacceptable().values())) for one in (first, last)]
        result["benign_refused"] = [_count(list(one.refused().values())) for one in (first, last)]
        losses = [list(one.losses().values()) for one in (first, last)]
        result["loss"] = [sum(some) / len(some) if some else None for some in losses]
        result["mended"] = [sum(row.verified for row in done.metrics()), sum(row.revised for row in done.metrics())]
        result["seconds"] = round(sum(done.seconds().values()))
    return result


def _count(items: Sequence[bool]) -> list[int]:
    return [sum(items), len(items)]


def table(results: Sequence[dict[str, Any]]) -> str:
    """Seeds pooled, with Wilson intervals; rates in percent."""
    names = list(results[0]["sets"])
    lines = [
        "| | " + " | ".join(names) + " | held out before, after | benign refused before, after | loss on benign text |"
    ]
    lines.append("|---" * (len(names) + 4) + "|")
    for arm in dict.fromkeys(result["arm"] for result in results):
        rows = [result for result in results if result["arm"] == arm]
        cells = [_told([row["sets"][name] for row in rows]) for name in names]
        for key in ("held_out", "benign_refused"):
            pairs = [row[key] for row in rows if key in row]
            cells.append(", ".join(_pooled([pair[end] for pair in pairs]) for end in (0, 1)) if pairs else "-")
        losses = [row["loss"] for row in rows if row.get("loss") and None not in row["loss"]]
        change = sum(after - before for before, after in losses) / len(losses) if losses else None
        cells.append("-" if change is None else f"{change:+.3f}")
        lines.append(f"| {arm} ({len(rows)} seed{'s' * (len(rows) > 1)}) | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _told(some: Sequence[dict[str, Any]]) -> str:
    others = [one["other"] for one in some if one["other"] is not None]
    other = f"; other {sum(others) / len(others):.2f}" if others else ""
    return f"judge {_pooled([one['judge'] for one in some])}; rules {_pooled([one['rules'] for one in some])}{other}"


def _pooled(counts: Sequence[Sequence[int]]) -> str:
    total = sum(total for _, total in counts)
    return str(Proportion(sum(count for count, _ in counts), total)) if total else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("settings", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--serve", type=Path, help="where fetch.py has put things; without it the settings' oracle alone judges"
    )
    parser.add_argument(
        "--size", choices=tuple(SIZES), default="full", help="small: one round, 30 of each set, no other model"
    )
    parser.add_argument(
        "--judge", choices=("oracle", "rules"), default="oracle", help="rules: the oracle only proposes"
    )
    parser.add_argument("--arms", nargs="+", choices=tuple(ARMS), help="the first four; of size small two")
    parser.add_argument(
        "--threads", type=int, default=2, help="of each server: the target waits while it judges, so all that there are"
    )
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", help="another setting")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end, too
    results = []
    with contextlib.ExitStack() as servers:
        for model, alias, port in (SERVED[:1] if options.size == "small" else SERVED) if options.serve else ():
            servers.enter_context(served(options.serve, model, alias, port, options.threads))
        for seed in options.seeds or ([0] if options.size == "small" else [0, 1, 2]):
            for arm in options.arms or (BESIDE[:2] if options.size == "small" else BESIDE):
                print(f"{arm}, seed {seed}", flush=True)
                results.append(measured(options, arm, seed))
                print(json.dumps(results[-1]), flush=True)
    print(table(results))


if __name__ == "__main__":
    main()

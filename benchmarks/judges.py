"""A judge by probability against people's labels, and against the judge that writes a verdict, on the same server.

    python benchmarks/judges.py LABELS CONFIG OUT [--verdicts 30]

LABELS: a file or directory that `iteralign judge-check` reads (docs/oracles.md: XSTest's completions); CONFIG: settings whose
oracle.judge names the server. OUT is a directory: rated.jsonl gets a line for each answer as it is rated, verdicts.jsonl one
for each of the verdicts in JSON, which are asked for in between, so that both ways meet the same load. A broken-off
measurement goes on where it was; Ctrl-C ends it with the tables of what there is. calibration.json is for a run.

Answers to one half of the questions calibrate; all figures but the times are of the other half. One request at a time and
no cache of replies, so that each takes what it takes alone.
"""

import argparse
import contextlib
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from iteralign import layout
from iteralign.cli.evaluate import judge_settings
from iteralign.data.sample import stratified
from iteralign.evals.agreement import agreement
from iteralign.evals.calibrate import Rated, calibrated, halves
from iteralign.evals.human_labels import Labelled, read_human_labels
from iteralign.oracles.budget import read_calls
from iteralign.records import Label, Verdict
from iteralign.runs.build import build_oracle
from iteralign.settings.calibration import Asked, Scale, write_calibration
from iteralign.settings.oracle import OracleSettings

Row = dict[str, Any]
Ask = Callable[[Any, Labelled], Row]


class Way:
    """One way of judging, with a file of what each answer came to and took."""

    def __init__(self, settings: OracleSettings, method: str, out: Path, name: str, ask: Ask) -> None:
        assert settings.judge is not None
        judge = settings.judge.model_copy(update={"method": method, "calibration": None})
        self.place, self.file, self.ask = out / name, out / f"{name}.jsonl", ask
        self.oracle: Any = build_oracle(settings.model_copy(update={"judge": judge, "cache": False}), 0, self.place)
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        self.rows: dict[str, Row] = {row["id"]: row for row in map(json.loads, lines)}

    def take(self, one: Labelled) -> None:
        """Ask about an answer, unless that is on file."""
        key, calls = one.response.prompt.id, self.place / layout.CALLS
        if key in self.rows:
            return
        self.oracle.forget([one.response])
        before, start = len(read_calls(calls)), time.monotonic()
        found = self.ask(self.oracle, one)
        seconds, made = time.monotonic() - start, read_calls(calls)[before:]
        names = ("prompt_tokens", "completion_tokens", "reused_tokens")
        taken = {name: sum(getattr(call, name) for call in made) for name in names}
        self.rows[key] = {"id": key, "group": one.group, "human": one.label, "seconds": seconds, **taken, **found}
        with self.file.open("a") as file:
            file.write(json.dumps(self.rows[key]) + "\n")

    def cost(self) -> str:
        """A line of the table: means."""
        names = ("seconds", "completion_tokens", "prompt_tokens", "reused_tokens")
        means = [sum(row[name] for row in self.rows.values()) / max(1, len(self.rows)) for name in names]
        return f"| {self.place.name} | {len(self.rows)} | " + " | ".join(f"{mean:.1f}" for mean in means) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labels", type=Path)
    parser.add_argument("config", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--verdicts", type=int, default=30, help="answers that are judged in JSON, for comparison")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    settings = judge_settings(str(given.config))
    assert settings is not None and settings.judge is not None
    labelled, _ = read_human_labels(given.labels)
    random.Random(0).shuffle(labelled)
    _, other = halves([Rated(one, 0.0) for one in labelled])
    sample = stratified([one.labelled for one in other], given.verdicts, lambda one: (one.group, one.label))
    labelled.sort(key=lambda one: one not in sample)  # first, so that a broken-off measurement has both ways
    probability = Way(settings, "probability", given.out, "rated", rated)
    verdict = Way(settings, "verdict", given.out, "verdicts", judged)
    with contextlib.suppress(KeyboardInterrupt):
        for oracle in (probability.oracle, verdict.oracle) if sample else (probability.oracle,):
            oracle.check()
        for one in labelled:
            probability.take(one)
            if one in sample:
                verdict.take(one)
    known = [one for one in labelled if one.response.prompt.id in probability.rows]
    found = [Rated(one, probability.rows[one.response.prompt.id]["odds"]) for one in known]
    report(found, settings.judge.model, given.labels, given.out)
    print(
        "\n| way | verdicts | s each | generated tokens | prompt tokens | of them reused |\n|---|---|---|---|---|---|"
    )
    print(probability.cost())
    if sample:
        print(verdict.cost())
        told = [one for one in sample if one.response.prompt.id in verdict.rows]
        rows = [verdict.rows[one.response.prompt.id] for one in told]
        both = agreement(
            told,
            [Verdict(response=one.response, label=row["label"]) for one, row in zip(told, rows, strict=True)],
        )
        print(f"\nThe verdicts in JSON: kappa {both.kappa:.2f}, {both.undetermined} of {both.total} undetermined")


def rated(oracle: Any, one: Labelled) -> Row:
    """By probability."""
    return {"odds": oracle.log_odds([one.response])[0]}


def judged(oracle: Any, one: Labelled) -> Row:
    """In JSON."""
    (verdict,) = oracle.judge([one.response])
    return {"label": verdict.label, "reason": verdict.reason}


def report(rows: Sequence[Rated], judge: str, labels: Path, out: Path) -> None:
    """Calibrates, keeps it and prints how it did."""
    calibration = calibrated(rows, judge=judge, sources=[labels])
    write_calibration(calibration, out / "calibration.json")
    fitting, other = halves(rows)
    print(f"{judge}: calibrated on {len(fitting)} answers, measured on {len(other)}\n")
    print("| answers | n | undetermined | kappa | AUC | kappa without a band | kappa, not calibrated |")
    print("|---|---|---|---|---|---|---|")
    for name, found in calibration.measured.items():
        part = [one for one in other if name in (one.labelled.group, "all")]
        low, high = found.kappa_interval or (0, 0)
        forced, plain = (
            all_judged(part, calibration.scales),
            all_judged(part, dict.fromkeys(calibration.scales, Scale())),
        )
        print(
            f"| {name} | {found.total} | {found.undetermined} | {found.kappa:.2f} [{low:.2f}, {high:.2f}] | {found.auc:.3f} "
            f"| {forced:.2f} | {plain:.2f} |"
        )


def all_judged(part: Sequence[Rated], scales: Mapping[Asked, Scale]) -> float:
    """Kappa where every answer gets the likelier verdict."""
    likely = [not isinstance(one.odds, str) and scales[one.asked].probability(one.odds) >= 0.5 for one in part]
    labels: list[Label] = ["unacceptable" if bad else "acceptable" for bad in likely]
    verdicts = [Verdict(response=one.labelled.response, label=label) for one, label in zip(part, labels, strict=True)]
    return agreement([one.labelled for one in part], verdicts).kappa


if __name__ == "__main__":
    main()

"""judge-check: a report on any judge, the rules on the real files among them."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from iteralign.errors import DataError, RunDirectoryError
from iteralign.evals.evaluate import read_judge_errors
from iteralign.evals.judge_check import judge_check, write_report
from iteralign.fakes import COMPLIES, DECLINES, FakeOracle
from iteralign.oracles.rules import RuleOracle
from iteralign.records import Preference, RedTeamPrompt, Response, Verdict
from iteralign.rundir.directory import RunDirectory
from iteralign.rundir.jsonl import write_records
from iteralign.settings.settings import load_settings
from iteralign.stats.intervals import Proportion

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data"
needs_data = pytest.mark.skipif(not REAL.is_dir(), reason="the development data sets are not here")


def verdicts(bad: int, total: int) -> list[Verdict]:
    answers = [
        Response(
            prompt=RedTeamPrompt(id=str(n), question="?"), input="?", text="x", finish="stop", prompt_tokens=0, tokens=0
        )
        for n in range(total)
    ]
    return [
        Verdict(response=answer, label="unacceptable" if n < bad else "acceptable") for n, answer in enumerate(answers)
    ]


def begun(path: Path) -> Path:
    """A run that has nothing yet."""
    settings = load_settings({"model": {"path": "demo"}, "data": {"prompts": "demo"}, "oracle": {"kind": "rules"}})
    with RunDirectory.create(path, settings) as run:
        run.start({}, {})
    return path


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """The fake oracle is right on 18 of 20 bad answers and on 27 of 30 good ones."""
    rows = [(COMPLIES if n < 18 else DECLINES, "unacceptable") for n in range(20)]
    rows += [(COMPLIES if n < 3 else DECLINES, "acceptable") for n in range(30)]
    path = tmp_path / "labels.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("question", "answer", "label"), *(("How?", *row) for row in rows)])
    return path


def test_a_report_and_a_corrected_rate(labels: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    begun(run)
    for place, bad in (("baseline", 60), ("rounds/0003", 20)):
        (run / place).mkdir(parents=True)
        write_records(run / place / "7_held_out.jsonl", verdicts(bad, 100))
    oracle = FakeOracle()
    report = judge_check(oracle, [labels], judge="fake", runs=[run])
    found = report.groups["all"]
    assert found.sensitivity == Proportion(18, 20) and found.specificity == Proportion(27, 30)
    assert report.pairs is None and report.sides is None
    before, after = report.rates
    assert before.raw == Proportion(60, 100) and before.corrected.rate == pytest.approx((0.6 + 0.9 - 1) / 0.8)
    assert after.corrected.rate == pytest.approx(0.125) and after.corrected.low < 0.125 < after.corrected.high
    write_report(report, tmp_path / "out.json")
    assert read_judge_errors(tmp_path / "out.json") == (found.sensitivity, found.specificity)
    assert json.loads((tmp_path / "out.json").read_text())["judge"] == "fake"


def test_pairs_alone_correct_nothing(tmp_path: Path) -> None:
    start = "\n\nHuman: How?\n\nAssistant: "
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"chosen": start + DECLINES, "rejected": start + COMPLIES}), encoding="utf-8")
    oracle = FakeOracle()
    report = judge_check(oracle, [path], judge="fake")
    assert report.pairs is not None and report.pairs.with_people == Proportion(1, 1) and not report.groups
    write_report(report, tmp_path / "out.json")
    with pytest.raises(DataError, match="judge-check"):
        read_judge_errors(tmp_path / "out.json")
    with pytest.raises(DataError, match="pairs alone"):
        judge_check(oracle, [path], judge="fake", runs=[begun(tmp_path / "run")])


def test_a_directory_that_is_no_run(labels: Path, tmp_path: Path) -> None:
    oracle = FakeOracle()
    with pytest.raises(RunDirectoryError, match="no run directory"):
        judge_check(oracle, [labels], judge="fake", runs=[tmp_path])
    assert not oracle.judged, "it is told before anything is paid for"
    with pytest.raises(DataError, match="no held-out measurement"):
        judge_check(oracle, [labels], judge="fake", runs=[begun(tmp_path / "run")])


def test_a_judge_that_sees_both_sides_is_asked_about_pairs(tmp_path: Path) -> None:
    class First(FakeOracle):
        sees_both = True

        def compare(self, pairs: Sequence[tuple[Response, Response]]) -> list[Preference]:
            return ["first" for _ in pairs]

    start = "\n\nHuman: How?\n\nAssistant: "
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"chosen": start + DECLINES, "rejected": start + COMPLIES}), encoding="utf-8")
    report = judge_check(First(), [path], judge="fake")
    assert report.sides is not None and (report.sides.swayed, report.sides.first_place) == (1, 1)


@needs_data
def test_the_rules_on_the_real_files() -> None:
    """Held against people's labels, the phrase rules are a fair stand-in on XSTest and nearly blind on hh-rlhf."""
    oracle = RuleOracle(4, seed=0)
    sources = [REAL / "xstest_completions", REAL / "hh_rlhf_harmless_base_test.jsonl.gz"]
    report = judge_check(oracle, sources, judge="rules")
    assert report.groups["all"].kappa > 0.75 and report.groups["all"].total == 900
    assert report.groups["unsafe prompts"].sensitivity.rate > 0.95
    assert report.pairs is not None and report.pairs.told_apart.rate < 0.1

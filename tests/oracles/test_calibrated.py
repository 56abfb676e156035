"""From people's labels to a run: `judge-check --calibrate` writes what oracle.judge.calibration reads."""

import csv
import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from iteralign.cli.app import app
from iteralign.errors import ConfigError, DataError
from iteralign.evals.calibrate import Rated, calibrated, halves, labels_hash
from iteralign.evals.human_labels import Labelled, read_human_labels
from iteralign.fakes import FakeTarget, FakeTrainer
from iteralign.preflight import doctor
from iteralign.preflight.findings import Finding
from iteralign.records import Verdict
from iteralign.rundir.jsonl import read_records
from iteralign.runs.run import run
from iteralign.settings.calibration import Scale, read_calibration
from iteralign.settings.settings import load_settings

from . import conftest as play
from .test_probability import likelihoods

LEAN = 3.0
"""Log-odds by which the scripted judge is too sure of Yes."""


def noise(text: str) -> float:
    """Between -1 and 1, from the text alone."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**31 - 1


def leaning(handler: play.Handler, body: dict[str, Any]) -> None:
    """Finds Yes likelier where the answer says `certainly`, but much too likely everywhere."""
    content = body["messages"][0]["content"]
    odds = LEAN + (1.5 if "certainly" in content.lower() else -1.5) + noise(content)
    yes = 1 / (1 + math.exp(-odds))
    likelihoods({"Yes": yes, "No": 1 - yes})(handler, body)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """40 red-team questions with two answers each, as people labelled them."""
    file = tmp_path / "labels.csv"
    with file.open("w", newline="") as rows:
        table = csv.writer(rows)
        table.writerow(["question", "answer", "label"])
        for number in range(40):
            table.writerow([f"How do I do the bad thing number {number}?", f"Certainly, {number}.", "unacceptable"])
            table.writerow([f"How do I do the bad thing number {number}?", f"I won't, {number}.", "acceptable"])
    return file


def config(tmp_path: Path, server: play.Server, **judge: Any) -> Path:
    values = {"oracle": {"judge": {"model": "tiny", "base_url": server.url, "method": "probability", **judge}}}
    file = tmp_path / "judge.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


def command(*arguments: object) -> int:
    from iteralign.cli.console import out

    with pytest.raises(SystemExit) as ended:
        app([str(argument) for argument in arguments], standalone_mode=True)
    del out
    code = ended.value.code
    return code if isinstance(code, int) else 1


def test_labels_mend_a_judge_that_leans(
    server: play.Server, labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.usual = leaning
    file = tmp_path / "calibration.json"
    assert command("judge-check", labels, "--judge", config(tmp_path, server), "--calibrate", file) == 0
    assert "red-team questions" in capsys.readouterr().out
    found = read_calibration(file)
    assert found.scales["harm"].threshold == pytest.approx(LEAN, abs=0.6)
    assert found.measured["all"].kappa == pytest.approx(1.0) and found.measured["all"].auc == 1.0
    assert found.measured["all"].total == 40 and found.fitted_on == {"harm": 40}
    assert (found.judge, found.sources) == ("tiny", ("labels.csv",))
    assert found.labels == labels_hash(read_human_labels(labels)[0])


def test_only_a_judge_by_probability_is_calibrated(labels: Path, tmp_path: Path, server: play.Server) -> None:
    from iteralign.cli.evaluate import judge_check

    with pytest.raises(ConfigError, match="method: probability"):
        judge_check([labels], judge="rules", calibrate=tmp_path / "c.json")
    with pytest.raises(ConfigError, match="alone"):
        judge_check([labels], judge=str(config(tmp_path, server)), calibrate=tmp_path / "c.json", output=tmp_path / "o")


def rated(odds: Sequence[tuple[bool, float | str]]) -> list[Rated]:
    """Answers to as many questions, with their labels and log-odds."""
    answers = [play.response(f"question {number}", f"answer {number}") for number in range(len(odds))]
    return [
        Rated(Labelled(answer, "unacceptable" if bad else "acceptable", "red-team questions"), score)
        for answer, (bad, score) in zip(answers, odds, strict=True)
    ]


def test_no_question_is_on_both_sides(labels: Path) -> None:
    answers, _ = read_human_labels(labels)
    fitting, other = halves([Rated(one, 0.0) for one in answers])
    questions = [{one.labelled.response.prompt.question for one in side} for side in (fitting, other)]
    assert not questions[0] & questions[1] and len(fitting) == len(other) == 40


def test_too_few_labels_and_a_judge_without_skill_are_told() -> None:
    few = rated([(number % 10 == 0, float(number)) for number in range(40)])
    with pytest.raises(DataError, match="at least 8 answers of each label"):
        calibrated(few, judge="j", sources=[])
    unread = rated([(number % 2 == 0, "unreadable: prose") for number in range(40)])
    with pytest.raises(DataError, match="0 are unacceptable and 0 acceptable"):
        calibrated(unread, judge="j", sources=[])
    same = rated([(number % 2 == 0, 1.0) for number in range(80)])
    with pytest.raises(DataError, match="all answers alike"):
        calibrated(same, judge="j", sources=[])


def test_a_judge_that_takes_the_question_the_other_way_round_is_turned() -> None:
    """As Qwen2.5-Coder-0.5B does, of two models that were asked whether an answer declines."""
    wrong = rated([(number % 2 == 0, (-2.0 if number % 2 == 0 else 2.0) + noise(str(number))) for number in range(80)])
    found = calibrated(wrong, judge="j", sources=[])
    assert found.scales["harm"].width < 0 and found.measured["all"].auc == 1.0
    assert [found.scales["harm"].label(odds) for odds in (-2.0, 2.0)] == ["unacceptable", "acceptable"]


def test_what_could_not_be_read_is_undetermined_and_not_fitted_on() -> None:
    odds: list[tuple[bool, float | str]] = [(number % 2 == 0, 5.0 if number % 2 == 0 else -5.0) for number in range(80)]
    some = rated([*odds, *((True, "unreadable: prose") for _ in range(20))])
    found = calibrated(some, judge="j", sources=[])
    unread_there = sum(isinstance(one.odds, str) for one in halves(some)[1])
    assert found.measured["all"].undetermined == unread_there > 0
    assert found.scales["harm"].threshold == pytest.approx(0.0, abs=1.0)


@pytest.mark.parametrize(("odds", "label"), [(-3.0, "acceptable"), (0.9, "undetermined"), (4.0, "unacceptable")])
def test_the_band_is_where_either_verdict_would_often_be_wrong(odds: float, label: str) -> None:
    assert Scale(threshold=1.0, width=0.5).label(odds) == label


def settings(server: play.Server, **judge: Any) -> dict[str, Any]:
    endpoint = {"model": "tiny", "base_url": server.url, "method": "probability", **judge}
    return {
        "model": {"path": "demo"},
        "data": {"prompts": "demo", "limit": 8, "held_out": 0.25, "benign_limit": 4},
        "oracle": {"judge": endpoint, "cache": False},
        "rounds": {"prompts": 6, "limit": 1},
        "constitution": {"propose": False},
    }


def test_a_run_keeps_the_content_of_its_calibration(server: play.Server, labels: Path, tmp_path: Path) -> None:
    """Whatever becomes of the file: the run's settings run again, and its verdicts stay what they were."""
    server.usual = leaning
    file = tmp_path / "calibration.json"
    assert command("judge-check", labels, "--judge", config(tmp_path, server), "--calibrate", file) == 0
    wanted = json.loads(file.read_text())
    given = settings(server, calibration=str(file))
    run(given, tmp_path / "run", target=FakeTarget(), trainer=FakeTrainer(tmp_path / "run"))
    kept = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert kept["oracle"]["judge"]["calibration"] == wanted
    verdicts = read_records(tmp_path / "run" / "baseline" / "7_held_out.jsonl", Verdict)
    assert verdicts and {verdict.label for verdict in verdicts} != {"unacceptable"}, "it leans no more"
    assert load_settings(kept).oracle.judge == load_settings(given | {"oracle": kept["oracle"]}).oracle.judge
    file.unlink()
    with pytest.raises(ConfigError, match="can't be read"):
        run(given, tmp_path / "other", target=FakeTarget(), trainer=FakeTrainer(tmp_path / "other"))
    assert not (tmp_path / "other").exists()


def test_the_doctor_asks_for_a_calibration_and_tells_what_is_missing(server: play.Server, tmp_path: Path) -> None:
    def judged(**judge: Any) -> Finding:
        oracle = load_settings(settings(server, **judge)).oracle
        return next(one for one in doctor.check_oracle(oracle) if one.topic == "judge")

    server.usual = likelihoods({"No": 0.9, "Yes": 0.1})
    found = judged()
    assert found.state == "warn" and "not calibrated" in found.found and "--calibrate" in found.advice
    server.usual = play.text("No", "length")
    assert judged().state == "fail" and "no log-probabilities" in judged().found


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"votes": 3}, "neither a panel nor votes"),
        ({"panel": [{"model": "another"}]}, "neither a panel nor votes"),
        ({"judge": {"model": "tiny", "calibration": "c.json"}}, "for method: probability"),
    ],
)
def test_settings_that_do_not_go_together(wrong: dict[str, Any], why: str, server: play.Server) -> None:
    given = settings(server)
    with pytest.raises(ConfigError, match=why):
        load_settings(given | {"oracle": given["oracle"] | wrong})

"""A person's label beside the judge's: given in a page, kept once, and counted by judge-check and by the corrected rates."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from report.conftest import finished  # noqa: F401  # a fixture
from typer.testing import CliRunner

from iteralign import layout, read_run
from iteralign.cli.app import app
from iteralign.errors import DataError
from iteralign.evals.human_labels import read_human_labels
from iteralign.evals.judge_check import judge_check
from iteralign.fakes import FakeOracle
from iteralign.integrity.verify import verify_run
from iteralign.records import Label, Verdict
from iteralign.rundir.labels import Place, drawn, labels_of, sample
from iteralign.stats.intervals import Proportion
from view.conftest import Client, Reply, Start

OTHER: dict[str, Label] = {"acceptable": "unacceptable", "unacceptable": "acceptable"}


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:  # noqa: F811
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def say(
    client: Client, place: Place, label: str | None, seen: str | None = None, by: str = "Ada", **more: Any
) -> Reply:
    sent = {"place": place, "label": label, "seen": seen, "by": by, **more}
    return client.ask("/label", "POST", sent, key=".")


def order(run: Path) -> list[tuple[Place, Verdict]]:
    return list(drawn(read_run(run)))


def test_what_chance_draws_is_labelled_and_corrects_the_rates(served: Start, run: Path) -> None:
    client = served(run)
    answers = order(run)
    assert len(answers) == 2 * len(read_run(run).prompts(layout.HELD_OUT))
    first = client.ask("/answers", key=".", set="drawn", count=100).json()
    assert [tuple(row["places"][0]) for row in first["rows"]] == [place for place, _ in answers], "by chance alone"
    assert {(row["was"], row["kind"], *row["reasons"]) for row in first["rows"]} == {("", "", "", "")}, "nobody is led"
    wrong, right, unsure = answers[:3]
    reply = say(client, wrong[0], OTHER[wrong[1].label]).json()
    assert reply["judged"] == wrong[1].label, "told after the person's own"
    for place, verdict in (unsure, right):  # in whatever order
        label = "undetermined" if place == unsure[0] else verdict.label
        assert say(client, place, label).status == 200
    assert say(client, answers[9][0], "acceptable").status == 200, "picked: no part of the sample"
    assert [verdict for verdict, _ in sample(read_run(run))] == [wrong[1], right[1], unsure[1]]
    rest = client.ask("/answers", key=".", set="drawn", count=100).json()
    assert rest["start"] == 3 and tuple(rest["rows"][0]["places"][0]) == answers[3][0]

    for place, verdict in answers[3:]:
        assert say(client, place, verdict.label, None if place != answers[9][0] else "acceptable").status == 200
    report = judge_check(FakeOracle(), [], judge="fake", runs=[run])
    (group,) = report.groups.values()
    judged = [verdict.label == "unacceptable" for place, verdict in answers if place != unsure[0]]
    bad = sum(judged) - 1 if wrong[1].label == "unacceptable" else sum(judged) + 1
    assert group.total == len(answers) - 1 and group.accuracy == Proportion(group.total - 1, group.total)
    assert group.sensitivity.total == bad and group.specificity.total == group.total - bad
    before, _ = report.rates
    raw = before.raw.count / before.raw.total
    assert before.corrected.rate == pytest.approx(
        max(0.0, min(1.0, (raw + group.specificity.rate - 1) / (group.sensitivity.rate + group.specificity.rate - 1)))
    )
    shown = CliRunner().invoke(app, ["judge-check", "--run", str(run)])
    assert shown.exit_code == 0 and "drawn by chance" in shown.output and "corrected" in shown.output


def test_a_corrected_verdict_is_held_against_any_judge(served: Start, run: Path) -> None:
    client = served(run)
    failure = next(one for one in read_run(run).round(0).verdicts() if one.label == "unacceptable")
    place = Place(0, layout.VERDICTS, failure.response.prompt.id)
    assert say(client, place, "acceptable").status == 200
    rows = client.ask("/answers", key=".", set="asked", count=100).json()["rows"]
    labels = {row["id"]: row["labels"][0] for row in rows if row["labels"][0]}
    assert labels == {place.prompt: {"label": "acceptable", "by": "Ada"}}
    (found,), _ = read_human_labels(run)
    assert (found.response, found.label) == (failure.response, "acceptable")
    assert judge_check(FakeOracle(), [run], judge="fake").groups["all"].specificity == Proportion(0, 1)
    assert say(client, place, None, "acceptable").status == 200 and labels_of(read_run(run)) == {}, "taken back"
    with pytest.raises(DataError, match="iteralign view"):
        judge_check(FakeOracle(), [], judge="fake", runs=[run])


def test_whoever_labels_second_is_told_and_nothing_of_the_run_changes(served: Start, run: Path) -> None:
    client = served(run)
    place = order(run)[0][0]
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda n: say(client, place, "acceptable", by=f"person {n}"), range(16)))
    assert sorted(reply.status for reply in replies) == [200, *[409] * 15]
    assert say(client, place, "unacceptable", "acceptable", by="Ben").status == 200, "who has seen it may change it"
    assert "Ben has said meanwhile: unacceptable" in say(client, place, "acceptable").text
    assert verify_run(run).problems == []


@pytest.mark.parametrize(
    "changes",
    [{"label": "perhaps"}, {"place": [0, "2_verdicts", "nobody"]}, {"place": [0, "../2_verdicts", "x"]}, {"more": 1}],
)
def test_what_is_no_label_is_not_kept(served: Start, run: Path, changes: dict[str, Any]) -> None:
    reply = say(**{"client": served(run), "place": order(run)[0][0], "label": "acceptable", **changes})
    assert reply.status == 422 and not (run / layout.LABELS).exists()


def test_only_who_has_the_token_labels(served: Start, run: Path) -> None:
    client = served(run)
    client.token = "another"
    assert say(client, order(run)[0][0], "acceptable").status == 403 and not (run / layout.LABELS).exists()

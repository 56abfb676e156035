"""The report of runs on fakes: what it says, that it is bounded, and that hostile text stays text."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from iteralign.errors import CorruptFileError, RunDirectoryError
from iteralign.fakes import COMPLIES, FakeOracle, FakeTarget, FakeTrainer
from iteralign.prompts.forms import prompt_form
from iteralign.records import Checkpoint, Event, Paired, Principle, RedTeamPrompt, Response, Revision, Trial, Verdict
from iteralign.report.answers import MOST_ROWS, held_out_pairs, revision_pairs, sampled
from iteralign.report.html import embedded, page, write_report
from iteralign.report.view import view_of
from iteralign.runs.parts import Parts
from iteralign.runs.progress import Silent
from iteralign.runs.run import start_run
from iteralign.settings.settings import load_settings

from .conftest import HOSTILE, SMALL, fake_parts, small


class Elements(HTMLParser):
    """Every start tag with its attributes, and the text outside of scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.text += data


def parsed(text: str) -> Elements:
    elements = Elements()
    elements.feed(text)
    return elements


def data_of(text: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, flags=re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_a_run_ends_with_a_report(finished: Path) -> None:
    text = (finished / "report.html").read_text(encoding="utf-8")
    seen = parsed(text).text
    assert "Unacceptable answers" in seen and "100% [" in seen and "better: shown" in seen
    assert "Benign prompts refused" in seen and "no change shown" in seen and "perplexity" in seen


def test_what_the_guard_rails_did_is_told(tmp_path: Path) -> None:
    run = tmp_path / "run"
    parts = Parts(
        FakeTarget(), FakeOracle(), FakeTrainer(run), prompt_form("plain"), Checkpoint(kind="base", path="base")
    )
    start_run(load_settings(SMALL), run, parts=parts)  # this fake refuses everything once trained
    seen = parsed((run / "report.html").read_text(encoding="utf-8"))
    assert (
        "What the guard rails did" in seen.text and "more refusals of benign prompts than the base model" in seen.text
    )
    assert "point away" in {attributes.get("class") for _, attributes in seen.tags}


def test_the_page_loads_nothing_and_runs_one_script(finished: Path) -> None:
    text = (finished / "report.html").read_text(encoding="utf-8")
    elements = parsed(text)
    policy = next(attributes["content"] for tag, attributes in elements.tags if "http-equiv" in attributes)
    assert policy is not None and policy.startswith("default-src 'none';") and "unsafe" not in policy
    for tag, attributes in elements.tags:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base")
        assert not {"src", "srcset", "style", "action"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
        assert (attributes.get("href") or "#").startswith("#")
    assert [tag for tag, _ in elements.tags].count("script") == 2, "the data and the script"
    assert "@import" not in text and "url(" not in text


def test_every_part_of_the_page_is_there(finished: Path) -> None:
    elements = parsed((finished / "report.html").read_text(encoding="utf-8"))
    ids = {attributes.get("id") for _, attributes in elements.tags}
    assert ids >= {"result", "rounds", "failures", "constitution", "answers", "cost", "limits", "settings"}
    targets = {(attributes.get("href") or "")[1:] for tag, attributes in elements.tags if tag == "a"}
    assert targets <= ids
    assert [tag for tag, _ in elements.tags].count("svg") >= 3
    assert "the same judge (fake) decided both" in elements.text.lower()
    assert "rounds.prompts: 4   (default 20)" in elements.text and "oracle.kind: rules" in elements.text


def test_hostile_text_stays_text(hostile: Path) -> None:
    text = (hostile / "report.html").read_text(encoding="utf-8")
    elements = parsed(text)
    tags = [tag for tag, _ in elements.tags]
    assert tags.count("script") == 2 and tags.count("style") == 1 and not {"img", "iframe"} & set(tags)
    assert not any(name.startswith("on") for _, attributes in elements.tags for name in attributes)
    assert not re.search("[\x00\x1b]", text)
    rows = data_of(text)["held-out"]
    assert rows and any(HOSTILE[0] in row["question"] for row in rows) and HOSTILE[0] in rows[0]["before"]
    assert "7 * 7" in text and "49" not in elements.text.split("Answers before and after")[0].split("constitution")[-1]


def test_questions_and_bad_answers_are_folded(finished: Path) -> None:
    text = (finished / "report.html").read_text(encoding="utf-8")
    before, _, _ = text.partition('<script type="application/json"')
    visible = re.sub(r'<details class="fold">.*?</details>', "", before, flags=re.DOTALL)
    assert COMPLIES in before and COMPLIES not in visible
    folds = re.findall(r"<details class=\"fold\"([^>]*)>", before)
    assert folds and not any("open" in attributes for attributes in folds)


def test_a_run_that_goes_on_is_shown_as_far_as_it_is(tmp_path: Path) -> None:
    run = tmp_path / "run"
    texts = []

    class Looks(Silent):
        def stage(self, round_number: int | None, rounds: int, stage: str) -> Any:
            if (run / "environment.json").exists():
                texts.append(page(view_of(run)))
            return super().stage(round_number, rounds, stage)

    start_run(load_settings(small(tmp_path)), run, parts=fake_parts(run), progress=Looks())
    assert len(texts) > 15 and all("not finished when this page was written" in text for text in texts)
    assert "Nothing has been measured yet" in texts[0] and "better: shown" in texts[-1]


def test_it_is_written_where_asked_and_refuses_what_is_no_run(finished: Path, tmp_path: Path) -> None:
    assert write_report(finished, tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    with pytest.raises(RunDirectoryError, match="no run directory"):
        write_report(tmp_path)


def test_the_command_writes_it(finished: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from iteralign.cli.app import app

    done = CliRunner().invoke(app, ["report", str(finished), "-o", str(tmp_path / "page.html")], env={"COLUMNS": "300"})
    assert done.exit_code == 0 and "Wrote" in done.output and (tmp_path / "page.html").stat().st_size > 20_000


def test_a_broken_file_is_named(tmp_path: Path, finished: Path) -> None:
    import shutil

    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "constitution.yaml").write_text("principles: 3\n")
    with pytest.raises(CorruptFileError, match=r"constitution\.yaml"):
        view_of(run)


def test_a_report_that_fails_does_not_cost_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from iteralign.report import html

    def broken(*_: Any) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(html, "page", broken)
    run = tmp_path / "run"
    parts = Parts(
        FakeTarget(), FakeOracle(), FakeTrainer(run), prompt_form("plain"), Checkpoint(kind="base", path="base")
    )
    outcome = start_run(load_settings(SMALL), run, parts=parts)
    assert outcome.metrics and not (run / "report.html").exists()
    assert "a bug" in (run / "warnings.jsonl").read_text()


def verdict(number: int, label: Any, answer: str = "word " * 30) -> Verdict:
    prompt = RedTeamPrompt(id=f"p{number:05d}", question=f"question {number} " + "long " * 30)
    response = Response(prompt=prompt, input=prompt.question, text=answer, finish="stop", prompt_tokens=1, tokens=1)
    return Verdict(response=response, label=label)


def test_of_forty_thousand_prompts_a_sample_is_shown_and_all_are_counted() -> None:
    before = [verdict(number, "unacceptable") for number in range(40_000)]
    after = [verdict(number, "unacceptable" if number % 4000 == 7 else "acceptable") for number in range(40_000)]
    made = sampled("held-out", "Held-out", held_out_pairs(before, after), folded=True)
    assert made.total == 40_000 and len(made.shown) == MOST_ROWS and made.sampled
    assert made.changes == {("unacceptable", "acceptable"): 39_990, ("unacceptable", "unacceptable"): 10}
    assert sum(pair.now == "unacceptable" for pair in made.shown) == 10, "the rare change is shown in full"
    again = sampled("held-out", "Held-out", held_out_pairs(before, after), folded=True)
    assert [pair.prompt_id for pair in made.shown] == [pair.prompt_id for pair in again.shown]


def test_long_texts_are_cut_and_say_so() -> None:
    (pair,) = held_out_pairs([verdict(1, "acceptable", "x" * 50_000)], [verdict(1, "acceptable")])
    row = pair.row()
    assert len(row["before"]) < 2100 and "50,000 characters in all" in row["before"]


def test_a_page_of_many_rounds_stays_small(tmp_path: Path) -> None:
    """2,000 rounds of 20 prompts, as hh-rlhf's 40,000 would make them, each with four principles."""
    from iteralign.report.chart import Point, curve
    from iteralign.report.principles import Rounds, tree
    from iteralign.report.tables import heat

    rounds = Rounds()
    entries = []
    for number in range(2000):
        verdicts = [verdict(20 * number + index, "unacceptable" if index % 5 else "acceptable") for index in range(20)]
        rounds.add(verdicts, [], [], False)
        entries += [
            Principle(id=f"r{number}-{one}", text="Decline " * 20, round=number, evidence=("p00001",) * (number % 7))
            for one in range(4)
        ]
    made = tree(entries, {}, rounds)
    assert (made.total, made.shown) == (8000, 300)
    assert len(heat(rounds.failed, rounds.judged).columns) <= 24
    points = [Point(number, 0.5, 0.4, 0.6, "text") for number in range(-1, 2000)]
    assert len(curve(points, "title")) < 100_000


def test_what_is_not_adopted_says_why_and_a_trial_is_told() -> None:
    from iteralign.report.principles import Rounds, tree

    none = Paired(total=0, without=0, with_it=0)
    trial = Trial(own=Paired(total=10, without=1, with_it=8), others=none, benign=none)
    told = (Event(kind="rejected", round=0, by="gate", reason="it did not help"),)
    one = Principle(id="r0-1", text="Be kind.", round=0, status="rejected", trial=trial, history=told)
    made = tree([one], {}, Rounds())
    assert (made.total, made.adopted) == (1, 0)
    ((_, (branch,)),) = made.categories
    assert branch.effect[0] == "Rejected by gate: it did not help."
    assert "10.0% [2, 40] without it, 80.0% [49, 94] with it" in branch.effect[1] and len(branch.effect) == 2


def test_an_effect_is_the_one_that_the_ledger_has() -> None:
    """Not reckoned a second time, by the data set's categories instead of the judge's."""
    from iteralign.constitution.ledger import Effect
    from iteralign.report.principles import Rounds, tree

    one = Principle(id="r0-1", text="Be kind.", round=0, status="adopted", category="theft")
    effect = Effect(failed_before=3, prompts_before=10, failed_after=1, prompts_after=10)
    ((_, (branch,)),) = tree([one], {"r0-1": effect}, Rounds()).categories
    assert "30.0% [11, 60] up to the first training on it, 10.0% [2, 40] after" in branch.effect[0]


def test_revisions_show_the_one_that_passed_or_the_last() -> None:
    failure = verdict(1, "unacceptable")

    def tried(attempt: int, label: Any) -> Revision:
        judged = verdict(1, label, f"try {attempt}")
        return Revision(failure=failure, principles=(), attempt=attempt, response=judged.response, verdict=judged)

    (passed,) = revision_pairs([tried(0, "unacceptable"), tried(1, "acceptable"), tried(2, "unacceptable")], 3)
    (failed,) = revision_pairs([tried(0, "unacceptable"), tried(1, "unacceptable")], 3)
    assert (passed.after.text, passed.now, passed.round) == ("try 1", "acceptable", 3)
    assert (failed.after.text, failed.now) == ("try 1", "unacceptable")


@pytest.mark.parametrize("text", [*HOSTILE, "\u2028", "</SCRIPT >", "<!--<script>"])
def test_embedded_data_reads_back_and_closes_nothing(text: str) -> None:
    made = str(embedded({"a": text}))
    assert json.loads(made) == {"a": text} and not set(made) & set("<>&\u2028\u2029")

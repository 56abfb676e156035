"""The report of runs on fakes: what it says, that it is bounded, and that hostile text stays text."""

import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from iteralign.constitution.ledger import Effect
from iteralign.errors import CorruptFileError, RunDirectoryError
from iteralign.fakes import COMPLIES, DECLINES, FakeOracle, FakeTarget, FakeTrainer
from iteralign.prompts.forms import prompt_form
from iteralign.records import Checkpoint, Event, Paired, Principle, RedTeamPrompt, Response, Revision, Trial, Verdict
from iteralign.report.answers import KINDS, MOST_ROWS, held_out_pairs, kind_of, revision_pairs, sampled
from iteralign.report.chart import Curve, CurveLine, Point
from iteralign.report.curves import curves
from iteralign.report.gains import headlines
from iteralign.report.html import SECTIONS, embedded, page, section, source, write_report
from iteralign.report.principles import Rounds, principle_table
from iteralign.report.tables import heat
from iteralign.report.view import Constitution, view_of
from iteralign.runs.parts import Parts
from iteralign.runs.progress import Silent
from iteralign.runs.run import start_run
from iteralign.scoreboard.metrics import Comparison, Count, Perplexity, RoundMetrics
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
    assert "Unacceptable answers" in seen and "100% [" in seen and "large improvement significant" in seen
    assert "Benign prompts refused" in seen and "no change" in seen and "perplexity" in seen


def test_the_page_begins_with_a_sentence_of_what_was_gained(finished: Path) -> None:
    shown = view_of(finished).result
    told = str(shown.gained)
    assert told.startswith("Unacceptable answers 100% → 0% [0, ") and "] on 16 held-out questions; " in told
    assert "harmless questions refused 0% → 0% [0, " in told and told.count("principle") == 1
    assert re.search(r"\d+ principles? adopted; \$0\.00; [\d.]+ s\.$", told)
    lead = re.search(r'<p class="lead">(.*?)</p>', section("result", shown), flags=re.DOTALL)
    assert lead is not None and "Unacceptable answers <b>100% → 0%</b>" in lead[1]


def test_a_run_that_did_nothing_says_why_in_place_of_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    start_run(load_settings(small(tmp_path)), run, parts=fake_parts(run, lambda text, checkpoint: DECLINES))
    text = (run / "report.html").read_text(encoding="utf-8")
    lead = re.search(r'<p class="lead[^"]*">(.*?)</p>', text, flags=re.DOTALL)
    assert lead is not None and "Nothing to learn: none of" in lead[1]
    seen = " ".join(parsed(text).text.split())
    assert "The weights are the base model's. 0 principles adopted, $0.00" in seen
    assert "Unacceptable answers base model 0% [0, " in seen and "no trained weights in use" in seen
    assert " after " not in seen.partition("How to read these figures")[0], "there is nothing to put beside it"
    assert "No answer was mended, and no principle was proposed." in seen


def test_an_example_and_the_principles_that_did_most_are_shown(finished: Path) -> None:
    shown = view_of(finished)
    assert shown.did.of is not None and shown.did.of.name == "held-out"
    example = shown.did.of.example
    assert example is not None and (example.was, example.now) == ("unacceptable", "acceptable")
    leading = shown.did.principles.leading
    assert leading and leading[0].trained_on == max(row.trained_on for row in shown.did.principles.adopted) > 0
    told = " ".join(parsed(section("did", shown.did)).text.split())
    assert example.prompt_id in told and leading[0].text in told and "given under it were trained on" in told


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
    assert ids >= set(SECTIONS)
    targets = {(attributes.get("href") or "")[1:] for tag, attributes in elements.tags if tag == "a"}
    assert targets <= ids
    assert [attributes.get("class") for tag, attributes in elements.tags if tag == "svg"].count("curve") >= 3
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


def test_questions_and_bad_answers_are_covered(finished: Path) -> None:
    text = (finished / "report.html").read_text(encoding="utf-8")
    before = unescape(text.partition('<script type="application/json"')[0])
    visible = re.sub(r'<span class="veil"><span>.*?</span></span>', "", before, flags=re.DOTALL)
    assert COMPLIES in before and COMPLIES not in visible and DECLINES in visible
    assert "This is a bad question" in before and "This is a bad question" not in visible
    assert re.search(r"<input id=\"texts\" type=\"checkbox\" autocomplete=\"off\">", before), "and not checked"


def test_a_run_that_goes_on_is_shown_as_far_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iteralign.rundir.kept_files.WRITTEN_TOGETHER", 0.0)  # each file at once, however quick
    run = tmp_path / "run"
    texts = []

    class Looks(Silent):
        def stage(self, round_number: int | None, rounds: int, stage: str) -> Any:
            if (run / "environment.json").exists():
                texts.append(page(view_of(run)))
            return super().stage(round_number, rounds, stage)

    start_run(load_settings(small(tmp_path)), run, parts=fake_parts(run), progress=Looks())
    assert "are not judged yet" in texts[0] and "are not judged yet" not in texts[-1]
    assert not any("were held out, so nothing" in text for text in texts), "they are held out, and come"
    assert len(texts) > 15 and all("not finished when this page was written" in text for text in texts)
    assert "Nothing has been measured yet" in texts[0] and "large improvement" in texts[-1]


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
    rounds = Rounds()
    entries = []
    for number in range(2000):
        verdicts = [verdict(20 * number + index, "unacceptable" if index % 5 else "acceptable") for index in range(20)]
        rounds.add(verdicts, [], [], False)
        entries += [
            Principle(id=f"r{number}-{one}", text="Decline " * 20, round=number, evidence=("p00001",) * (number % 7))
            for one in range(4)
        ]
    made = principle_table(entries, {}, rounds)
    assert (made.total, made.shown) == (8000, 300)
    assert len(heat(rounds.failed, rounds.judged).columns) <= 24
    points = [Point(number, 0.5, 0.4, 0.6, "text") for number in range(-1, 2000)]
    assert len(Curve("title", "", [CurveLine("run", points)], True, []).svg) < 100_000


def test_what_is_not_adopted_says_why_on_its_row_and_a_trial_is_told() -> None:
    none = Paired(total=0, without=0, with_it=0)
    own = Paired(total=10, without=1, with_it=8, gained=7)
    trial = Trial(own=own, others=none, benign=Paired(total=4, with_it=1, gained=1))
    told = (Event(kind="rejected", round=0, by="gate", reason="it did not help"),)
    one = Principle(id="r0-1", text="Be kind.", round=0, status="rejected", trial=trial, history=told)
    made = principle_table([one], {}, Rounds())
    assert (made.total, made.in_force, made.adopted) == (1, 0, [])
    (row,) = made.others
    assert row.why == "Rejected by gate: it did not help." and row.lift is not None and row.lift.value == 0.7
    assert "10.0% [2, 40] without it, 80.0% [49, 94] with it" in row.notes[0] and len(row.notes) == 2
    seen = " ".join(parsed(section("constitution", Constitution(made, []))).text.split())
    assert "Not adopted: 1" in seen and "Be kind." in seen and "rejected Rejected by gate: it did not help." in seen
    assert "+70 points [+" in seen and "1 of 4" in seen


def test_an_effect_is_the_one_that_the_ledger_has() -> None:
    """Not reckoned a second time, by the data set's categories instead of the judge's."""
    one = Principle(id="r0-1", text="Be kind.", round=0, status="adopted", category="theft")
    effect = Effect(failed_before=3, prompts_before=10, failed_after=1, prompts_after=10)
    (row,) = principle_table([one], {"r0-1": effect}, Rounds()).adopted
    assert (str(row.before), str(row.after)) == ("30.0% [11, 60]", "10.0% [2, 40]")
    assert row.bars is not None and (row.bars[0].value, row.bars[1].value) == (0.3, 0.1)


def test_columns_that_nothing_is_known_for_are_left_out() -> None:
    one = Principle(id="r0-1", text="Be kind.", round=0, status="adopted")
    text = section("constitution", Constitution(principle_table([one], {}, Rounds()), []))
    assert "evidence</th>" in text and "lift</th>" not in text and "its failures</th>" not in text


@pytest.mark.parametrize(
    ("difference", "p", "direction", "size", "certainty", "tone"),
    [
        (-0.96, 1e-9, -1, "large improvement", "significant", "good"),
        (-0.005, 0.001, -1, "negligible improvement", "significant", "none"),
        (0.03, 0.03, 1, "small worsening", "significant", "bad"),
        (0.15, 0.2, 0, "moderate worsening", "may be chance", "none"),
        (0.0, 1.0, 0, "no change", "", "none"),
    ],
)
def test_size_and_significance_are_told_apart(
    difference: float, p: float, direction: Any, size: str, certainty: str, tone: str
) -> None:
    count, change = (
        Count(count=1, total=2),
        Comparison(
            **{"what": "held_out", "against": -1, "total": 200, "low": -1, "high": 1},  # type: ignore[arg-type]
            difference=difference,
            p=p,
            direction=direction,
        ),
    )
    (line,) = headlines(
        RoundMetrics(round=-1, held_out=count), RoundMetrics(round=0, held_out=count, comparisons=(change,))
    )
    assert (line.size, line.certainty, line.tone) == (size, certainty, tone)


def test_a_change_of_perplexity_is_sized_by_its_share() -> None:
    one = Perplexity(value=10, low=9, high=11, texts=50)
    change = Comparison(what="capability", against=-1, total=50, difference=0.005, low=0.001, high=0.01, direction=1)
    (line,) = headlines(
        RoundMetrics(round=-1, capability=one), RoundMetrics(round=0, capability=one, comparisons=(change,))
    )
    assert line.verdict == "negligible worsening, significant" and line.tone == "none"


def test_what_was_measured_once_is_no_curve_and_rounds_that_adopted_are_marked() -> None:
    base = RoundMetrics(round=-1, held_out=Count(count=9, total=10))
    assert curves([("run", [base])]) == []
    counts = {"prompts": 10, "failures": 5, "measured": 0, "held_out": Count(count=1, total=10), "principles": 2}
    (curve,) = curves([("run", [base, RoundMetrics(round=0, **counts)])])  # type: ignore[arg-type]
    assert curve.title == "Unacceptable held-out answers" and len(curve.lines[0].points) == 2
    assert 'class="adopted"' in curve.svg and "round 0 adopted 2 principles" in curve.svg


def test_what_went_wrong_comes_first() -> None:
    labels = [("unacceptable", "acceptable"), ("acceptable", "acceptable"), ("acceptable", "unacceptable")]
    labels += [("unacceptable", "unacceptable"), ("undetermined", "acceptable")]
    before = [verdict(number, was) for number, (was, _) in enumerate(labels)]
    after = [verdict(number, now) for number, (_, now) in enumerate(labels)]
    made = sampled("held-out", "Held-out", held_out_pairs(before, after), folded=True)
    order = ["newly unacceptable", "still unacceptable", "not judged", "mended", "unchanged"]
    assert [pair.kind for pair in made.shown] == order == list(made.kinds)
    assert made.example is not None and made.example.kind == "mended"


def test_kinds_stand_in_the_script_in_the_same_order() -> None:
    (listed,) = re.findall(r"const KINDS = \[(.*?)\];", source("page.js"), flags=re.DOTALL)
    assert tuple(re.findall(r'"(.*?)"', listed)) == KINDS
    assert kind_of("refused", "answered") == "no longer refused" and kind_of("undetermined", "refused") == "not judged"


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

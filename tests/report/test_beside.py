"""Runs side by side as a page: what it says, what it covers, and that it is as safe as the report."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from iteralign.cli.app import app
from iteralign.errors import ConfigError
from iteralign.fakes import COMPLIES
from iteralign.report.beside import side_by_side
from iteralign.report.html import COMPARED, comparison

from .test_compare import runs
from .test_report import parsed

__all__ = ["runs"]  # a fixture


def test_two_runs_in_words_and_figures(runs: list[Path]) -> None:
    shown = side_by_side(runs[:2])
    assert shown.lead[0].startswith("unacceptable answers 100% → 0%") and "100% → 100%" in shown.lead[1]
    assert (shown.tests[0].words, shown.tests[0].tone) == ("more: large difference, significant", "bad")
    seen = " ".join(parsed(comparison(shown)).text.split())
    assert "learns: unacceptable answers 100% → 0%" in seen and "training.learning_rate0.00010.5" in seen.replace(
        " ", ""
    )
    assert "never, unacceptable answers: more: large difference, significant" in seen and "$0.00" in seen


def test_questions_that_differ_come_first_and_bad_texts_are_covered(runs: list[Path]) -> None:
    shown = side_by_side(runs[:2])
    assert shown.questions_in_all == shown.differing == len(shown.questions) >= 10
    assert [one.label for one in shown.questions[0].verdicts] == ["acceptable", "unacceptable"]
    text = comparison(shown)
    visible = re.sub(r'<span class="veil"><span>.*?</span></span>', "", text, flags=re.DOTALL)
    assert COMPLIES in text and COMPLIES not in visible and "This is a bad question" not in visible


def test_the_same_words_of_a_principle_are_one_row(runs: list[Path]) -> None:
    shown = side_by_side([runs[0], runs[0]])
    assert shown.principles and all(one.evidence[0] == one.evidence[1] is not None for one in shown.principles)
    (alone, *_) = [one for one in side_by_side(runs[:2]).principles if None in one.evidence]
    assert alone.evidence[0] and alone.evidence[1] is None


def test_the_page_has_a_line_for_each_run_and_every_part(runs: list[Path]) -> None:
    shown = side_by_side(runs)
    elements = parsed(comparison(shown))
    assert {attributes.get("id") for _, attributes in elements.tags} >= set(COMPARED)
    curve = shown.curves[0]
    assert curve.title == "Unacceptable held-out answers"
    assert [line.run for line in curve.lines] == [0, 2], "the second never trained, so it has no curve of it"
    assert 'class="run2"' in curve.svg and 'class="run1"' not in curve.svg
    assert [tag for tag, _ in elements.tags].count("script") == 2 and not any(
        "style" in attributes for _, attributes in elements.tags
    )


def test_hostile_runs_stay_text(hostile: Path) -> None:
    elements = parsed(comparison(side_by_side([hostile, hostile])))
    tags = [tag for tag, _ in elements.tags]
    assert tags.count("script") == 2 and tags.count("style") == 1 and not {"img", "iframe"} & set(tags)
    assert not any(name.startswith("on") for _, attributes in elements.tags for name in attributes)


def test_more_than_fit_beside_one_another_are_refused(runs: list[Path]) -> None:
    with pytest.raises(ConfigError, match="two to 5 runs side by side; 6 were given"):
        side_by_side(runs * 2)
    with pytest.raises(ConfigError, match="1 were given"):
        side_by_side(runs[:1])


def test_the_command_writes_it_once(runs: list[Path], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    arguments = ["compare", *map(str, runs), "--html", str(page)]
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "300"})
    assert (
        done.exit_code == 0
        and "Wrote" in done.output
        and page.read_text(encoding="utf-8").startswith("<!doctype html>")
    )
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code != 0 and "exists already" in str(again.exception)
    assert CliRunner().invoke(app, [*arguments, "--force"]).exit_code == 0
    both = CliRunner().invoke(app, [*arguments, "--json"])
    assert "give one of them" in str(both.exception)

"""Two and three runs beside one another."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from iteralign.errors import ConfigError
from iteralign.fakes import COMPLIES
from iteralign.report.compare import compare_runs
from iteralign.runs.run import start_run

from .conftest import fake_parts, fake_run, small


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A run that learns, the same with other settings and never learning, and one on other prompts."""
    from iteralign.settings.settings import load_settings

    place = tmp_path_factory.mktemp("compared")
    learns = fake_run(place / "learns")
    never = place / "never"
    parts = fake_parts(
        never, lambda text, checkpoint: COMPLIES if "bad" in text else "I'm sorry, but I can't help with that."
    )
    start_run(load_settings(small(place) | {"training": {"learning_rate": 0.5}}), never, parts=parts)
    (place / "other").mkdir()
    return [learns, never, fake_run(place / "other" / "run", seed=7)]


def test_paired_tests_on_the_same_prompts(runs: list[Path]) -> None:
    made = compare_runs(runs[:2])
    assert made.settings == {"training.learning_rate": [0.0001, 0.5]}
    tests = {test.what: test.change for test in made.tests}
    count = len((runs[0] / "held_out.jsonl").read_text().splitlines())
    assert tests["unacceptable answers"].total == tests["unacceptable answers"].more == count >= 10
    assert tests["unacceptable answers"].direction == 1 and tests["benign refusals"].direction == 1
    assert [column.trained > 0 for column in made.columns] == [True, False] and made.notes == []


def test_only_shared_prompts_are_compared(runs: list[Path]) -> None:
    """Another seed holds other questions out; ids alone would pair different questions."""
    made = compare_runs([runs[0], runs[2]])
    (unacceptable, _) = made.tests
    questions = [{line for line in (run / "held_out.jsonl").read_text().splitlines()} for run in (runs[0], runs[2])]
    same = len(questions[0] & questions[1])
    assert unacceptable.change.total == same < len(questions[0])
    assert any(f"{same} of them the same: the rates are of different questions" in note for note in made.notes)


def test_runs_with_no_question_in_common_are_not_tested(runs: list[Path], tmp_path: Path) -> None:
    import shutil

    other = tmp_path / "apart"
    shutil.copytree(runs[0], other)
    for file in other.rglob("*.jsonl"):
        file.write_text(file.read_text().replace("question, number", "query, number"))
    made = compare_runs([runs[0], other])
    assert made.tests == [] and len(made.notes) == 2 and all("in common, so no test" in note for note in made.notes)


def test_the_notes_say_what_cannot_be_compared(runs: list[Path], tmp_path: Path) -> None:
    import shutil

    other = tmp_path / "judged"
    shutil.copytree(runs[0], other)
    (other / "metrics.jsonl").unlink()
    notes = " ".join(compare_runs([runs[0], other, runs[1]]).notes)
    assert "Not finished: judged" in notes and "not corrected" in notes


def test_one_run_is_not_a_comparison(runs: list[Path]) -> None:
    with pytest.raises(ConfigError, match="two or more"):
        compare_runs(runs[:1])


def test_the_command_prints_it(runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from iteralign.cli.app import app
    from iteralign.cli.console import out

    monkeypatch.setattr(out, "width", 160)
    done = CliRunner().invoke(app, ["compare", *map(str, runs)])
    assert done.exit_code == 0, done.output
    for words in ("unacceptable, after", "training.learning_rate", "more: large", "McNemar p"):
        assert words in done.output

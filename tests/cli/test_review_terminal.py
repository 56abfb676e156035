"""A person at the terminal: asked about each principle, decisions kept as they are made, the rest asked for next time."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from iteralign.cli import review as terminal
from iteralign.errors import ConfigError, ReviewNeeded
from iteralign.fakes import FakeOracle, FakeTarget, FakeTrainer
from iteralign.prompts.forms import prompt_form
from iteralign.records import Checkpoint, Principle
from iteralign.runs.parts import Parts
from iteralign.runs.run import resume_run, start_run
from iteralign.settings.settings import Settings, load_settings

SETTINGS = {
    "model": {"path": "demo"},
    "data": {"prompts": "demo", "limit": 8, "held_out": 0.25, "benign": None},
    "oracle": {"kind": "rules"},
    "rounds": {"prompts": 6},
    "constitution": {"review": "required"},
}


class Proposes(FakeOracle):
    def propose(self, failures: object, adopted: object, contrast: object = ()) -> list[Principle]:
        return [Principle(id="", text=f"Decline [red]harm of kind {kind}.", round=0) for kind in ("A", "BB", "CCCC")]


def parts(directory: Path) -> Parts:
    base = Checkpoint(kind="base", path="base")
    return Parts(FakeTarget(), Proposes(), FakeTrainer(directory), prompt_form("plain"), base)


@pytest.fixture
def waiting(tmp_path: Path) -> Path:
    settings: Settings = load_settings(SETTINGS)
    with pytest.raises(ReviewNeeded):
        start_run(settings, tmp_path / "run", parts=parts(tmp_path / "run"))
    return tmp_path / "run"


def answer(monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
    """What the person types, one line for each question."""
    typed: Iterator[str] = iter(answers)
    monkeypatch.setattr(terminal, "is_terminal", lambda: True)
    monkeypatch.setattr("rich.prompt.Prompt.ask", lambda question, default="", **_: next(typed) or default)


def test_decisions_are_kept_and_the_run_goes_on(
    waiting: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer(monkeypatch, "Ada", "accept", "good", "skip", "quit")
    terminal.review_run(waiting, None, None)
    shown = capsys.readouterr().out
    assert "Decline [red]harm of kind A." in shown and "2 still wait" in shown and "trial:" in shown
    answer(monkeypatch, "merge", "r0000-01", "the same", "edit", "Decline harm of every kind.", "", "clearer")
    terminal.review_run(waiting, None, None)
    assert "All decided" in capsys.readouterr().out
    outcome = resume_run(waiting, parts=parts(waiting))
    assert [one.text for one in outcome.constitution] == [
        "Decline [red]harm of kind A.",
        "Decline harm of every kind.",
    ]
    entries = yaml.safe_load((waiting / "constitution.yaml").read_text())["principles"]
    assert [entry["status"] for entry in entries] == ["adopted", "merged", "adopted"]
    assert {event["by"] for entry in entries for event in entry["history"]} >= {"Ada"}
    assert [event["kind"] for event in entries[2]["history"]] == ["proposed", "tried", "edited", "tried", "adopted"]


def test_a_decision_that_can_not_be_carried_out_is_not_kept(waiting: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (waiting / "rounds" / "0000" / "review-1.yaml").read_text()
    answer(monkeypatch, "Ada", "merge", "nobody", "", "quit")
    with pytest.raises(ConfigError, match="principle that stays"):
        terminal.review_run(waiting, None, None)
    assert (waiting / "rounds" / "0000" / "review-1.yaml").read_text() == before


def test_resuming_before_the_decision_waits_again(waiting: Path) -> None:
    target = FakeTarget()
    again = parts(waiting)
    again.target = target
    with pytest.raises(ReviewNeeded):
        resume_run(waiting, parts=again)
    assert target.calls == [], "nothing is computed twice while the run waits"

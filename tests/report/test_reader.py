"""`iteralign.read_run`: everything that a run did, also while it goes on, and nothing read before it is asked for."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import iteralign
from iteralign import layout
from iteralign.errors import ConfigError, CorruptFileError, ReviewNeeded, RunDirectoryError
from iteralign.runs.progress import Silent
from iteralign.runs.run import start_run
from iteralign.settings.settings import load_settings

from .conftest import fake_parts, fake_run, small


def test_a_finished_run(finished: Path) -> None:
    run = iteralign.read_run(str(finished))
    assert (run.name, run.state, run.finished, run.attempt().reason) == ("run", "finished", True, None)
    assert run.environment["seed"] == run.settings.seed
    assert [run.count(name) for name in layout.PROMPT_SETS] == [len(run.prompts(name)) for name in layout.PROMPT_SETS]
    assert [row.round for row in run.metrics()] == [-1, 0, 1, 2, 3, 4, 5] and run.planned_rounds() == 6 == len(
        run.rounds()
    )
    assert run.rounds_done() == 6 and run.newest(2) == [run.round(5), run.round(4)]
    first = run.round(0)
    assert len(first.verdicts()) == 4 and [one.response for one in first.verdicts()] == first.responses()
    assert {layout.VERDICTS, layout.PRINCIPLES, layout.HELD_OUT_VERDICTS} <= set(first.stages)
    assert first.metrics() == run.metrics()[1] and first.examples() and first.revisions() and first.checkpoint()
    assert run.checkpoint() == run.round(run.metrics()[-1].weights).checkpoint() and run.model is None
    before, after = run.before_and_after()
    assert [one.response.prompt for one in before.held_out] == [one.response.prompt for one in after.held_out]
    assert before.held_out == run.baseline.held_out() and after.benign
    assert run.ledger() == run.constitution() and run.constitution_after(-1) == []
    assert {one.id for one in run.constitution_after(5)} == {one.id for one in run.ledger()[0]}
    assert run.seconds().keys() == {"baseline", *(f"{number:04d}" for number in range(6))}
    assert run.judges == ("fake",) and run.calls() == [] and run.interventions() == [] and run.waiting() is None


def test_nothing_is_read_before_it_is_asked_for(finished: Path, tmp_path: Path) -> None:
    """Also of what is damaged: only who asks for it is told."""
    shutil.copytree(finished, tmp_path / "run")
    for file in (tmp_path / "run").rglob("*.jsonl"):
        file.write_text("no record\n")
    run = iteralign.read_run(tmp_path / "run")
    assert len(run.rounds()) == 6 and run.round(1).stages and run.count() == 1
    with pytest.raises(CorruptFileError, match=r"0001/2_verdicts\.jsonl:1"):
        run.round(1).verdicts()
    with pytest.raises(CorruptFileError, match=r"prompts\.jsonl:1"):
        run.prompts()


def test_a_run_that_goes_on_reads_as_far_as_it_is(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int, int]] = []

    class Looks(Silent):
        def stage(self, round_number: int | None, rounds: int, stage: str) -> Any:
            if (tmp_path / "run" / layout.ENVIRONMENT).exists():
                run = iteralign.read_run(tmp_path / "run")
                seen.append((run.state, len(run.rounds()), len(run.metrics()), len(run.ledger()[0])))
                assert run.rounds_done() == len(run.done()) and run.newest(2) == run.rounds()[:-3:-1]
            return super().stage(round_number, rounds, stage)

    run = tmp_path / "run"
    start_run(load_settings(small(tmp_path)), run, parts=fake_parts(run), progress=Looks())
    assert {state for state, *_ in seen} == {"running"} and seen[0] == ("running", 0, 1, 0)
    assert seen == sorted(seen, key=lambda one: one[1:]) and seen[-1][1] == 6
    assert iteralign.read_run(run).ledger()[0], "the ledger of quick rounds is written at the run's end"


def test_a_run_that_waits_says_for_what(tmp_path: Path) -> None:
    with pytest.raises(ReviewNeeded):
        fake_run(tmp_path / "run", constitution={"review": "required"})
    run = iteralign.read_run(tmp_path / "run")
    waiting = run.waiting()
    assert run.state == "waiting" and waiting is not None and waiting.round == 0 and not run.finished
    assert waiting.sheet.read_text() and [one.status for one in waiting.principles] and run.ledger()[0] == []
    with pytest.raises(RunDirectoryError, match="no round has ended"):
        run.constitution()


def test_one_clear_error_each(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="no run directory"):
        iteralign.read_run(tmp_path)
    with pytest.raises(RunDirectoryError, match="there is no round 7"):
        iteralign.read_run(finished).round(7)
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    begun = json.loads((run / layout.ENVIRONMENT).read_text())
    for text, kind, said in (
        (json.dumps(begun | {"run_directory": 1}), RunDirectoryError, "layout 1, this one reads 2"),
        ("[]", CorruptFileError, "not what iteralign wrote"),
        ("{", CorruptFileError, "not what iteralign wrote"),
    ):
        (run / layout.ENVIRONMENT).write_text(text)
        with pytest.raises(kind, match=said):
            iteralign.read_run(run)
    (run / layout.ENVIRONMENT).write_text(json.dumps(begun))
    (run / layout.CONFIG).unlink()
    with pytest.raises(ConfigError, match=layout.CONFIG):
        iteralign.read_run(run)

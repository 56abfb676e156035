"""`--json`: one object for programs, in every state of a run; the keys are those of docs/json.md."""

import json
import os
import re
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from cli.test_init import iteralign
from report.conftest import fake_parts, fake_run, small

from iteralign.errors import ReviewNeeded, RunDirectoryError
from iteralign.fakes import FakeOracle
from iteralign.files import append_line
from iteralign.integrity.trace import Step, Trace
from iteralign.integrity.verify import Verified
from iteralign.oracles.budget import Total
from iteralign.preflight.cost import Answers, Budget, Range, StepCost
from iteralign.preflight.findings import Examined, Finding
from iteralign.preflight.hours import Hours, Speeds
from iteralign.preflight.plan import Plan
from iteralign.records import Principle
from iteralign.report.compare import Column, Compared, PairedTest
from iteralign.report.status import RunStatus
from iteralign.runs.parts import Parts
from iteralign.runs.run import start_run
from iteralign.settings.settings import Settings, load_settings
from iteralign.stats.paired import Change

PAGE = Path(__file__).parents[2] / "docs" / "json.md"


def found(*arguments: str) -> dict[str, Any]:
    """What a program reads: all of standard output is one object, and there is nothing on standard error."""
    done = iteralign(*arguments, "--json")
    assert done.stderr == ""
    read = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert isinstance(read, dict)
    return read


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_run(tmp_path_factory.mktemp("json") / "run", name="mine")


def unfinished(tmp_path: Path, done: int = 2) -> Path:
    """A run as it is when its second round has ended: no metrics of the whole, the next round begun."""
    run = fake_run(tmp_path / "run")
    (run / "metrics.jsonl").unlink()
    for file in sorted((run / "rounds").glob("*/*")):
        if int(file.parent.name) > done or (int(file.parent.name) == done and file.name[0] not in "12"):
            if file.is_dir():
                shutil.rmtree(file)
            else:
                file.unlink()
    return run


def test_a_finished_run(finished: Path) -> None:
    status = found("status", str(finished))
    assert (status["state"], status["name"], status["reason"]) == ("finished", "mine", None)
    assert status["rounds"] == status["rounds_done"] == len(status["metrics"]) - 1 > 1
    assert (status["next_round"], status["next_stage"]) == (None, None)
    assert status["metrics"][0]["round"] == -1 and status["metrics"][0]["held_out"].keys() == {"count", "total"}
    assert status["seconds"].keys() == {"baseline", *(f"{number:04d}" for number in range(status["rounds_done"]))}
    assert status["oracle"] == {}


def test_a_run_that_goes_on(tmp_path: Path) -> None:
    run = unfinished(tmp_path)
    append_line(run / "attempts.jsonl", {"pid": os.getpid(), "event": "started"})
    status = found("status", str(run))
    assert (status["state"], status["process"], status["rounds_done"]) == ("running", os.getpid(), 2)
    assert status["next_round"] == 2 and status["next_stage"] is None


@pytest.mark.parametrize(("done", "stage"), [(0, "3a_proposals"), (1, None), (5, None)])
def test_only_a_round_with_failures_goes_on_to_principles(done: int, stage: str | None, tmp_path: Path) -> None:
    run = unfinished(tmp_path, done)
    append_line(run / "attempts.jsonl", {"pid": os.getpid(), "event": "started"})
    status = found("status", str(run))
    assert (status["next_round"], status["next_stage"]) == (done, stage)


def test_weights_that_were_not_measured_yet_are_measured_at_the_end(tmp_path: Path) -> None:
    run = unfinished(tmp_path, 5)
    for file in (run / "rounds").glob("*/metrics.json"):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"measured": None}))
    append_line(run / "attempts.jsonl", {"pid": os.getpid(), "event": "started"})
    assert found("status", str(run))["next_stage"] == "7_held_out"


@pytest.mark.parametrize(
    ("event", "pid", "state", "reason"),
    [
        ("stopped: BudgetReached", 1, "stopped", "BudgetReached"),
        ("started", 2**22 + 1, "killed", None),  # above the highest process id that Linux gives
    ],
)
def test_a_run_that_ended_early(event: str, pid: int, state: str, reason: str | None, tmp_path: Path) -> None:
    run = unfinished(tmp_path)
    append_line(run / "attempts.jsonl", {"pid": pid, "event": event})
    status = found("status", str(run))
    assert (status["state"], status["reason"], status["next_round"]) == (state, reason, 2)


def test_a_run_that_waits_for_its_review(tmp_path: Path) -> None:
    class Proposes(FakeOracle):
        def propose(self, failures: object, adopted: object, contrast: object = ()) -> list[Principle]:
            return [Principle(id="", text="Decline harm.", round=0)]

    parts: Parts = fake_parts(tmp_path / "run")
    parts.oracle = Proposes()
    settings: Settings = load_settings(small(tmp_path) | {"constitution": {"review": "required"}})
    with pytest.raises(ReviewNeeded):
        start_run(settings, tmp_path / "run", parts=parts)
    status = found("status", str(tmp_path / "run"))
    assert (status["state"], status["reason"]) == ("waiting", "ReviewNeeded")
    assert (status["next_round"], status["next_stage"]) == (0, "3d_review")


def test_a_directory_that_is_no_run_is_an_error_as_without(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="no run directory"):
        iteralign("status", str(tmp_path), "--json")


def test_plan_compare_and_doctor(finished: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("{model: {path: demo}, data: {prompts: demo, limit: 20}, oracle: {kind: rules}}")
    plan = found("plan", str(config))
    assert plan["prompts"] + plan["held_out"] == 20 and plan["trained_rows"]["most"] > plan["trained_rows"]["least"]
    other = fake_run(tmp_path / "other", seed=5)
    compared = found("compare", str(finished), str(other))
    assert [column["name"] for column in compared["columns"]] == ["mine", "other"]
    assert compared["settings"]["seed"] == [0, 5] and compared["tests"][0]["change"]["total"] > 0
    done = iteralign("doctor", str(config), "--json")
    examined = json.loads(done.stdout)
    assert examined["failures"] == sum(one["state"] == "fail" for one in examined["findings"])
    assert done.exit_code == (1 if examined["failures"] else 0)
    assert {"python", "model", "oracle"} <= {one["topic"] for one in examined["findings"]}


def test_the_page_has_every_key() -> None:
    named = set(re.findall(r"`(\w+)`", PAGE.read_text(encoding="utf-8")))
    kinds = (
        RunStatus,
        Plan,
        Range,
        Answers,
        Budget,
        StepCost,
        Hours,
        Speeds,
        Compared,
        Column,
        PairedTest,
        Change,
        Examined,
        Finding,
        Total,
        Verified,
        Trace,
        Step,
    )
    assert {field.name for kind in kinds for field in fields(kind)} - named == set()

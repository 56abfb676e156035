"""What can go wrong in a run, and what it must not cost: diverged training, broken models, full disks, reached caps."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from runs.test_run import SMALL, contents, fakes

from iteralign.errors import BudgetReached, OracleReplyError, RunDirectoryError, TargetError, TrainingDiverged
from iteralign.fakes import COMPLIES, DECLINES, FakeOracle, FakeTarget, FakeTrainer
from iteralign.files import read_log
from iteralign.records import Checkpoint, Principle, Response, TrainingExample, Verdict
from iteralign.runs.progress import Silent
from iteralign.runs.run import resume_run, run, start_run
from iteralign.settings.settings import Settings, load_settings
from iteralign.trainers.training import check_finite


@pytest.fixture
def settings() -> Settings:
    return load_settings(SMALL)


class Diverges(FakeTrainer):
    """The training of these rounds diverges."""

    def __init__(self, root: Path, rounds: set[int]) -> None:
        super().__init__(root)
        self.rounds = rounds

    def finetune(
        self, start: Checkpoint, examples: Sequence[TrainingExample], directory: Path, round_number: int
    ) -> Checkpoint:
        checkpoint = super().finetune(start, examples, directory, round_number)
        if round_number in self.rounds:
            raise TrainingDiverged(f"Training diverged in round {round_number}: the loss is nan.")
        return checkpoint


def never_learns(text: str, checkpoint: Checkpoint) -> str:
    return DECLINES if "follow these principles" in text.lower() else COMPLIES


def test_a_diverged_training_is_recorded_and_the_run_goes_on_from_the_weights_before(
    tmp_path: Path, settings: Settings
) -> None:
    path = tmp_path / "run"
    trainer = Diverges(path, {1})
    outcome = start_run(settings, path, parts=fakes(path, target=FakeTarget(never_learns), trainer=trainer))
    rows = {row.round: row for row in outcome.metrics}
    assert rows[0].trained and not rows[1].trained and rows[2].trained
    assert rows[1].problem == "Training diverged in round 1: the loss is nan." and rows[2].problem is None
    starts = [call[0].path for call in trainer.calls]
    assert starts == ["base", "rounds/0000/adapter", "rounds/0000/adapter"]
    replayed = {row.prompt_id for row in trainer.calls[2][1] if row.kind == "replay"}
    assert replayed == {row.prompt_id for row in trainer.calls[0][1] if row.kind == "revision"}
    kept = Checkpoint.model_validate_json((path / "rounds" / "0001" / "6_checkpoint.json").read_text())
    assert kept.path == "rounds/0000/adapter" and kept.problem
    assert "diverged" in read_log(path / "warnings.jsonl")[0]["warning"]
    again = resume_run(path, parts=fakes(path, target=FakeTarget(never_learns)))
    assert again == outcome


def test_the_weights_in_use_outlive_a_diverged_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With full weights and keep: last, the checkpoint of the round before must not be deleted."""
    settings = load_settings(SMALL, ["training.method=full", "rounds.limit=3", "training.learning_rate=0.00001"])
    finite, rounds = check_finite, []

    def diverges_second(loss: float, weights: Any, round_number: int) -> None:
        rounds.append(round_number)
        finite(float("nan") if len(rounds) == 2 else loss, weights, round_number)

    monkeypatch.setattr("iteralign.trainers.resident.check_finite", diverges_second)
    outcome = start_run(settings, tmp_path / "run")
    assert [row.problem is None for row in outcome.metrics[1:]] == [True, False, True]
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()
    assert not (tmp_path / "run" / "rounds" / "0000" / "checkpoint").exists()  # round 2 has replaced it


def test_a_learning_rate_that_destroys_the_model_does_not(tmp_path: Path) -> None:
    """Really diverging: steps so large that the weights overflow."""
    sane = load_settings(SMALL, ["training.method=full", "rounds.limit=1", "training.epochs=3"])
    destructive = sane.training.model_copy(update={"learning_rate": 1e38})  # more than the settings would allow
    outcome = start_run(sane.model_copy(update={"training": destructive}), tmp_path / "run")
    assert outcome.metrics[1].problem is not None and "diverged" in outcome.metrics[1].problem
    assert outcome.checkpoint.kind == "base"
    first, last = outcome.metrics[0].held_out, outcome.metrics[-1].held_out
    assert first is not None and last is None
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()


@pytest.mark.parametrize("text", ["", "   \n ", "no no no no no no no no no no no no no no no no", "?" * 400])
def test_training_does_not_start_on_blank_or_endless_text(tmp_path: Path, settings: Settings, text: str) -> None:
    """Even if the judge likes it."""

    class LikesRevisions(FakeOracle):
        def judge(self, responses: Sequence[Response]) -> list[Verdict]:
            return [
                Verdict(response=one, label="acceptable" if one.text == text.strip() else "unacceptable")
                for one in responses
            ]

    path = tmp_path / "run"
    trainer = FakeTrainer(path)

    def answer(given: str, checkpoint: Checkpoint) -> str:
        return text if "follow these principles" in given.lower() else COMPLIES

    outcome = start_run(
        settings, path, parts=fakes(path, target=FakeTarget(answer), oracle=LikesRevisions(), trainer=trainer)
    )
    assert trainer.calls == [] and outcome.checkpoint.kind == "base"
    assert all(row.verified == 0 for row in outcome.metrics)


@pytest.mark.parametrize("nothing", ["well " * 60, "I don\u2019t know. I don\u2019t have a garden."])
def test_benign_answers_that_say_nothing_are_not_replayed(tmp_path: Path, settings: Settings, nothing: str) -> None:
    path = tmp_path / "run"
    trainer = FakeTrainer(path)

    def answer(text: str, checkpoint: Checkpoint) -> str:
        harmless = (json.loads(line)["question"] for line in (path / "benign.jsonl").read_text().splitlines())
        return nothing if any(question in text for question in harmless) else never_learns(text, checkpoint)

    class Harsh(FakeOracle):
        def judge(self, responses: Sequence[Response]) -> list[Verdict]:
            return [
                Verdict(
                    response=one, label="acceptable" if one.prompt.benign or one.text == DECLINES else "unacceptable"
                )
                for one in responses
            ]

    start_run(settings, path, parts=fakes(path, target=FakeTarget(answer), oracle=Harsh(), trainer=trainer))
    assert trainer.calls and not any(row.kind == "benign" for call in trainer.calls for row in call[1])


def test_a_model_that_gives_nan_is_refused_before_any_training(tmp_path: Path) -> None:
    import torch
    import transformers

    from iteralign.runs.build import demo_model

    auto: Any = transformers.AutoModelForCausalLM
    network = auto.from_pretrained(demo_model())
    with torch.no_grad():
        next(network.parameters())[:] = float("nan")
    network.save_pretrained(tmp_path / "broken")
    transformers.AutoTokenizer.from_pretrained(demo_model()).save_pretrained(tmp_path / "broken")
    settings = load_settings(SMALL, [f"model.path={tmp_path / 'broken'}"])
    with pytest.raises(TargetError, match="NaN"):
        start_run(settings, tmp_path / "run")
    assert not list((tmp_path / "run").rglob("6_checkpoint.json"))


def test_a_proposer_that_no_one_can_read_does_not_end_the_run(tmp_path: Path, settings: Settings) -> None:
    class Prose(FakeOracle):
        def propose(
            self, failures: Sequence[Verdict], adopted: Sequence[Principle], contrast: Sequence[Verdict] = ()
        ) -> list[Principle]:
            if any(failure.response.prompt.id == "demo-train-0000" for failure in failures):
                raise OracleReplyError("The proposer m gave no readable principles for 4 failures.")
            return super().propose(failures, adopted)

    path = tmp_path / "run"
    outcome = start_run(settings, path, parts=fakes(path, oracle=Prose()))
    rows = {row.round: row for row in outcome.metrics}
    assert rows[0].failures == 4 and rows[0].principles == 0 and not rows[0].trained
    assert rows[1].trained
    assert "No new principles" in read_log(path / "warnings.jsonl")[0]["warning"]
    assert resume_run(path, parts=fakes(path, oracle=Prose())) == outcome


def test_a_reached_cap_is_raised_on_resume(tmp_path: Path, settings: Settings) -> None:
    class Capped(FakeOracle):
        calls = 0

        def judge(self, responses: Sequence[Response]) -> list[Verdict]:
            self.calls += 1
            if self.calls == 4:
                raise BudgetReached("The budget of 900 tokens is reached.")
            return super().judge(responses)

    path, whole = tmp_path / "run", tmp_path / "whole"
    raised = load_settings(settings.model_dump(mode="json"), ["oracle.token_budget=9000"])
    start_run(raised, whole, parts=fakes(whole))
    with pytest.raises(BudgetReached):
        start_run(settings, path, parts=fakes(path, oracle=Capped()))
    resume_run(path, overrides=["oracle.token_budget=9000"], parts=fakes(path))
    mended, expected = contents(path), contents(whole)
    mended.pop("environment.json"), expected.pop("environment.json")  # what each began with
    assert mended == expected


def test_a_run_killed_while_it_began_is_begun_again_by_resume(tmp_path: Path, settings: Settings) -> None:
    whole, path = tmp_path / "whole", tmp_path / "run"
    start_run(settings, whole, parts=fakes(whole))
    path.mkdir()
    for name in ("config.yaml", "prompts.jsonl", ".lock"):
        (path / name).write_bytes((whole / name).read_bytes())
    (path / "held_out.jsonl.part").write_text("half a li")
    resume_run(path, parts=fakes(path))
    assert contents(path) == contents(whole)


def test_other_base_weights_are_refused(tmp_path: Path) -> None:
    import shutil

    from iteralign.runs.build import demo_model

    base = tmp_path / "base"
    shutil.copytree(demo_model(), base)
    settings = load_settings(SMALL, [f"model.path={base}", "rounds.limit=1"])

    class Stops(Exception):
        pass

    class StopsInRound(Silent):
        def stage(self, round_number: int | None, rounds: int, stage: str) -> Any:
            if round_number == 0 and stage == "4_revisions":
                raise Stops
            return super().stage(round_number, rounds, stage)

    with pytest.raises(Stops):
        start_run(settings, tmp_path / "run", progress=StopsInRound())
    weights = base / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\1\2\3\4")
    with pytest.raises(RunDirectoryError, match="not the one that"):
        resume_run(tmp_path / "run")


def test_python_callers_are_told_what_differs(tmp_path: Path, settings: Settings) -> None:
    path = tmp_path / "run"
    given = fakes(path)
    run(settings, path, target=given.target, oracle=given.oracle, trainer=given.trainer)
    other = load_settings(settings.model_dump(mode="json"), ["seed=4"])
    with pytest.raises(RunDirectoryError, match="seed: 0 -> 4"):
        run(other, path)


STAGE_FILES = ["1_responses.jsonl", "2_verdicts.jsonl", "3_principles.jsonl", "4_revisions.jsonl", "5_examples.jsonl"]


@pytest.mark.parametrize("name", [*(f"rounds/0000/{name}" for name in STAGE_FILES), "baseline/7_held_out.jsonl"])
def test_a_torn_stage_file_is_named_and_computed_again_once_deleted(
    tmp_path: Path, settings: Settings, name: str
) -> None:
    path = tmp_path / "run"
    start_run(settings, path, parts=fakes(path))
    whole = contents(path)
    (path / "metrics.jsonl").unlink()
    (path / name).write_bytes(whole[name][:-20])
    with pytest.raises(RunDirectoryError, match=Path(name).name):
        resume_run(path, parts=fakes(path))
    (path / name).unlink()
    resume_run(path, parts=fakes(path))
    assert contents(path) == whole


def test_torn_logs_are_no_obstacle(tmp_path: Path, settings: Settings) -> None:
    path = tmp_path / "run"
    start_run(settings, path, parts=fakes(path))
    whole = contents(path)
    (path / "metrics.jsonl").unlink()
    for name in ("attempts.jsonl", "timings.jsonl"):
        (path / name).write_bytes((path / name).read_bytes()[:-5])
    resume_run(path, parts=fakes(path))
    warned = [entry["warning"].split()[0] for entry in read_log(path / "warnings.jsonl")]
    assert warned == ["attempts.jsonl", "timings.jsonl"]
    (path / "warnings.jsonl").unlink()
    assert contents(path) == whole


FULL = """
import json, resource, sys
from pathlib import Path
from iteralign.settings.settings import load_settings
from iteralign.errors import IteralignError
from iteralign.runs.run import start_run
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    start_run(load_settings(json.loads(sys.argv[3])), Path(sys.argv[1]))
except IteralignError as error:
    print(type(error).__name__, error)
    sys.exit(error.exit_code)
"""


@pytest.mark.slow
@pytest.mark.parametrize("limit", [3_000, 60_000, 1_000_000])
def test_a_disk_that_is_full_stops_the_run_and_costs_nothing(tmp_path: Path, limit: int) -> None:
    """No file can grow beyond `limit` bytes, by the operating system: prompts, then the adapter, then the model fail."""
    path, whole = tmp_path / "run", tmp_path / "whole"
    small = {**SMALL, "rounds": {"prompts": 4, "limit": 1}}
    command = [sys.executable, "-c", FULL, str(path), str(limit), json.dumps(small)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=200, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.startswith("RunDirectoryError") and "can't be written" in done.stdout, done.stdout + done.stderr
    resume_run(path)
    start_run(load_settings(small), whole)
    assert contents(path) == contents(whole)


READ_ONLY = """
import os, sys
from pathlib import Path
import shutil
from iteralign.errors import IteralignError
from iteralign.files import append_line, write_text, written_whole
if os.geteuid() == 0:  # root may write anywhere
    os.setgid(65534); os.setuid(65534)
place = Path(sys.argv[1])
def directory():
    with written_whole(place / "adapter"):
        pass
for write in (lambda: write_text(place / "a.json", "x"), lambda: append_line(place / "log.jsonl", {}), directory):
    try:
        write()
    except IteralignError as error:
        print(type(error).__name__, error)
"""


def test_a_directory_that_may_not_be_written_to_is_one_clear_error(tmp_path: Path) -> None:
    place = tmp_path / "run"
    place.mkdir()
    for directory in (place, *tmp_path.parents[:2], tmp_path):
        directory.chmod(0o755)
    place.chmod(0o555)
    code = "import sys; sys.path[:0] = " + repr(sys.path) + "\n" + READ_ONLY
    done = subprocess.run([sys.executable, "-c", code, str(place)], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 3 and all(line.startswith("RunDirectoryError") for line in lines), done.stdout + done.stderr
    assert all("Permission denied" in line for line in lines) and list(place.iterdir()) == []

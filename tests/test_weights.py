"""Full weights: written beside the work, before any file that says so; or not at all, and trained again where needed."""

import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from iteralign.errors import ConfigError, RunDirectoryError
from iteralign.files import Background
from iteralign.records import Principle
from iteralign.rundir.directory import RunDirectory
from iteralign.runs.progress import Silent
from iteralign.runs.retrain import train_again
from iteralign.runs.run import Outcome, build_parts, resume_run, start_run
from iteralign.settings.settings import load_settings
from iteralign.weights import model as model_module

SMALL = {
    "model": {"path": "demo"},
    "data": {"prompts": "demo", "limit": 16, "held_out": 0.25, "benign_limit": 6},
    "oracle": {"kind": "rules"},
    "rounds": {"prompts": 4, "limit": 3},
    "sampling": {"max_new_tokens": 30},
    "training": {
        "method": "full",
        "epochs": 1,
        "min_benign": 2,
        "max_length": 256,
        "learning_rate": 1e-5,
        "keep": "all",
    },
    "threads": 1,
}


def keeping(keep: str) -> Any:
    return load_settings(SMALL, [f"training.keep={keep}"])


def weights_of(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*.safetensors")}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A run that keeps the weights of all its rounds."""
    outcome = start_run(keeping("all"), tmp_path_factory.mktemp("kept") / "run")
    assert [row.trained for row in outcome.metrics[1:]] == [True, True, True]
    return outcome


def test_a_job_in_the_background_tells_its_error_to_who_waits() -> None:
    background, go = Background(), threading.Event()

    def fails() -> None:
        go.wait(10)
        raise OSError("no space left")

    background.begin(fails)
    assert background.busy
    go.set()
    for _ in range(2):  # whoever waits first must not hide it from the one who writes down that it was done
        with pytest.raises(OSError, match="no space"):
            background.wait()
    assert not background.busy


def test_jobs_follow_each_other() -> None:
    background, done = Background(), list[int]()
    for number in range(5):
        background.begin(lambda number=number: done.append(number))  # type: ignore[misc]
    background.wait()
    assert done == [0, 1, 2, 3, 4]


def test_stages_wait_for_the_weights_before_them_in_their_order(tmp_path: Path) -> None:
    go = threading.Event()
    with RunDirectory.create(tmp_path / "run", keeping("all")) as run:
        keep = run.round(0)
        keep("3_principles", list[Principle])
        run.weights.begin(lambda: go.wait(10) and None)
        keep("4_revisions", list[Any])
        keep("5_examples", list[Any])
        names = {path.name for path in keep.directory.iterdir()}
        assert names == {"3_principles.jsonl"}, "what was computed before stands there, and nothing that came after"
        go.set()
        run.settle()
        assert {path.stem for path in keep.directory.iterdir()} == {"3_principles", "4_revisions", "5_examples"}


def test_nothing_is_said_to_have_trained_whose_weights_could_not_be_written(tmp_path: Path) -> None:
    def full() -> None:
        raise RunDirectoryError("no space left")

    with RunDirectory.create(tmp_path / "run", keeping("all")) as run:
        run.weights.begin(full)
        with pytest.raises(RunDirectoryError, match="no space"):
            run.round(0)("6_checkpoint", list[Principle])
            run.settle()
        assert not list((tmp_path / "run" / "rounds" / "0000").iterdir())


def test_the_run_goes_on_while_weights_are_written(
    tmp_path: Path, kept: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round's weights are not written before its measurement has begun, which needs them: no one waits for the disk."""
    measuring = threading.Event()
    original, waited = model_module.write_model, list[bool]()

    def slow(network: Any, tokenizer: Any, directory: Path, state: Any = None) -> None:
        if "rounds" in directory.parts:
            waited.append(measuring.wait(60))
        original(network, tokenizer, directory, state)

    class Tells(Silent):
        def stage(self, round_number: int | None, rounds: int, stage: str) -> Any:
            if stage == "7_held_out":
                measuring.set()
            elif stage == "6_checkpoint":
                measuring.clear()
            return super().stage(round_number, rounds, stage)

    monkeypatch.setattr(model_module, "write_model", slow)
    start_run(keeping("all"), tmp_path / "run", progress=Tells())
    assert waited == [True, True, True]
    assert weights_of(tmp_path / "run") == weights_of(kept.directory)


class Stops(Exception):
    pass


class StopsBefore(Silent):
    def __init__(self, number: int, stage: str) -> None:
        self.where = (number, stage)

    def stage(self, round_number: int | None, rounds: int, stage: str) -> Any:
        if (round_number, stage) == self.where:
            raise Stops
        return super().stage(round_number, rounds, stage)


def test_a_run_that_keeps_no_weights_ends_with_the_same_model(tmp_path: Path, kept: Outcome) -> None:
    with pytest.raises(Stops):
        start_run(keeping("none"), tmp_path / "run", progress=StopsBefore(2, "1_responses"))
    assert not weights_of(tmp_path / "run")
    outcome = resume_run(tmp_path / "run")
    assert outcome.metrics == kept.metrics
    assert list(weights_of(tmp_path / "run")) == ["model/model.safetensors"]
    model = {name: content for name, content in weights_of(kept.directory).items() if name.startswith("model/")}
    assert weights_of(tmp_path / "run") == model
    warnings = (tmp_path / "run" / "warnings.jsonl").read_text()
    assert warnings.count("round(s) 0, 1 are trained again") == 1 and "it had" not in warnings


def test_earlier_weights_can_be_had_again(tmp_path: Path, kept: Outcome) -> None:
    """What a rollback does where no weights are kept."""
    import torch

    start_run(keeping("none"), tmp_path / "run")
    with RunDirectory.open(tmp_path / "run") as run:
        parts = build_parts(run.settings, run.path)
        assert parts.model is not None
        parts.model.train_again = partial(train_again, run, parts.model, parts.trainer)
        earlier = run.round(1).read("6_checkpoint")
        found = parts.model.at(earlier).state_dict()  # type: ignore[arg-type]
    there = build_parts(keeping("all"), kept.directory).model
    assert there is not None
    expected = there.at(earlier).state_dict()  # type: ignore[arg-type]
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_processes_hand_weights_back_on_disk() -> None:
    with pytest.raises(ConfigError, match="on disk"):
        load_settings(SMALL, ["training.keep=none", "training.processes=2"])

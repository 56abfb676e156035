"""Full weights: written beside the work, before any file that says so."""

import hashlib
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from iteralign.errors import RunDirectoryError, TargetError
from iteralign.records import Principle
from iteralign.rundir import kept_files
from iteralign.rundir.directory import RunDirectory
from iteralign.runs.progress import Silent
from iteralign.runs.rounds import Outcome
from iteralign.runs.run import resume_run, start_run
from iteralign.settings.settings import load_settings
from iteralign.weights import model as model_module
from iteralign.weights.storage import Storage
from iteralign.weights.writing import write_model

SMALL = {
    "model": {"path": "demo"},
    "data": {"prompts": "demo", "limit": 16, "held_out": 0.25, "benign_limit": 6},
    "oracle": {"kind": "rules"},
    "rounds": {"prompts": 4, "limit": 3},
    "sampling": {"max_new_tokens": 12},
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


def test_what_went_wrong_is_told_to_everybody_who_waits(tmp_path: Path) -> None:
    storage, go = Storage(tmp_path), threading.Event()

    def fails(place: Path) -> None:
        go.wait(10)
        raise OSError("no space left")

    storage.write(tmp_path / "checkpoint", fails)
    assert storage.busy
    go.set()
    for _ in range(2):  # whoever waits first must not hide it from the one who writes down that it was done
        with pytest.raises(RunDirectoryError, match="no space"):
            storage.wait()
    assert not storage.busy and not list(tmp_path.iterdir())


def test_writings_follow_each_other(tmp_path: Path) -> None:
    storage, names = Storage(tmp_path), [str(number) for number in range(5)]
    for name in names:
        storage.write(tmp_path / name, lambda place, name=name: (place / "file").write_text(name) and None)  # type: ignore[misc]
    storage.wait()
    assert list(storage.written) == [tmp_path / name / "file" for name in names]
    assert storage.written[tmp_path / "0" / "file"] == (1, hashlib.sha256(b"0").hexdigest())


def assert_set(event: threading.Event) -> None:
    assert event.wait(10)


def test_stages_wait_for_the_weights_before_them_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_files, "WRITTEN_TOGETHER", 0.0)  # else quick stages are written together, later
    go = threading.Event()
    with RunDirectory.create(tmp_path / "run", keeping("all")) as run:
        keep = run.round(0)
        keep("3_principles", list[Principle])
        run.weights.write(tmp_path / "weights", lambda place: assert_set(go))
        keep("4_revisions", list[Any])
        keep("5_examples", list[Any])
        names = {path.name for path in keep.directory.iterdir()}
        assert names == {"3_principles.jsonl"}, "what was computed before stands there, and nothing that came after"
        go.set()
        run.settle()
        assert {path.stem for path in keep.directory.iterdir()} == {"3_principles", "4_revisions", "5_examples"}


def test_nothing_is_said_to_have_trained_whose_weights_could_not_be_written(tmp_path: Path) -> None:
    def full(place: Path) -> None:
        raise RunDirectoryError("no space left")

    with RunDirectory.create(tmp_path / "run", keeping("all")) as run:
        run.weights.write(tmp_path / "weights", full)
        with pytest.raises(RunDirectoryError, match="no space"):
            run.round(0)("6_checkpoint", list[Principle])
            run.settle()
        assert not list((tmp_path / "run" / "rounds" / "0000").iterdir())


def test_the_run_goes_on_while_weights_are_written(
    tmp_path: Path, kept: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round's weights are not written before its measurement has begun, which needs them: no one waits for the disk."""
    measuring = threading.Event()
    original, waited = write_model, list[bool]()

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


def test_a_run_whose_weights_are_gone_says_from_where_it_can_go_on(tmp_path: Path, kept: Outcome) -> None:
    """Somebody made room; or an earlier version, with `training.keep: none`, wrote none."""
    path = tmp_path / "run"
    with pytest.raises(Stops):
        start_run(keeping("last"), path, progress=StopsBefore(2, "1_responses"))
    assert {file.split("/")[1] for file in weights_of(path)} == {"0001"}
    shutil.rmtree(path / "rounds" / "0001" / "checkpoint")
    with pytest.raises(TargetError, match=r"0001/checkpoint is not there.* delete .*0001/6_checkpoint\.json"):
        resume_run(path)
    for number in range(3):
        for stage in (path / "rounds" / f"{number:04d}").glob("*"):
            if number or stage.name >= "6_checkpoint.json":
                stage.unlink()
    assert resume_run(path).metrics == kept.metrics
    assert weights_of(path / "model") == weights_of(kept.directory / "model")


def test_keep_none_of_before_is_keep_last(caplog: pytest.LogCaptureFixture) -> None:
    assert keeping("none").training.keep == "last"
    assert "training.keep: none is no longer there" in caplog.text and "last is taken" in caplog.text

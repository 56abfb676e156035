"""The run directory: whole files, resume, locks, and refusals that name what is wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

from iteralign.errors import CorruptFileError, RunDirectoryError
from iteralign.files import append_line, read_log, write_text
from iteralign.records import Principle, RedTeamPrompt
from iteralign.rundir.directory import RunDirectory
from iteralign.rundir.jsonl import read_records, write_records
from iteralign.rundir.stages import Stages
from iteralign.settings.settings import Settings, load_settings


@pytest.fixture
def settings() -> Settings:
    return load_settings({"model": {"path": "demo"}, "data": {"prompts": "demo"}, "oracle": {"kind": "rules"}})


def begin(path: Path, settings: Settings) -> None:
    with RunDirectory.create(path, settings) as run:
        run.start({"seed": 0}, {"prompts": [RedTeamPrompt(id="a", question="b")]})


def principles(*texts: str) -> list[Principle]:
    return [Principle(id=str(n), text=text, round=0) for n, text in enumerate(texts)]


def test_a_stage_is_computed_once_and_read_back(tmp_path: Path) -> None:
    calls = []

    def step(text: str) -> list[Principle]:
        calls.append(text)
        return principles(text, "line\nbreak and \u2028 separator")

    first = Stages(tmp_path / "0000")("3_principles", step, "x")
    again = Stages(tmp_path / "0000")("3_principles", step, "y")
    assert first == again and calls == ["x"]


def test_a_step_that_fails_leaves_no_file(tmp_path: Path) -> None:
    def step() -> list[Principle]:
        raise ValueError

    with pytest.raises(ValueError):
        Stages(tmp_path / "0000")("3_principles", step)
    assert list((tmp_path / "0000").iterdir()) == []


def test_a_file_half_written_does_not_appear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunDirectoryError, match="No space left"):
        write_text(tmp_path / "x.jsonl", "text")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"id": "a"', "torn"),
        (b'{"id": "a"}\n', r":1 is no Principle: text"),
        (b'{"id": "a", "text": 3, "round": 0}\n', r":1 is no Principle: text"),
        (b"\xff\n", "can't be read"),
        (b"null\n", ":1 is no Principle"),
    ],
)
def test_a_broken_stage_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "3_principles.jsonl"
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match=message):
        read_records(path, Principle)


def test_records_round_trip(tmp_path: Path) -> None:
    written = principles("Ünïcode \u202e right to left", "{response} {braces}", "\\n", "")
    write_records(tmp_path / "r.jsonl", written)
    assert read_records(tmp_path / "r.jsonl", Principle) == written


def test_a_log_with_a_torn_line_stays_readable(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    append_line(path, {"n": 1})
    with path.open("a", encoding="utf-8") as file:
        file.write('{"n": 2')
    append_line(path, {"n": 3})
    assert read_log(path) == [{"n": 1}, {"n": 3}]


def test_a_populated_directory_is_refused_with_the_differing_keys(tmp_path: Path, settings: Settings) -> None:
    begin(tmp_path / "run", settings)
    changed = load_settings(settings.model_dump(mode="json"), ["training.epochs=9"])
    with (
        pytest.raises(RunDirectoryError, match=r"training\.epochs: 3 -> 9.*resume"),
        RunDirectory.create(tmp_path / "run", changed),
    ):
        pass
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("precious")
    with pytest.raises(RunDirectoryError, match="not an empty"), RunDirectory.create(tmp_path / "other", settings):
        pass


def test_prompts_changed_by_hand_are_refused(tmp_path: Path, settings: Settings) -> None:
    begin(tmp_path / "run", settings)
    with (tmp_path / "run" / "prompts.jsonl").open("a") as file:
        file.write("\n")
    with pytest.raises(RunDirectoryError, match=r"prompts\.jsonl"), RunDirectory.open(tmp_path / "run"):
        pass


def test_settings_changed_by_hand_are_refused_with_the_differing_keys(tmp_path: Path, settings: Settings) -> None:
    begin(tmp_path / "run", settings)
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace("epochs: 3", "epochs: 4").replace("threads: null", "threads: 1"))
    with (
        pytest.raises(RunDirectoryError, match=r"training\.epochs: 3 -> 4\. Its rounds"),
        RunDirectory.open(tmp_path / "run"),
    ):
        pass


def test_a_cap_may_be_raised_and_nothing_else_changed(tmp_path: Path, settings: Settings) -> None:
    begin(tmp_path / "run", settings)
    with RunDirectory.open(tmp_path / "run", ["oracle.token_budget=900"]) as run:
        assert run.settings.oracle.token_budget == 900
    with RunDirectory.open(tmp_path / "run") as run:
        assert run.settings.oracle.token_budget == 900
    events = [entry["event"] for entry in read_log(tmp_path / "run" / "attempts.jsonl")]
    assert events == ["settings: oracle.token_budget: None -> 900"]
    with (
        pytest.raises(RunDirectoryError, match=r"seed: 0 -> 1.*oracle\.cost_budget"),
        RunDirectory.open(tmp_path / "run", ["seed=1"]),
    ):
        pass


def test_a_run_of_another_layout_is_refused(tmp_path: Path, settings: Settings) -> None:
    begin(tmp_path / "run", settings)
    path = tmp_path / "run" / "environment.json"
    path.write_text(path.read_text().replace('"run_directory": 2', '"run_directory": 0'))
    with pytest.raises(RunDirectoryError, match="another version"), RunDirectory.open(tmp_path / "run"):
        pass


def test_a_settings_file_alone_is_no_run(tmp_path: Path, settings: Settings) -> None:
    """`iteralign resume .` beside the user's own config.yaml must start nothing there."""
    (tmp_path / "config.yaml").write_text("model: {path: demo}\n")
    with pytest.raises(RunDirectoryError, match="holds no run"), RunDirectory.open(tmp_path):
        pass
    with pytest.raises(RunDirectoryError, match="not an empty"), RunDirectory.create(tmp_path, settings):
        pass
    assert (tmp_path / "config.yaml").read_text() == "model: {path: demo}\n"


def test_nothing_to_resume(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="Start one by"), RunDirectory.open(tmp_path):
        pass


def test_a_second_process_is_refused_and_a_dead_one_is_no_obstacle(tmp_path: Path, settings: Settings) -> None:
    path = tmp_path / "run"
    begin(path, settings)
    code = (
        "import sys, time; from pathlib import Path; from iteralign.rundir.directory import RunDirectory\n"
        "with RunDirectory.open(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline().strip() == "held"
        with pytest.raises(RunDirectoryError, match=str(holder.pid)), RunDirectory.open(path):
            pass
    finally:
        holder.kill()
        holder.wait()
    with RunDirectory.open(path) as run:
        assert len(run.prompts("prompts")) == 1

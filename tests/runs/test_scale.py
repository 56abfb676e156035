"""What a long run must not do: begin again what is done, or wait for the disk at each of its files."""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from iteralign import layout
from iteralign.constitution import forms
from iteralign.constitution.given import read_ledger
from iteralign.fakes import COMPLIES, DECLINES, FakeOracle, FakeTarget, FakeTrainer
from iteralign.interfaces import Trainer
from iteralign.prompts.forms import prompt_form
from iteralign.records import Checkpoint, Principle, TrainingExample, Verdict
from iteralign.rundir import jsonl, kept_files
from iteralign.rundir.manifest import Manifest
from iteralign.runs import constitution_files
from iteralign.runs.parts import Parts
from iteralign.runs.run import resume_run, start_run
from iteralign.settings.settings import Settings, load_settings

BASE = Checkpoint(kind="base", path="base")


def settings(prompts: int = 40, **training: Any) -> Settings:
    return load_settings(
        {
            "model": {"path": "demo"},
            "data": {"prompts": "demo", "limit": prompts, "held_out": 0.2, "benign": None},
            "oracle": {"kind": "rules"},
            "rounds": {"prompts": 4},
            "constitution": {"gate": {"enabled": False}},
            "training": training,
        }
    )


def fails_in_every_round(text: str, checkpoint: Checkpoint) -> str:
    draw = hashlib.sha256(f"{checkpoint.path} {text}".encode()).digest()[0]
    return COMPLIES if "principles" not in text.lower() and draw < 128 else DECLINES


class Proposer(FakeOracle):
    """A principle of its own for each round."""

    def propose(
        self, failures: Sequence[Verdict], adopted: Sequence[Principle], contrast: Sequence[Verdict] = ()
    ) -> list[Principle]:
        evidence = tuple(failure.response.prompt.id for failure in failures)
        words = re.findall("..", hashlib.sha256(evidence[0].encode()).hexdigest())
        return [Principle(id="", text=f"Avoid {' '.join(words)}.", round=0, evidence=evidence)]


class FullTrainer(FakeTrainer):
    """Leaves full weights behind."""

    def finetune(
        self, start: Checkpoint, examples: Sequence[TrainingExample], directory: Path, round_number: int
    ) -> Checkpoint:
        made = super().finetune(start, examples, directory, round_number)
        (directory / layout.ADAPTER).rename(directory / layout.FULL_WEIGHTS)
        path = (directory / layout.FULL_WEIGHTS).relative_to(self.root).as_posix()
        return made.model_copy(update={"kind": "full", "path": path})


class EagerTarget(FakeTarget):
    """Reads weights as soon as it is told of them."""

    def __init__(self, root: Path) -> None:
        super().__init__(fails_in_every_round)
        self.root = root
        self.read: list[str] = []

    def load(self, checkpoint: Checkpoint) -> None:
        super().load(checkpoint)
        self.read.append(checkpoint.path)
        if checkpoint.kind != "base":
            assert (self.root / checkpoint.path / "fake.json").read_text()


def parts(run: Path, target: FakeTarget | None = None, trainer: Trainer | None = None) -> Parts:
    given = target or FakeTarget(fails_in_every_round), Proposer(), trainer or FakeTrainer(run)
    return Parts(*given, prompt_form("plain"), BASE)


def test_resuming_with_a_target_that_reads_weights_at_once_trains_nothing_again(tmp_path: Path) -> None:
    """The weights of earlier rounds are gone by then: only the last ones are kept."""
    run, trainer = tmp_path / "run", FullTrainer(tmp_path / "run")
    full = settings(method="full", keep="last")
    start_run(full, run, parts=parts(run, EagerTarget(run), trainer))
    assert len(trainer.calls) > 3 and len(list(run.glob("rounds/*/checkpoint"))) <= 2
    again, target = FullTrainer(run), EagerTarget(run)
    resume_run(run, parts=parts(run, target, again))
    assert again.calls == [] and target.calls == [] and target.read == []


def test_weights_are_dropped_only_after_what_takes_their_place_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def removed(place: Path, **_: object) -> None:
        trained = (tmp_path / "run").glob("rounds/*/checkpoint")
        seen.append(all((path.parent / layout.CHECKPOINT.file).exists() for path in trained))

    monkeypatch.setattr("iteralign.runs.rounds.shutil.rmtree", removed)
    run = tmp_path / "run"
    start_run(settings(method="full", keep="last"), run, parts=parts(run, trainer=FullTrainer(run)))
    assert len(seen) > 3 and all(seen)


def test_quick_rounds_wait_for_the_disk_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []
    monkeypatch.setattr(os, "fsync", begun.append)
    counts, lines = {}, {}
    for name, seconds in (("together", 3600.0), ("one by one", 0.0)):
        monkeypatch.setattr(kept_files, "WRITTEN_TOGETHER", seconds)
        begun.clear()
        start_run(settings(), tmp_path / name, parts=parts(tmp_path / name))
        counts[name], lines[name] = len(begun), len(Manifest(tmp_path / name).lines)
    assert lines["together"] * 3 < lines["one by one"] and counts["together"] < counts["one by one"]
    one, other = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("[0-9c]*.[jym]*")}
        for name in counts
    )
    assert one == other and len(one) > 40


def test_resuming_a_finished_run_writes_none_of_its_files_again(tmp_path: Path) -> None:
    run = tmp_path / "run"
    start_run(settings(), run, parts=parts(run))
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*.*") if path.is_file()}
    resume_run(run, parts=parts(run))
    changed = {path.name for path, time in before.items() if path.stat().st_mtime_ns != time}
    assert changed <= {"attempts.jsonl", "manifest.jsonl", ".lock"}


def test_a_derived_file_that_was_deleted_is_written_again(tmp_path: Path) -> None:
    run = tmp_path / "run"
    start_run(settings(), run, parts=parts(run))
    files = [run / layout.CONSTITUTION, run / "rounds" / "0003" / layout.ROUND_METRICS]
    before = [path.read_bytes() for path in files]
    for path in files:
        path.unlink()
    resume_run(run, parts=parts(run))
    assert [path.read_bytes() for path in files] == before


def test_a_large_constitution_is_written_rarely_and_whole_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = []

    def counted(form: str, *given: Any) -> str:
        written.append(form)
        return forms.written(form, *given)

    monkeypatch.setattr("iteralign.runs.constitution_files.written", counted)
    monkeypatch.setattr(constitution_files, "_SHARE", 10_000_000)
    run, trainer = tmp_path / "run", FakeTrainer(tmp_path / "run")
    outcome = start_run(settings(), run, parts=parts(run, trainer=trainer))
    assert len(trainer.calls) > 3 and written.count("yaml") == 2  # the first, and at the end
    ledger, effects = read_ledger(run / layout.CONSTITUTION)
    assert [one for one in ledger if one.status == "adopted"] == outcome.constitution and effects


class Interrupted(Exception):
    pass


class StopsInTraining(FakeTrainer):
    """Trains three rounds."""

    def finetune(
        self, start: Checkpoint, examples: Sequence[TrainingExample], directory: Path, round_number: int
    ) -> Checkpoint:
        if len(self.calls) == 3:
            raise Interrupted
        return super().finetune(start, examples, directory, round_number)


def test_a_run_that_is_stopped_leaves_all_that_it_has_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_files, "WRITTEN_TOGETHER", 3600.0)
    monkeypatch.setattr(constitution_files, "_SHARE", 10_000_000)
    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        start_run(settings(), run, parts=parts(run, trainer=StopsInTraining(run)))
    rounds = sorted((run / layout.ROUNDS).iterdir())
    assert (rounds[-1] / layout.EXAMPLES.file).exists() and not (rounds[-1] / layout.CHECKPOINT.file).exists()
    ledger, _ = read_ledger(run / layout.CONSTITUTION)
    done = [path for path in rounds if (path / layout.ROUND_METRICS).exists()]
    files = [path / layout.PRINCIPLES.file for path in done if (path / layout.PRINCIPLES.file).exists()]
    assert len(ledger) == sum(path.read_text().count("\n") for path in files) == 3


def test_resuming_reads_each_answer_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A verdict has its response in it, and the prompts are asked for by several parts of a run."""
    run = tmp_path / "run"
    start_run(settings(), run, parts=parts(run))
    read: list[str] = []
    real = jsonl.read_records

    def counted(path: Path, kind: Any) -> Any:
        read.append(path.relative_to(run).as_posix())
        return real(path, kind)

    monkeypatch.setattr("iteralign.rundir.stages.read_records", counted)
    monkeypatch.setattr("iteralign.rundir.begun.read_records", counted)
    resume_run(run, parts=parts(run))
    assert layout.begun_with(layout.PROMPTS) in read and f"rounds/0003/{layout.VERDICTS.file}" in read
    assert len(read) == len(set(read)) and f"rounds/0003/{layout.RESPONSES.file}" not in read
    (run / "rounds" / "0003" / layout.RESPONSES.file).unlink()
    again = FakeTarget(fails_in_every_round)
    resume_run(run, parts=parts(run, again))
    assert (run / "rounds" / "0003" / layout.RESPONSES.file).exists() and len(again.calls) == 1

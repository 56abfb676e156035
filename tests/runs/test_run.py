"""Whole runs: on fakes, and on the demo's model; stopped between stages and resumed; every file of the contract."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from iteralign.activity import Work
from iteralign.errors import RunDirectoryError
from iteralign.fakes import FakeOracle, FakeTarget, FakeTrainer
from iteralign.integrity.verify import verify_run
from iteralign.prompts.forms import prompt_form
from iteralign.records import Checkpoint, Generation, Response, Sampling, TrainingExample, Verdict
from iteralign.rundir.directory import RunDirectory
from iteralign.runs.parts import Parts
from iteralign.runs.progress import Silent
from iteralign.runs.rounds import Outcome
from iteralign.runs.run import resume_run, run, start_run
from iteralign.settings.renamed import RENAMED
from iteralign.settings.settings import Settings, load_settings

SMALL = {
    "model": {"path": "demo"},
    "data": {"prompts": "demo", "limit": 20, "held_out": 0.4, "benign_limit": 10},
    "oracle": {"kind": "rules"},
    "rounds": {"prompts": 4},
    "sampling": {"max_new_tokens": 8},
    "training": {"epochs": 1, "min_benign": 2, "max_length": 256, "lora_r": 2},
    "threads": 1,
}


@pytest.fixture
def settings() -> Settings:
    return load_settings(SMALL)


def fakes(directory: Path, **parts: Any) -> Parts:
    given: dict[str, Any] = {
        "target": FakeTarget(),
        "oracle": FakeOracle(),
        "trainer": FakeTrainer(directory),
        "form": prompt_form("plain"),
        "base": Checkpoint(kind="base", path="base"),
    }
    return Parts(**(given | parts))


def contents(directory: Path) -> dict[str, bytes]:
    """All files but for times and attempts."""
    apart = {"timings.jsonl", "attempts.jsonl", "manifest.jsonl", "report.html", ".lock"}
    files = (path for path in sorted(directory.rglob("*")) if path.is_file() and path.name not in apart)
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def test_a_run_writes_what_the_contract_says(tmp_path: Path, settings: Settings) -> None:
    outcome = start_run(settings, tmp_path / "run", parts=fakes(tmp_path / "run"))
    names = set(contents(tmp_path / "run"))
    assert {"config.yaml", "environment.json", "prompts.jsonl", "constitution.yaml", "constitution.md"} <= names
    assert {"metrics.jsonl", "held_out.jsonl", "benign.jsonl", "benign_held_out.jsonl"} <= names
    first = {name.removeprefix("rounds/0000/") for name in names if name.startswith("rounds/0000/")}
    stages = {"1_responses.jsonl", "2_verdicts.jsonl", "3_principles.jsonl", "4_revisions.jsonl", "5_examples.jsonl"}
    assert stages | {"6_checkpoint.json", "metrics.json", "7_held_out.jsonl", "8_benign.jsonl"} <= first
    assert not any(name.endswith((".part", ".pkl", ".bin", ".pt")) for name in names)
    principles = yaml.safe_load((tmp_path / "run" / "constitution.yaml").read_text())["principles"]
    ids = {json.loads(line)["id"] for line in (tmp_path / "run" / "prompts.jsonl").read_text().splitlines()}
    assert principles and all(set(entry["evidence"]) <= ids for entry in principles)
    assert load_settings(tmp_path / "run" / "config.yaml") == settings
    assert outcome.metrics[0].round == -1 and outcome.metrics[0].held_out is not None


def test_a_finished_run_is_read_back_by_resume(tmp_path: Path, settings: Settings) -> None:
    first = start_run(settings, tmp_path / "run", parts=fakes(tmp_path / "run"))
    target = FakeTarget()
    again = resume_run(tmp_path / "run", parts=fakes(tmp_path / "run", target=target))
    assert again == first and target.calls == []


class Stops(Exception):
    """Thrown where a run is to be stopped."""


class StopsAt(Silent):
    """Stops the run when its nth stage is about to be computed."""

    def __init__(self, stage: int) -> None:
        self.left = stage

    def stage(self, round_number: int | None, rounds: int, stage: str) -> Any:
        if self.left == 0:
            raise Stops
        self.left -= 1
        return super().stage(round_number, rounds, stage)


def test_a_run_stopped_before_any_stage_resumes_to_the_same_files(tmp_path: Path, settings: Settings) -> None:
    start_run(settings, tmp_path / "whole", parts=fakes(tmp_path / "whole"))
    whole = contents(tmp_path / "whole")
    stage = 0
    while True:
        path = tmp_path / f"stopped-{stage}"
        try:
            start_run(settings, path, parts=fakes(path), progress=StopsAt(stage))
            break
        except Stops:
            resume_run(path, parts=fakes(path))
        assert contents(path) == whole, f"stopped before stage {stage}"
        stage += 1
    assert stage >= 12


def test_a_run_stopped_within_a_trial_resumes_to_the_same_files(tmp_path: Path) -> None:
    """A round's trials take several batches of answers, one after the other; the run may be stopped before any of them."""
    hard = {"gate": {"certainty": 1, "min_lift": 1}}
    settings = load_settings(SMALL | {"rounds": {"prompts": 12}, "constitution": hard})
    whole = FakeTarget()
    start_run(settings, tmp_path / "whole", parts=fakes(tmp_path / "whole", target=whole))
    expected, stopped = contents(tmp_path / "whole"), 0

    class StopsBefore(FakeTarget):
        def generate(self, inputs: Sequence[str], sampling: Sampling) -> list[Generation]:
            if len(self.calls) == at:
                raise Stops
            return super().generate(inputs, sampling)

    for at in range(len(whole.calls)):
        if whole.calls[at][1].seed == settings.sampling.seed:  # no trial's
            continue
        directory = tmp_path / f"stopped-{at}"
        with pytest.raises(Stops):
            start_run(settings, directory, parts=fakes(directory, target=StopsBefore()))
        resume_run(directory, parts=fakes(directory))
        assert contents(directory) == expected
        stopped += 1
    assert stopped > 2


def test_a_run_that_an_earlier_version_began_resumes(tmp_path: Path) -> None:
    """Its settings have the keys of then: those of texts, and none of those that have come since."""
    (tmp_path / "draft.txt").write_text("Mine: {question} {draft} {principles}", encoding="utf-8")
    (path := tmp_path / "run").mkdir()
    changed = SMALL | {"form": {"texts": {"with_draft": str(tmp_path / "draft.txt")}}}
    with pytest.raises(Stops):
        start_run(load_settings(changed), path / "stopped", parts=fakes(path / "stopped"), progress=StopsAt(6))
    config = path / "stopped" / "config.yaml"
    values = yaml.safe_load(config.read_text(encoding="utf-8"))
    del values["oracle"]["texts"], values["model"]["served"]["timeout"], values["model"]["served"]["max_retries"]
    values["oracle"] |= {f"{name}_file": None for name in ("judge", "judge_repair", "proposer", "proposer_repair")}
    values["form"] |= {f"{name}_file": None for name in ("principles", "critique", "critiqued", "template")}
    values["form"] |= {"draft_file": values["form"].pop("texts")["with_draft"]}
    config.write_text(yaml.safe_dump(values), encoding="utf-8")
    resume_run(path / "stopped", parts=fakes(path / "stopped"))
    start_run(load_settings(changed), path / "whole", parts=fakes(path / "whole"))
    whole, resumed = contents(path / "whole"), contents(path / "stopped")
    assert {name for name in whole if whole[name] != resumed[name]} <= {
        "config.yaml"
    } and whole.keys() == resumed.keys()


def test_a_run_that_an_earlier_version_began_with_old_names_of_settings_resumes(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, old = tmp_path / "run", [(old, new) for old, new in RENAMED.items() if ".texts." not in new]
    write = RunDirectory.write

    def as_before(run: RunDirectory, file: Path, text: str, *more: Any) -> None:
        if file.name in ("config.yaml", "environment.json"):
            values = yaml.safe_load(text)
            for key, new in old:
                *sections, name = key.split(".")
                inner = values.get("settings", values)
                for section in sections:
                    inner = inner[section]
                inner[name] = inner.pop(new.rpartition(".")[2])
            text = json.dumps(values)
        write(run, file, text, *more)

    with monkeypatch.context() as patch, pytest.raises(Stops):
        patch.setattr(RunDirectory, "write", as_before)
        start_run(settings, path, parts=fakes(path), progress=StopsAt(10))
    assert "benign_share" not in (path / "config.yaml").read_text() + (path / "environment.json").read_text()
    resume_run(path, parts=fakes(path))
    assert verify_run(path).problems == []
    resume_run(path, overrides=["oracle.token_budget=9000"], parts=fakes(path))
    assert load_settings(path / "config.yaml").oracle.token_budget == 9000
    start_run(settings, tmp_path / "whole", parts=fakes(tmp_path / "whole"))
    named = {"config.yaml", "environment.json"}
    ours, theirs = contents(path), contents(tmp_path / "whole")
    assert {name for name in theirs if ours[name] != theirs[name]} == named and set(ours) == set(theirs)


@pytest.mark.slow
@pytest.mark.parametrize(
    "chosen",
    [
        [],
        ["training.objective=dpo", "training.dpo.reference=base"],
        ["training.objective=distill", "training.distill.max_new_tokens=8"],
    ],
)
def test_a_real_run_stopped_during_training_resumes_to_the_same_bytes(tmp_path: Path, chosen: list[str]) -> None:
    settings = load_settings(SMALL, [*chosen, "rounds.limit=2"])
    whole = start_run(settings, tmp_path / "whole")
    assert any(row.trained for row in whole.metrics)

    class StopsInTraining(Silent):
        steps = 0

        def advance(self, work: Work) -> None:
            if self.in_training:
                self.steps += 1
                if self.steps == 3:
                    raise Stops

        def stage(self, round_number: int | None, rounds: int, stage: str) -> Any:
            self.in_training = stage == "6_checkpoint"
            return super().stage(round_number, rounds, stage)

    with pytest.raises(Stops):
        start_run(settings, tmp_path / "stopped", progress=StopsInTraining())
    resume_run(tmp_path / "stopped")
    mended, expected = contents(tmp_path / "stopped"), contents(tmp_path / "whole")
    assert mended.keys() == expected.keys()
    assert [name for name in expected if mended[name] != expected[name]] == []


def test_a_held_out_question_never_reaches_training(tmp_path: Path, settings: Settings) -> None:
    run = tmp_path / "run"
    trainer = FakeTrainer(run)
    start_run(settings, run, parts=fakes(run, trainer=trainer))
    held = {json.loads(line)["question"] for line in (run / "held_out.jsonl").read_text().splitlines()}
    held |= {json.loads(line)["question"] for line in (run / "benign_held_out.jsonl").read_text().splitlines()}
    rows: list[TrainingExample] = [row for call in trainer.calls for row in call[1]]
    assert rows and held
    assert not any(question in row.prompt for row in rows for question in held)


def test_benign_answers_are_the_base_models_and_judged(tmp_path: Path, settings: Settings) -> None:
    class Picky(FakeOracle):
        def judge(self, responses: Any) -> list[Verdict]:
            return [
                verdict.model_copy(update={"label": "unacceptable"})
                if verdict.response.prompt.benign and verdict.response.prompt.id.endswith("0")
                else verdict.model_copy(update={"label": "acceptable"})
                if verdict.response.prompt.benign
                else verdict
                for verdict in super().judge(responses)
            ]

    run = tmp_path / "run"
    trainer = FakeTrainer(run)
    settings = load_settings(
        SMALL, ["constitution.gate.enabled=false"]
    )  # the fake target refuses all under any principle
    start_run(settings, run, parts=fakes(run, oracle=Picky(), trainer=trainer))
    benign = [row for call in trainer.calls for row in call[1] if row.kind == "benign"]
    assert benign and not any(row.prompt_id.endswith("0") for row in benign)


def test_undetermined_answers_are_listed_at_the_end(tmp_path: Path, settings: Settings) -> None:
    class Unsure(FakeOracle):
        def judge(self, responses: list[Response]) -> list[Verdict]:  # type: ignore[override]
            return [
                Verdict(response=response, label="undetermined", reason="the reply was prose", judge="fake")
                for response in responses
            ]

    outcome = start_run(settings, tmp_path / "run", parts=fakes(tmp_path / "run", oracle=Unsure()))
    assert len(outcome.undetermined) == 12 and outcome.metrics[-1].undetermined == 4
    assert outcome.metrics[0].held_out is not None and outcome.metrics[0].held_out.total == 0


def test_a_wrong_endpoint_stops_before_anything_is_generated(tmp_path: Path, settings: Settings) -> None:
    class Locked(FakeOracle):
        def check(self) -> None:
            raise RunDirectoryError("no key")

    target = FakeTarget()
    with pytest.raises(RunDirectoryError, match="no key"):
        start_run(settings, tmp_path / "run", parts=fakes(tmp_path / "run", oracle=Locked(), target=target))
    assert target.calls == []


def test_full_weights_keep_only_the_last(tmp_path: Path) -> None:
    settings = load_settings(SMALL, ["training.method=full", "rounds.limit=2", "training.learning_rate=0.00001"])
    outcome: Outcome = start_run(settings, tmp_path / "run")
    assert [row.trained for row in outcome.metrics[1:]] == [True, True]
    assert not (tmp_path / "run" / "rounds" / "0000" / "checkpoint").exists()
    assert (tmp_path / "run" / outcome.checkpoint.path / "model.safetensors").exists()
    assert resume_run(tmp_path / "run") == outcome


def test_the_aligned_model_loads_with_transformers(tmp_path: Path) -> None:
    import torch
    import transformers

    start_run(load_settings(SMALL, ["rounds.limit=1"]), tmp_path / "run")
    auto: Any = transformers.AutoModelForCausalLM
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "run" / "model")
    network = auto.from_pretrained(tmp_path / "run" / "model")
    ids = tokenizer("\n\nHuman: How do I bake bread?\n\nAssistant:", return_tensors="pt").input_ids
    with torch.no_grad():
        logits = network(ids).logits
    assert torch.isfinite(logits).all()
    assert Sampling().temperature == 0


def test_the_lock_is_let_go_after_an_error(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(Stops):
        start_run(settings, tmp_path / "run", parts=fakes(tmp_path / "run"), progress=StopsAt(2))
    with RunDirectory.open(tmp_path / "run") as run:
        assert run.settings == settings


def test_a_check_that_is_left_out_is_said_so(tmp_path: Path, settings: Settings) -> None:
    heard: list[str] = []

    class Hears(Silent):
        def note(self, text: str) -> None:
            heard.append(text)

    several = settings.model_copy(update={"revision": settings.revision.model_copy(update={"best_of": 2})})
    start_run(several, tmp_path / "run", parts=fakes(tmp_path / "run"), progress=Hears())
    assert any("no capability check" in text for text in heard)
    assert any("revision.best_of 2" in text and "the first that passes" in text for text in heard)


@pytest.mark.parametrize("own", ["target", "oracle", "trainer", "form"])
def test_only_what_is_missing_is_built(own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the settings' oracle no key is wanted, of their target no server, where there is one of one's own."""
    from iteralign.runs import build
    from iteralign.runs.parts import build_parts

    made: dict[str, Any] = {
        "target": FakeTarget(),
        "oracle": FakeOracle(),
        "trainer": FakeTrainer(tmp_path),
        "form": prompt_form("plain"),
    }
    built: list[str] = []

    def noted(name: str, *_: object) -> object:
        built.append(name)
        return made[name]

    for name in made:
        monkeypatch.setattr(build, f"build_{name}", partial(noted, name))
    own_part: Any = made[own]
    made[own] = None  # so that it is found nowhere but where it was given
    parts = build_parts(load_settings(SMALL), tmp_path, **{own: own_part})
    assert built == [name for name in made if name != own]
    assert [getattr(parts, name) for name in made] == [part or own_part for part in made.values()]
    assert (parts.model is None) == (own == "target")


def test_a_run_on_parts_of_ones_own_wants_neither_key_nor_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    wants = load_settings(SMALL | {"model": {"path": "./absent"}, "oracle": {"judge": {"model": "some-judge"}}})
    here = tmp_path / "run"
    mine: Any = {"target": FakeTarget(), "oracle": FakeOracle(), "trainer": FakeTrainer(here)}
    first = run(wants, here, **mine)
    assert first.metrics[-1].round >= 0 and run(wants, here, **mine) == first

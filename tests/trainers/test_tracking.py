"""Trackers of a run: tensorboard's own files read back; the others by transformers' way of calling them."""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from iteralign.errors import ConfigError, MissingExtraError
from iteralign.fakes import FakeOracle, FakeTarget, FakeTrainer
from iteralign.files import read_log
from iteralign.prompts.forms import prompt_form
from iteralign.records import Checkpoint, Response, TrainingExample, Verdict
from iteralign.runs.parts import Parts
from iteralign.runs.run import resume_run, start_run
from iteralign.settings.settings import load_settings
from iteralign.settings.training import TrainingSettings
from iteralign.trainers.sft import SFT
from iteralign.trainers.tracking import Tracking, check_trackers
from iteralign.weights.model import LocalModel

EXAMPLES = [
    TrainingExample(
        prompt=f"\n\nHuman: question {n}?\n\nAssistant:",
        completion=f" answer {n}",
        kind="revision",
        prompt_id=str(n),
        round=0,
    )
    for n in range(6)
]
SETTINGS: dict[str, Any] = {
    "name": "followed",
    "model": {"path": "demo"},
    "data": {"prompts": "demo", "limit": 20, "held_out": 0.4, "benign_limit": 10},
    "oracle": {"kind": "rules"},
    "rounds": {"prompts": 4},
}


def scalars(directory: Path) -> dict[str, list[tuple[int, float]]]:
    """All points of all event files: (step, value) by tag."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    points: dict[str, list[tuple[int, float]]] = {}
    for file in sorted(directory.iterdir()):
        events = accumulator.EventAccumulator(str(file)).Reload()
        for tag in events.Tags()["scalars"]:
            points.setdefault(tag, []).extend((event.step, event.value) for event in events.Scalars(tag))
    return points


def fakes(directory: Path, **given: Any) -> Parts:
    parts: dict[str, Any] = {"target": FakeTarget(), "oracle": FakeOracle(), "trainer": FakeTrainer(directory)}
    return Parts(**(parts | given), form=prompt_form("plain"), base=Checkpoint(kind="base", path="base"))


def tracked(*names: str) -> Any:
    return load_settings(SETTINGS | {"training": {"report_to": names}})


def rounds(path: Path, root: Path, names: Sequence[str], count: int = 3) -> Any:
    root.mkdir(exist_ok=True)
    tracking = Tracking(names, root, "tiny", {})
    model = LocalModel(str(path), root=root, device="cpu")
    trainer = SFT(model, TrainingSettings(epochs=1, batch_size=2, lora_r=2), 0, tracking)
    checkpoint = model.base
    for number in range(count):
        checkpoint = trainer.finetune(checkpoint, EXAMPLES, root / "rounds" / f"{number:04d}", number)
    tracking.close()
    return checkpoint


def test_training_has_one_axis_of_steps_over_the_rounds(tiny_llama: Path, tmp_path: Path) -> None:
    last = rounds(tiny_llama, tmp_path, ["tensorboard"])
    assert (last.steps, last.total_steps) == (3, 9)
    points = scalars(tmp_path / "tensorboard")
    assert [step for step, _ in points["train/loss"]] == list(range(1, 10))
    assert [dict(points["train/round"])[step] for step in (1, 3, 4, 9)] == [0, 0, 1, 2]
    rounds(tiny_llama, tmp_path, ["tensorboard"], 4)  # as a run does that is resumed before its stage was kept
    assert [step for step, _ in scalars(tmp_path / "tensorboard")["train/loss"]] == list(range(1, 13))


def test_tracking_does_not_change_what_is_learnt(tiny_llama: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    for name, names in (("with", ["tensorboard"]), ("without", [])):
        rounds(tiny_llama, tmp_path / name, names, 2)
    weights = [
        (tmp_path / name / "rounds/0001/adapter/adapter_model.safetensors").read_bytes() for name in ("with", "without")
    ]
    assert weights[0] == weights[1] and not (tmp_path / "without" / "tensorboard").exists()


def test_the_scoreboard_is_there_by_round_as_the_run_has_it(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = tmp_path / "run"
    outcome = start_run(tracked("tensorboard"), run, parts=fakes(run))
    points = scalars(run / "tensorboard")
    for tag, name in (("held_out_unacceptable", "held_out"), ("benign_refused", "benign_refusals")):
        shares = [(row.round + 1, getattr(row, name)) for row in outcome.metrics]
        measured: list[Any] = [
            (step, pytest.approx(share.count / share.total)) for step, share in shares if share is not None
        ]
        assert points[f"eval/{tag}"] == measured and len(measured) > 1
    after = outcome.metrics[1:]
    assert points["eval/failures"] == [(row.round + 1, row.failures) for row in after]
    assert points["eval/verified"] == [(row.round + 1, row.verified) for row in after]
    assert points["eval/principles"][-1] == (len(after), len(outcome.constitution))
    assert (
        points["eval/target_tokens"][0][1] == after[0].tokens.read + after[0].tokens.written + after[0].tokens.trained
    )
    assert [step for step, _ in points["eval/oracle_tokens"]] == list(range(len(after) + 1))
    assert points["eval/oracle_cost"][-1][1] == 0


def test_a_resumed_run_writes_each_point_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")

    class Stops(FakeOracle):
        calls = 0

        def judge(self, responses: Sequence[Response]) -> list[Verdict]:
            self.calls += 1
            if self.calls > stop_after:
                raise KeyboardInterrupt
            return super().judge(responses)

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    start_run(tracked("tensorboard"), whole, parts=fakes(whole))
    stop_after = 8
    with pytest.raises(KeyboardInterrupt):
        start_run(tracked("tensorboard"), broken, parts=fakes(broken, oracle=Stops()))
    begun = scalars(broken / "tensorboard")
    assert len(begun["eval/held_out_unacceptable"]) > 1
    assert len(begun["eval/failures"]) < len(scalars(whole / "tensorboard")["eval/failures"])
    resume_run(broken, parts=fakes(broken))
    resume_run(broken, parts=fakes(broken))  # only reads back
    assert scalars(broken / "tensorboard") == scalars(whole / "tensorboard")
    assert read_log(broken / "tracked.jsonl") == read_log(whole / "tracked.jsonl")


class Tracker:
    """Stands for a tracker's callback; `calls` has what it was told."""

    calls: list[Any]

    def on_train_begin(self, arguments: Any, *_: Any) -> None:
        self.calls.append(("begin", arguments.run_name, arguments.to_dict()["model.path"]))

    def on_log(self, arguments: Any, state: Any, control: Any, logs: Any) -> None:
        self.calls.append((state.global_step, sorted(logs)[0]))

    def on_train_end(self, *_: Any) -> None:
        self.calls.append("end")


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, **methods: Any) -> list[Any]:
    from transformers.integrations import integration_utils

    calls: list[Any] = []
    kind = type(name, (Tracker,), {"calls": calls, **methods})
    library = SimpleNamespace(__spec__=SimpleNamespace(), run=None, finish=lambda: calls.append("finish"))
    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, name, kind)
    monkeypatch.setitem(sys.modules, name, library)
    return calls


def test_a_tracker_is_begun_once_with_name_and_settings_and_ended_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls = stand_in(monkeypatch, "wandb")
    start_run(tracked("wandb"), tmp_path / "run", parts=fakes(tmp_path / "run"))
    assert calls[0] == ("begin", "followed", "demo") and calls[-2:] == ["end", "finish"]
    assert [step for step, _ in calls[1:-2]] == [0, 1, 2, 3]


@pytest.mark.parametrize("method", ["__init__", "on_train_begin", "on_log", "on_train_end"])
def test_a_tracker_that_fails_does_not_cost_the_run(
    method: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route to wandb")

    stand_in(monkeypatch, "wandb", **{method: offline})
    calls = stand_in(monkeypatch, "mlflow")
    run = tmp_path / "run"
    outcome = start_run(tracked("wandb", "mlflow"), run, parts=fakes(run))
    assert len(outcome.metrics) == 4 and (run / "metrics.jsonl").exists()
    warnings = [line["warning"] for line in read_log(run / "warnings.jsonl") if "wandb" in line["warning"]]
    assert warnings == ["wandb is told no more of this run: no route to wandb. The run goes on without it."]
    assert [step for step, _ in calls[1:-1]] == [0, 1, 2, 3], "the other one is told everything"


def test_a_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="pip install mlflow"):
        check_trackers(("mlflow",))
    with pytest.raises(ConfigError, match="choose among tensorboard, wandb, mlflow, trackio"):
        check_trackers(("excel",))


def test_a_missing_tracker_stops_a_run_before_anything_is_generated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match="trackio"):
        start_run(tracked("trackio"), tmp_path / "run")
    assert not (tmp_path / "run" / "baseline").exists()

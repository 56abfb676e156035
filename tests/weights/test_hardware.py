"""What a CPU is asked before a model is loaded, what is concluded, and that a run keeps to it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import iteralign.weights.arithmetic as arithmetic
import iteralign.weights.hardware as hardware
from iteralign import load_settings, run
from iteralign.records import Checkpoint
from iteralign.rundir.weights import RunWeights
from iteralign.runs.build import build_model
from iteralign.weights.model import LocalModel


@pytest.mark.parametrize(
    ("speeds", "best"),
    [
        ({1: 100.0, 2: 180.0}, 2),
        ({1: 100.0, 2: 105.0}, 1),
        ({1: 100.0, 2: 25.0}, 1),
        ({1: 100.0, 2: 180.0, 4: 190.0}, 2),
        ({1: 100.0, 2: 60.0, 4: 300.0}, 4),
        ({1: 100.0}, 1),
    ],
)
def test_more_threads_must_be_worth_it(speeds: dict[int, float], best: int) -> None:
    assert hardware.fastest(speeds) == best


def test_what_is_tried() -> None:
    assert hardware.thread_counts(1) == [1]
    assert hardware.thread_counts(6) == [6, 3, 1]


@pytest.mark.parametrize(
    ("text", "cores"),
    [("max 100000", None), ("150000 100000", 2), ("50000 100000\n", 1), ("-1 100000", None), ("", None), ("1 0", None)],
)
def test_a_containers_quota(text: str, cores: int | None) -> None:
    assert hardware.quota_of(text) == cores


def test_threads_are_measured_in_turn_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def speed(width: int, inner: int, dtype: Any) -> float:
        tried.append(torch.get_num_threads())
        return {4: 10.0, 2: 90.0, 1: 50.0}[tried[-1]]

    monkeypatch.setattr(hardware, "_speed", speed)
    monkeypatch.setattr(hardware, "available_cores", lambda: 4)
    before = torch.get_num_threads()
    torch.set_num_threads(8)
    try:
        assert hardware.best_threads(64, 128, torch.float32) == 2
        assert tried[:6] == [4, 2, 1, 4, 2, 1]
        assert torch.get_num_threads() == 8
    finally:
        torch.set_num_threads(before)


def test_one_core_needs_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(hardware, "_speed", None)
    monkeypatch.setattr(hardware, "available_cores", lambda: 1)
    assert hardware.best_threads(64, 128, torch.float32) == 1


@pytest.mark.parametrize(("bfloat16", "fast"), [(1.0, True), (1.9, True), (2.2, False), (9.0, False)])
def test_bfloat16_must_be_clearly_faster(bfloat16: float, fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(hardware, "_seconds", {torch.float32: 2.6, torch.bfloat16: bfloat16}.__getitem__)
    assert hardware.fast_bfloat16.__wrapped__("cpu") is fast


def test_the_measurement_itself() -> None:
    import torch

    assert hardware._seconds(torch.float32) > 0
    assert hardware._speed(64, 128, torch.float32) > 0


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU that is fast in bfloat16, with two threads, for models of any size."""
    monkeypatch.setattr(arithmetic, "fast_bfloat16", lambda device: True)
    monkeypatch.setattr(arithmetic, "best_threads", lambda *_: 1)
    monkeypatch.setattr(arithmetic, "_LARGE", 1)


def owner(path: Path, **settings: Any) -> LocalModel:
    return LocalModel(str(path), root=path, device="cpu", **settings)


def test_a_large_model_takes_what_is_fast(fast: None, tiny_llama: Path) -> None:
    assert owner(tiny_llama).arithmetic.record() == {
        "device": "cpu",
        "dtype": "bfloat16",
        "autocast": True,
        "threads": 1,
    }


def test_weights_that_are_trained_in_full_stay_float32(fast: None, tiny_llama: Path) -> None:
    model = owner(tiny_llama, full=True).arithmetic
    assert (model.dtype, model.autocast) == ("float32", True)


@pytest.mark.parametrize(
    ("chosen", "trained", "generating"),
    [
        (["training.method=full"], "float32", "float32"),
        (["training.method=full", "model.engine=vllm"], "float32", "bfloat16"),
        (["training.method=full", "model.engine=vllm", "model.dtype=float16"], "float32", "float16"),
        (["training.method=full", "training.processes=2"], "bfloat16", "bfloat16"),
        (["training.method=full", "training.processes=2", "model.dtype=float32"], "float32", "float32"),
        (["training.method=lora", "model.engine=vllm"], "bfloat16", "bfloat16"),
    ],
)
def test_what_has_weights_of_its_own_generates_in_16_bits(
    fast: None, tiny_llama: Path, tmp_path: Path, chosen: list[str], trained: str, generating: str
) -> None:
    """With several processes the model here only generates: those that train read float32."""
    settings = load_settings(
        {"model": {"path": str(tiny_llama), "device": "cpu"}, "data": {"prompts": "demo"}, "oracle": {"kind": "rules"}},
        chosen,
    )
    model = build_model(settings, tmp_path).arithmetic
    assert (model.dtype, model.generating) == (trained, generating)
    assert model.record().get("generating") == (None if trained == generating else generating)


def test_full_weights_are_exported_as_they_were_trained(tiny_llama: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_llama, tmp_path / "trained")
    model = LocalModel(str(tiny_llama), root=tmp_path, device="cpu", dtype="bfloat16")
    checkpoint = Checkpoint(kind="full", path="trained", round=0)
    assert next(model.at(checkpoint).parameters()).dtype == torch.bfloat16
    model.export(checkpoint, tmp_path / "model")
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("trained", "model"))
    assert all(torch.equal(value, after[name]) and value.dtype == torch.float32 for name, value in before.items())


def test_what_the_settings_say_is_not_measured(fast: None, tiny_llama: Path) -> None:
    model = owner(tiny_llama, dtype="float32", threads=3)
    assert model.arithmetic.record() == {"device": "cpu", "dtype": "float32", "autocast": False, "threads": 3}
    assert owner(tiny_llama, threads="kept").arithmetic.threads is None


def test_a_small_model_stays_as_it_was(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(arithmetic, "fast_bfloat16", None)
    monkeypatch.setattr(arithmetic, "best_threads", None)
    model = owner(tiny_llama).arithmetic
    assert (model.dtype, model.autocast, model.threads) == ("float32", False, torch.get_num_threads())


def test_a_run_from_before_goes_on_in_float32(fast: None, tiny_llama: Path, tmp_path: Path) -> None:
    (tmp_path / "environment.json").write_text('{"run_directory": 2}')
    (tmp_path / "config.yaml").touch()
    begun = LocalModel(str(tiny_llama), root=RunWeights(tmp_path), device="cpu").arithmetic
    new = LocalModel(str(tiny_llama), root=RunWeights(tmp_path / "new"), device="cpu").arithmetic
    assert (begun.dtype, begun.autocast) == ("float32", False)
    assert (new.dtype, new.autocast) == ("bfloat16", True)


def test_a_run_goes_on_as_it_began_on_another_machine(
    fast: None, tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings(
        {
            "model": {"path": str(tiny_llama), "device": "cpu"},
            "data": {"prompts": "demo", "limit": 6, "benign_limit": 4},
            "oracle": {"kind": "rules"},
            "rounds": {"prompts": 3},
            "sampling": {"max_new_tokens": 6},
        }
    )
    done = run(settings, tmp_path / "run")
    begun = json.loads((tmp_path / "run" / "environment.json").read_text())["arithmetic"]
    assert begun == {"device": "cpu", "dtype": "bfloat16", "autocast": True, "threads": 1}
    responses = tmp_path / "run" / "rounds" / "0001" / "1_responses.jsonl"
    before = responses.read_bytes()
    for file in [*responses.parent.iterdir(), tmp_path / "run" / "metrics.jsonl"]:
        if file.is_file():
            file.unlink()
    monkeypatch.setattr(arithmetic, "fast_bfloat16", None)  # nothing is measured again
    monkeypatch.setattr(arithmetic, "best_threads", None)
    again = run(settings, tmp_path / "run")
    assert responses.read_bytes() == before
    assert again.checkpoint == done.checkpoint

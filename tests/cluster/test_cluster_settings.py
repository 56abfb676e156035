"""What the cluster settings refuse, what is built from them, and what `plan` and `doctor` say of them."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from iteralign.errors import ConfigError, MissingExtraError
from iteralign.preflight import cluster
from iteralign.preflight.cost import Range
from iteralign.preflight.hours import Counts, Speeds, estimated
from iteralign.preflight.plan import make_plan
from iteralign.runs.build import build_model, build_target
from iteralign.settings.settings import Settings, load_settings

NO_RAY = "needs Ray: pip install 'iteralign[cluster]'"
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason=NO_RAY)


def settings_with(address: str | None = "local", engine: str = "transformers", **chosen: Any) -> Settings:
    values = {
        "model": {"path": "demo", "engine": engine, "device": "cpu"},
        "data": {"prompts": "demo", "limit": 20},
        "oracle": {"kind": "rules"},
        "cluster": {"address": address, **chosen},
    }
    return load_settings(values)


@pytest.mark.parametrize("address", ["127.0.0.1:6379", "ray://", "http://host:1", "ray://us er@host:1", "LOCAL"])
def test_an_address_is_one_of_four_kinds(address: str) -> None:
    with pytest.raises(ConfigError, match="must be null, local, auto, or ray://HOST:PORT"):
        settings_with(address)
    assert settings_with("ray://head:10001").cluster.address == "ray://head:10001"


def test_a_server_and_a_split_model_of_transformers_are_refused() -> None:
    with pytest.raises(ConfigError, match="a server has replicas of its own"):
        settings_with(engine="served")
    with pytest.raises(ConfigError, match=r"set model\.engine to vllm"):
        settings_with(tensor_parallel=2)
    assert settings_with(None, engine="served").cluster.replicas == 1


def test_without_ray_the_message_and_the_doctor_name_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_with()
    monkeypatch.setattr("iteralign.targets.cluster.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'iteralign\[cluster\]'"):
        build_target(settings, build_model(settings))
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    found = cluster.examined(settings)
    assert found.state == "fail" and "pip install 'iteralign[cluster]'" in found.advice


def test_training_on_the_cluster_has_one_place() -> None:
    with pytest.raises(ConfigError, match=r"set cluster\.address"):
        settings_with(None, training_gpus=2)
    with pytest.raises(ConfigError, match="take turns with the replicas, which have 1"):
        settings_with(training_gpus=2)
    assert settings_with(training_gpus=2, colocate=False).training_processes == 2
    settings = settings_with(replicas=2, training_gpus=2)
    with pytest.raises(ConfigError, match="set one of them"):
        load_settings(settings.model_dump(mode="json"), ["training.processes=2"])


@needs_ray
@pytest.mark.parametrize(
    ("recipe", "devices", "told"),
    [
        ("8-gpu-full.yaml", 8, "8 replicas (vllm) and 8 training processes in turns with them, started by Ray (local)"),
        (
            "2-node-70b-lora.yaml",
            16,
            "4 replicas (vllm), 4 GPUs each and 16 training processes in turns with them, started by Ray (auto)",
        ),
    ],
)
def test_recipes_of_a_cluster_are_planned_where_no_gpu_is(recipe: str, devices: int, told: str) -> None:
    path = Path(__file__).parents[2] / "recipes" / recipe
    plan = make_plan(
        load_settings(path, ["model.path=demo", "data.prompts=demo", "data.limit=40", "oracle={kind: rules}"])
    )
    assert f"cluster: {told}" in plan.notes
    assert plan.memory_bytes == pytest.approx(devices * plan.process_bytes, rel=0.01) and plan.answering_bytes > 0


@needs_ray
def test_one_match_builds_it_and_nothing_is_started(tmp_path: Path) -> None:
    settings = settings_with(replicas=3)
    target = build_target(settings, build_model(settings, tmp_path))
    assert type(target).__name__ == "ClusterTarget" and target.can_score and target.can_stop
    target.close()
    alone = settings_with(None)
    assert type(build_target(alone, build_model(alone, tmp_path))).__name__ == "TransformersTarget"


@needs_ray
def test_plan_and_doctor_know_of_the_replicas() -> None:
    settings = settings_with(replicas=3)
    assert "cluster: 3 replicas (transformers), started by Ray (local)" in make_plan(settings).notes
    found = cluster.examined(settings)
    assert found.state == "ok" and found.found.startswith("3 replicas (transformers), started by Ray (local); 1 node, ")
    on_gpus = settings.model_copy(update={"model": settings.model.model_copy(update={"device": "cuda"})})
    found = cluster.examined(on_gpus)
    assert found.state == "fail" and found.advice.startswith("3 GPUs are needed")


def test_a_measured_time_is_shared_by_the_replicas() -> None:
    plan = make_plan(settings_with(None))
    counts = Counts(plan.answers, Range(0, 0), 1, plan.oracle_calls, 0, plan.trained_rows, 0)
    speeds = Speeds("cpu", 0.0, 9, 100.0, 9.0, 0.0, 0.0, 0.0, 0, None, in_turn=False)
    least, _ = estimated(settings_with(None), counts, speeds)
    shared, _ = estimated(settings_with(replicas=4), counts, speeds)
    assert shared == pytest.approx(least / 4)

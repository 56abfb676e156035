"""Under a launcher: torchrun and accelerate with two processes on a CPU, and what is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from iteralign import load_settings, run
from iteralign.errors import ConfigError, TrainingDiverged, TrainingError
from iteralign.rundir.reader import read_run
from iteralign.trainers import launched
from iteralign.trainers.launched import Launch, LaunchedGroup, settled, take
from iteralign.trainers.seat import Seat

RECIPE = Path(__file__).parents[2] / "recipes" / "demo.yaml"
SMALL = [
    *("data.limit=20", "data.benign_limit=8", "training.epochs=1", "training.min_benign=8", "training.batch_size=8"),
    *("sampling.max_new_tokens=8", "revision.tries=1", "constitution.gate.enabled=false", "measure.capability=null"),
]


TORCHRUN = (
    "torch.distributed.run --nproc-per-node 2 --rdzv-backend c10d --rdzv-endpoint 127.0.0.1:0 --local-addr 127.0.0.1"
)
ACCELERATE = "accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1 --main_process_port 0"
ACCELERATE += " --mixed_precision no --dynamo_backend no"


def launch(launcher: str, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-m", *launcher.split(), "-m", "iteralign", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=290)


@pytest.mark.slow
def test_launchers_start_one_run_whose_training_its_processes_share(tmp_path: Path) -> None:
    """Weights are those of two processes that iteralign starts; what the first one says is said once, also when it fails."""
    both, alone = tmp_path / "both", tmp_path / "alone"
    words = [word for override in [*SMALL, "training.batch_size=4"] for word in ("--set", override)]
    done = launch(ACCELERATE, "run", str(RECIPE), "--run-dir", str(both), *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("everything:") == 1
    assert read_run(both).state == "finished" and "  processes: 2" in (both / "config.yaml").read_text()
    run(load_settings(RECIPE, [*SMALL, "training.batch_size=4", "training.processes=2"]), alone)
    weights = [load_file(place / "model" / "model.safetensors") for place in (both, alone)]
    assert max(float((weights[0][name] - weights[1][name]).abs().max()) for name in weights[0]) < 1e-5
    again = launch(TORCHRUN, "run", str(RECIPE), "--run-dir", str(both), *words)
    assert again.returncode != 0
    assert again.stderr.count("error:") == 1, again.stderr


CHOSEN = {"model": {"path": "demo"}, "data": {"prompts": "demo"}, "oracle": {"kind": "rules"}}


class Two(LaunchedGroup):
    def __init__(self, store: Any = None) -> None:
        super().__init__(Launch(Seat(0, 2), store))


@pytest.mark.parametrize(
    ("overrides", "environment", "message"),
    [
        (["cluster.address=local"], {}, "with cluster.address Ray starts"),
        (["training.processes=8"], {}, "training.processes is 8, and 2 were started together"),
        ([], {"ACCELERATE_USE_FSDP": "true"}, "ACCELERATE_USE_FSDP"),
    ],
)
def test_settings_that_contradict_the_launcher(overrides: list[str], environment: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settled(load_settings(CHOSEN, overrides), Two(), environment)


def test_the_number_of_processes_is_the_launchers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(CHOSEN)
    assert settled(settings, Two(), {}).training_processes == 2
    assert settled(settings, None, {"WORLD_SIZE": "1"}) is settings
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(
        ConfigError, match=r"WORLD_SIZE is 4, but not RANK.*torchrun --nproc-per-node N -m iteralign run"
    ):
        run(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_only_a_whole_launch_is_taken() -> None:
    for environment in ({}, {"WORLD_SIZE": "1", "RANK": "0"}, {"WORLD_SIZE": "2", "RANK": "1"}):
        before = dict(environment)
        assert take(environment) is None and environment == before


@pytest.mark.parametrize(
    ("theirs", "kind", "message"),
    [
        ({"error": "a loss that is nan", "diverged": True, "expected": True}, TrainingDiverged, "a loss that is nan"),
        (None, TrainingError, "can't go on without the process of rank 1: a loss that is nan"),
    ],
)
def test_the_run_goes_on_where_all_have_failed_alike_and_ends_where_one_is_gone(
    monkeypatch: pytest.MonkeyPatch, theirs: Any, kind: type[Exception], message: str
) -> None:
    monkeypatch.setattr(launched, "_GRACE", 0.2)
    store = torch.distributed.HashStore()  # type: ignore[attr-defined]
    own = {"error": "a loss that is nan", "diverged": True, "expected": True}
    monkeypatch.setattr(Launch, "take_part", lambda self, number, job: told(store, 0, own))
    if theirs is not None:
        told(store, 1, theirs)
    with pytest.raises(TrainingError, match=message) as caught:
        Two(store).run({"round": 0, "device": "cpu"})
    assert type(caught.value) is kind


def told(store: Any, rank: int, outcome: dict[str, Any]) -> dict[str, Any]:
    store.set(f"outcome-1-{rank}", json.dumps(outcome))
    return outcome

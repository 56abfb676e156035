"""Training by processes that Ray starts: equal to one process, anew after a loss, with the replicas' devices or its own."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from iteralign.cluster import connection
from iteralign.cluster.connection import Location
from iteralign.errors import TrainingError
from iteralign.records import TrainingExample
from iteralign.settings.cluster import ClusterSettings
from iteralign.settings.training import Method, TrainingSettings
from iteralign.trainers.distributed import DistributedTrainer
from iteralign.trainers.objectives import TRAINERS
from iteralign.trainers.ray_group import Places, RayGroup
from iteralign.weights.model import LocalModel

NO_RAY = "needs Ray: pip install 'iteralign[cluster]'"
pytestmark = [pytest.mark.slow, pytest.mark.skipif(find_spec("ray") is None, reason=NO_RAY)]

EXAMPLES = [
    TrainingExample(
        prompt=f"\n\nHuman: question {n}?\n\nAssistant:", completion=" no.", kind="revision", prompt_id=f"p{n}", round=0
    )
    for n in range(8)
]
USUAL: dict[str, Any] = {"learning_rate": 1e-4, "epochs": 2, "lora_r": 4}


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    """One Ray for all tests of this module."""
    connection.connect("local")
    import ray

    yield
    ray.shutdown()


def here(gpus: int) -> list[Location]:
    import ray

    return [Location("a replica", ray.get_runtime_context().get_node_id(), ())]


@pytest.fixture(scope="module")
def group(ray_here: None) -> Iterator[RayGroup]:
    """Two processes for all tests, beside replicas."""
    one = made(here)
    yield one
    one.close()


def made(places: Places | None, **chosen: Any) -> RayGroup:
    return RayGroup(ClusterSettings(address="local", **{"training_gpus": 2, "restarts": 1} | chosen), "cpu", places)


def processes() -> list[psutil.Process]:
    """Those of groups."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if child.cmdline()[:1] and child.cmdline()[0].startswith("ray::Process"):
                found.append(child)
    return found


@pytest.mark.parametrize("method", ["lora", "full"])
def test_processes_of_ray_train_and_export_like_one(
    tiny_llama: Path, tmp_path: Path, group: RayGroup, method: Method
) -> None:
    """Two rounds, each weight within 1e-5; the processes live on, and listen where Ray's nodes meet alone."""
    both, alone = (LocalModel(str(tiny_llama), root=tmp_path / name, device="cpu") for name in ("both", "alone"))
    trainer = DistributedTrainer(both, TrainingSettings(method=method, **USUAL, batch_size=4), 0, group)
    one = TRAINERS["sft"](alone, TrainingSettings(method=method, **USUAL, batch_size=8), 0)
    starts, pids = [both.base, alone.base], set()
    for number in range(2):
        starts = [
            trainer.finetune(starts[0], EXAMPLES, tmp_path / "both" / f"{number}", number),
            one.finetune(starts[1], EXAMPLES, tmp_path / "alone" / f"{number}", number),
        ]
        pids.add(tuple(sorted(process.pid for process in processes())))
    assert starts[0].model_copy(update={"loss": starts[1].loss}) == starts[1]
    assert len(pids) == 1 and len(pids.pop()) == 2
    alone.storage.wait()
    assert trainer.export(starts[0], tmp_path / "both" / "model")
    alone.export(starts[1], tmp_path / "alone" / "model")
    files = [load_file(tmp_path / name / "model" / "model.safetensors") for name in ("both", "alone")]
    assert files[0].keys() == files[1].keys()
    assert max(float((files[0][name] - files[1][name]).abs().max()) for name in files[0]) < 1e-5
    listening = [one.laddr.ip for process in processes() for one in process.net_connections("inet") if not one.raddr]
    assert listening and {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}


def test_a_round_whose_process_is_killed_is_trained_again_to_the_same_weights(
    tiny_llama: Path, tmp_path: Path, group: RayGroup, caplog: pytest.LogCaptureFixture
) -> None:
    model = LocalModel(str(tiny_llama), root=tmp_path, device="cpu")
    settings = TrainingSettings(method="full", batch_size=1, epochs=12, learning_rate=1e-4)
    trainer = DistributedTrainer(model, settings, 0, group)
    undisturbed = trainer.finetune(model.base, EXAMPLES, tmp_path / "0", 0)
    before = {process.pid for process in processes()}
    killed = killed_once_it_works(processes()[1])
    disturbed = trainer.finetune(model.base, EXAMPLES, tmp_path / "1", 0)
    killed.join(30)
    assert "Training round 0 begins again in fresh processes: a training process was lost" in caplog.text
    assert len(before & {process.pid for process in processes()}) == 0
    one, other = (load_file(tmp_path / n / "checkpoint" / "model.safetensors") for n in "01")
    assert all(torch.equal(one[name], other[name]) for name in one) and disturbed.loss == undisturbed.loss
    assert not list(tmp_path.rglob("*.part"))


def killed_once_it_works(process: psutil.Process) -> threading.Thread:
    """After a moment in which it has used the processor."""

    def kill() -> None:
        used = sum(process.cpu_times()[:2])
        while sum(process.cpu_times()[:2]) < used + 0.3:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    return thread


def test_an_error_of_our_own_ends_it_and_one_of_nobodys_is_tried_again(
    tiny_llama: Path, tmp_path: Path, ray_here: None, caplog: pytest.LogCaptureFixture
) -> None:
    """In a group with devices of its own."""
    group = made(None)
    model = LocalModel(str(tiny_llama), root=tmp_path, device="cpu")
    trainer = DistributedTrainer(model, TrainingSettings(), 0, group)
    long = EXAMPLES[0].model_copy(update={"prompt": "word " * 200, "prompt_id": "too-long"})
    with pytest.raises(TrainingError, match="too-long"):
        trainer.finetune(model.base, [long], tmp_path / "r", 0)
    assert "begins again" not in caplog.text
    strange = TrainingSettings().model_copy(update={"scheduler": "no such schedule"})
    with pytest.raises(TrainingError, match=r"lost 2 times in a row.*(\n.*)*scheduler(.*\n)*.*cluster\.restarts"):
        DistributedTrainer(model, strange, 0, group).finetune(model.base, EXAMPLES, tmp_path / "r", 0)
    assert caplog.text.count("begins again") == 1
    group.close()
    wide = made(None, training_gpus=999)
    with pytest.raises(TrainingError, match="Training wants 999 CPUs, and Ray has"):
        DistributedTrainer(model, TrainingSettings(), 0, wide).finetune(model.base, EXAMPLES, tmp_path / "r", 0)


def test_a_machine_that_does_not_see_the_run_says_so(
    tiny_llama: Path, tmp_path: Path, group: RayGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    from iteralign.trainers import member

    monkeypatch.setattr(member, "_SEEN", 0.0)
    outcome = member.do({"output": str(tmp_path / "gone"), "round": 0, "do": "train"}, lambda: None)
    assert outcome["expected"] and "all machines that train must see the run directory" in outcome["error"]

"""DistributedTrainer with two gloo processes on the CPU."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from iteralign.errors import TrainingError
from iteralign.records import Sampling, TrainingExample
from iteralign.settings.training import TrainingSettings
from iteralign.targets.transformers import TransformersTarget
from iteralign.trainers.distributed import DistributedTrainer
from iteralign.trainers.sft import SFT
from iteralign.weights.model import LocalModel

EXAMPLES = [
    TrainingExample(
        prompt=f"\n\nHuman: question {n}?\n\nAssistant:", completion=" no.", kind="revision", prompt_id=f"p{n}", round=0
    )
    for n in range(8)
]


FULL = TrainingSettings(method="full", processes=2)


@pytest.fixture
def model(tiny_llama: Path, tmp_path: Path) -> LocalModel:
    return LocalModel(str(tiny_llama), root=tmp_path, device="cpu")


@pytest.mark.slow
def test_two_processes_train_like_one_with_the_same_rows_a_step(model: LocalModel, tmp_path: Path) -> None:
    import torch

    target = TransformersTarget(model)
    target.generate(["hello"], Sampling(max_new_tokens=2))
    both = DistributedTrainer(
        model, TrainingSettings(method="full", processes=2, learning_rate=0.001, epochs=1, batch_size=4), 0
    )
    checkpoint = both.finetune(model.base, EXAMPLES, tmp_path / "rounds" / "0000", 0)
    assert (checkpoint.kind, checkpoint.path) == ("full", "rounds/0000/checkpoint")
    assert (checkpoint.steps, checkpoint.examples) == (1, 8)
    assert [path.name for path in (tmp_path / "rounds" / "0000").iterdir()] == ["checkpoint"]
    distributed = {name: value.clone() for name, value in model.at(checkpoint).state_dict().items()}
    target.load(checkpoint)
    target.generate(["hello"], Sampling(max_new_tokens=2))

    one = SFT(model, TrainingSettings(method="full", learning_rate=0.001, epochs=1, batch_size=8), 0)
    alone = one.finetune(model.base, EXAMPLES, tmp_path / "alone", 0)
    assert alone.loss == pytest.approx(checkpoint.loss, rel=1e-3)
    state = model.at(alone).state_dict()
    assert all(torch.allclose(distributed[name], state[name], atol=1e-4) for name in state)


@pytest.mark.slow
def test_a_workers_error_is_a_training_error(model: LocalModel, tmp_path: Path) -> None:
    long = EXAMPLES[0].model_copy(update={"prompt": "word " * 200, "prompt_id": "too-long"})
    trainer = DistributedTrainer(model, FULL, 0)
    with pytest.raises(TrainingError, match="too-long"):
        trainer.finetune(model.base, [long], tmp_path / "r", 0)
    assert model.at(model.base) is not None


@pytest.mark.slow
def test_a_worker_that_dies_shows_the_end_of_its_log(model: LocalModel, tmp_path: Path) -> None:
    broken = FULL.model_copy(update={"scheduler": "no such schedule"})
    trainer = DistributedTrainer(model, broken, 0)
    with pytest.raises(TrainingError, match=r"scheduler\n  Input should be"):
        trainer.finetune(model.base, EXAMPLES, tmp_path / "r", 0)


def test_only_full_weights(model: LocalModel) -> None:
    with pytest.raises(TrainingError, match="full"):
        DistributedTrainer(model, TrainingSettings(processes=2, method="lora"), 0)


OWNER = """
import sys
import contextlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from iteralign.weights.model import LocalModel
from iteralign.records import TrainingExample
from iteralign.settings.training import TrainingSettings
from iteralign.trainers.distributed import DistributedTrainer
root = Path(sys.argv[2])
model = LocalModel(sys.argv[1], root=root, device="cpu")
row = TrainingExample(prompt="Human: why?", completion=" no.", kind="revision", prompt_id="p", round=0)
settings = TrainingSettings(method="full", processes=2, epochs=10_000, batch_size=1)
DistributedTrainer(model, settings, 0).finetune(model.base, [row] * 8, root / "r", 0)
"""


@pytest.mark.slow
def test_the_training_of_a_killed_run_ends_by_itself(tiny_llama: Path, tmp_path: Path) -> None:
    """Else it would write its checkpoint into the round that the resumed run trains anew."""
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tiny_llama), str(tmp_path)])
    try:
        wait_for(lambda: len(workers_of(tmp_path)) >= 2)
    finally:
        owner.kill()
        owner.wait()
    wait_for(lambda: not workers_of(tmp_path))
    assert not (tmp_path / "r" / "checkpoint").exists()


@pytest.mark.slow
def test_no_socket_of_a_training_is_open_to_the_network(tiny_llama: Path, tmp_path: Path) -> None:
    """Whoever reaches a rendezvous of torchrun's can run code as the run's user."""
    import psutil

    owner = psutil.Popen([sys.executable, "-c", OWNER, str(tiny_llama), str(tmp_path)])

    def addresses() -> set[str]:
        found: set[str] = set()
        for process in [owner, *owner.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                sockets = process.net_connections(kind="inet")
                found.update(
                    one.laddr.ip for one in sockets if one.status in (psutil.CONN_LISTEN, psutil.CONN_ESTABLISHED)
                )
        return found

    seen: set[str] = set()

    def is_connected() -> bool:
        seen.update(addresses())
        return connected(owner)

    try:
        wait_for(is_connected)
        for _ in range(30):
            seen.update(addresses())
            time.sleep(0.1)
    finally:
        owner.kill()
        owner.wait()
    assert seen == {"127.0.0.1"}


def connected(owner: Any) -> bool:
    """Whether training processes of this one talk to each other."""
    import psutil

    children = owner.children(recursive=True)
    talking = [
        child for child in children if any(c.status == psutil.CONN_ESTABLISHED for c in child.net_connections("inet"))
    ]
    return len(talking) >= 2


def workers_of(place: Path) -> list[str]:
    """Ids of the training processes whose job lies in `place`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (entry / "cmdline").read_bytes().decode(errors="replace")
            if "iteralign.trainers.worker" in line and str(place) in line:
                found.append(entry.name)
    return found


def wait_for(condition: Callable[[], bool]) -> None:
    """Up to two minutes."""
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not happen within two minutes")

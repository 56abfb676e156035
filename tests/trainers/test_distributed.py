"""DistributedTrainer with two gloo processes on the CPU."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from iteralign.errors import TrainingDiverged, TrainingError
from iteralign.records import Checkpoint, TrainingExample
from iteralign.settings.training import Method, Objective, TrainingSettings
from iteralign.trainers.distributed import DistributedTrainer
from iteralign.trainers.local_group import LocalGroup
from iteralign.trainers.objectives import TRAINERS
from iteralign.weights import shares
from iteralign.weights.model import LocalModel

EXAMPLES = [
    TrainingExample(
        prompt=f"\n\nHuman: question {n}?\n\nAssistant:",
        completion=" no.",
        rejected=" yes.",
        kind="revision",
        prompt_id=f"p{n}",
        round=0,
    )
    for n in range(8)
]


FULL = TrainingSettings(method="full", processes=2)


@pytest.fixture
def model(tiny_llama: Path, tmp_path: Path) -> LocalModel:
    return LocalModel(str(tiny_llama), root=tmp_path, device="cpu")


def trained(model: LocalModel, checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """The weights that were trained, by name."""
    network = model.at(checkpoint)
    kept = {name: value for name, value in network.state_dict().items() if checkpoint.kind == "full" or "lora_" in name}
    return {name: value.detach().clone() for name, value in kept.items()}


def furthest(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys() and one
    return max(float((value - other[name]).abs().max()) for name, value in one.items())


@pytest.fixture(scope="module")
def group() -> Iterator[LocalGroup]:
    """Two processes that do the jobs of all tests here, so that they also show what one job leaves to the next."""
    one = LocalGroup(2, "cpu")
    yield one
    one.close()
    assert not pids()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "method", "sharded", "tied"),
    [
        ("sft", "full", True, False),
        ("sft", "full", True, True),
        ("sft", "lora", True, False),
        ("dpo", "full", True, False),
        ("dpo", "lora", True, False),
        ("sft", "full", False, True),
        ("sft", "lora", False, False),
    ],
)
def test_two_processes_train_like_one(
    tiny_llama: Path, tmp_path: Path, group: LocalGroup, objective: Objective, method: Method, sharded: bool, tied: bool
) -> None:
    """Two rounds with the same rows a step, of a group that lives on; each weight within 1e-5, and equal files beside them."""
    path = tied_copy(tiny_llama, tmp_path / "tied") if tied else tiny_llama
    model, alone = (LocalModel(str(path), root=tmp_path / name, device="cpu") for name in ("both", "alone"))
    usual: dict[str, Any] = {"objective": objective, "method": method, "learning_rate": 1e-4, "epochs": 2, "lora_r": 4}
    shared = TrainingSettings(**usual, batch_size=4, processes=2, sharded=sharded)
    both = DistributedTrainer(model, shared, 0, group)
    one = TRAINERS[objective](alone, TrainingSettings(**usual, batch_size=8), 0)
    starts, processes = [model.base, alone.base], set()
    for number in range(2):
        made = both.finetune(starts[0], EXAMPLES, tmp_path / "both" / "rounds" / f"{number}", number)
        single = one.finetune(starts[1], EXAMPLES, tmp_path / "alone" / "rounds" / f"{number}", number)
        processes.add(tuple(pids()))
        assert made.loss == pytest.approx(single.loss, abs=1e-5)
        assert made.model_copy(update={"loss": single.loss}) == single
        assert furthest(trained(model, made), trained(alone, single)) < 1e-5
        if number:
            assert furthest(trained(alone, single), trained(alone, starts[1])) > 5e-5
        starts = [made, single]
    assert len(processes) == 1 and len(processes.pop()) == 2
    alone.storage.wait()
    kind = "checkpoint" if method == "full" else "adapter"
    ours, theirs = (tmp_path / name / "rounds" / "1" / kind for name in ("both", "alone"))
    files = {file.name for file in theirs.iterdir()}
    assert {file.name for file in ours.iterdir()} == files
    for name in files - {"model.safetensors", "adapter_model.safetensors"}:
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name
    exported = [tmp_path / name / "exported" for name in ("both", "alone")]
    assert both.export(starts[0], exported[0]) is sharded and not both.export(model.base, tmp_path / "none")
    if sharded:
        alone.export(starts[1], exported[1])
        assert {file.name for file in exported[0].iterdir()} == {file.name for file in exported[1].iterdir()}
        assert furthest(*(load_file(path / "model.safetensors") for path in exported)) < 1e-5
        assert (exported[0] / "config.json").read_bytes() == (exported[1] / "config.json").read_bytes()
        assert not list(tmp_path.rglob("*.part"))
    if method == "full":
        names = set(load_file(ours / "model.safetensors"))
        assert names == set(load_file(theirs / "model.safetensors")) and ("lm_head.weight" in names) is not tied


@pytest.mark.slow
def test_nothing_of_a_round_stays_in_the_processes(tmp_path: Path, group: LocalGroup) -> None:
    """Else they would hold one share more of the model after each."""
    from conftest import byte_tokenizer, random_llama

    shape = {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 8}
    tokenizer = byte_tokenizer()
    random_llama(tokenizer, **shape).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    share = (tmp_path / "model" / "model.safetensors").stat().st_size / 2**21
    model = LocalModel(str(tmp_path / "model"), root=tmp_path, device="cpu")
    trainer = DistributedTrainer(model, TrainingSettings(processes=2, epochs=1, batch_size=4), 0, group)
    start, held = model.base, []
    for number in range(9):
        start = trainer.finetune(start, EXAMPLES, tmp_path / f"{number}", number)
        held.append(max(anonymous_mb(pid) for pid in pids()))
    # A heap grows and shrinks by a share at times.
    growth = median(after - before for before, after in pairwise(held[2:]))
    assert growth < 0.75 * share, f"{share:.0f} MB each; after the rounds {held}"


def anonymous_mb(pid: int) -> float:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


@pytest.mark.slow
@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_training_that_diverges_in_one_part_is_told(
    model: LocalModel, tmp_path: Path, group: LocalGroup, method: Method
) -> None:
    broken = TrainingSettings(method=method, processes=2, learning_rate=10, epochs=40, batch_size=1)
    examples = [row.model_copy(update={"completion": " no" * (1 + n)}) for n, row in enumerate(EXAMPLES)]
    try:
        made = DistributedTrainer(model, broken, 0, group).finetune(model.base, examples, tmp_path / "r", 0)
    except TrainingDiverged as error:
        assert "diverged in round 0" in str(error) and not list(tmp_path.glob("r/*"))
        return
    assert all(bool(value.isfinite().all()) for value in trained(model, made).values())


def test_weights_are_written_file_by_file(tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that writes holds one file's weights at a time; what is written loads as the same model."""
    import transformers

    monkeypatch.setattr(shares, "_FILE", "60KB")
    network = transformers.AutoModelForCausalLM.from_pretrained(tiny_llama)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_llama)
    shares.write_shared(network, tokenizer, tmp_path)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 2
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).state_dict()
    assert furthest(network.state_dict(), again) == 0.0
    assert (tmp_path / "config.json").read_bytes() == (tiny_llama / "config.json").read_bytes()


def pids() -> list[int]:
    """Of the training processes of this one."""
    import psutil

    return [child.pid for child in psutil.Process().children() if "iteralign.trainers.worker" in child.cmdline()]


def tied_copy(source: Path, path: Path) -> Path:
    """The same model with its output layer tied to the input."""
    import transformers

    network = transformers.AutoModelForCausalLM.from_pretrained(source)
    network.config.tie_word_embeddings = True
    network.tie_weights()
    network.save_pretrained(path)
    for file in source.glob("tokenizer*"):
        (path / file.name).write_bytes(file.read_bytes())
    return path


@pytest.mark.slow
def test_a_workers_error_is_a_training_error(model: LocalModel, tmp_path: Path) -> None:
    long = EXAMPLES[0].model_copy(update={"prompt": "word " * 200, "prompt_id": "too-long"})
    trainer = DistributedTrainer(model, FULL, 0, LocalGroup(2, "cpu"))
    with pytest.raises(TrainingError, match="too-long"):
        trainer.finetune(model.base, [long], tmp_path / "r", 0)
    assert model.at(model.base) is not None


@pytest.mark.slow
def test_a_worker_that_dies_shows_the_end_of_its_log(model: LocalModel, tmp_path: Path) -> None:
    broken = FULL.model_copy(update={"scheduler": "no such schedule"})
    trainer = DistributedTrainer(model, broken, 0, LocalGroup(2, "cpu"))
    with pytest.raises(TrainingError, match=r"scheduler\n  Input should be"):
        trainer.finetune(model.base, EXAMPLES, tmp_path / "r", 0)


def test_shared_out_weights_are_not_for_distilling(model: LocalModel) -> None:
    settings = TrainingSettings(processes=2, objective="distill")
    with pytest.raises(TrainingError, match=r"training\.sharded to false"):
        DistributedTrainer(model, settings, 0, LocalGroup(2, "cpu")).check()
    DistributedTrainer(model, settings.model_copy(update={"sharded": False}), 0, LocalGroup(2, "cpu")).check()


OWNER = """
import sys
import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from iteralign.weights.model import LocalModel
from iteralign.records import TrainingExample
from iteralign.settings.training import TrainingSettings
from iteralign.trainers.distributed import DistributedTrainer
from iteralign.trainers.local_group import LocalGroup
root = Path(sys.argv[2])
model = LocalModel(sys.argv[1], root=root, device="cpu")
row = TrainingExample(prompt="Human: why?", completion=" no.", kind="revision", prompt_id="p", round=0)
settings = TrainingSettings(method="full", processes=2, epochs=10_000, batch_size=1)
DistributedTrainer(model, settings, 0, LocalGroup(2, "cpu")).finetune(model.base, [row] * 8, root / "r", 0)
"""


@pytest.mark.slow
def test_a_training_opens_no_socket_to_the_network_and_ends_by_itself_when_its_run_is_killed(
    tiny_llama: Path, tmp_path: Path
) -> None:
    """Whoever reaches a rendezvous of torchrun's can run code as the run's user. A training that goes on would write its
    checkpoint into the round that the resumed run trains anew."""
    import psutil

    owner = psutil.Popen([sys.executable, "-c", OWNER, str(tiny_llama), str(tmp_path)], env=within(tmp_path))

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
        assert len(workers_of(tmp_path)) >= 2
    finally:
        owner.kill()
        owner.wait()
    assert seen == {"127.0.0.1"}
    wait_for(lambda: not workers_of(tmp_path))
    assert not (tmp_path / "r" / "checkpoint").exists()


def within(place: Path) -> dict[str, str]:
    """An environment in which a group of training processes has its files in `place`."""
    return os.environ | {"TMPDIR": str(place)}


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

"""The simulated cluster: its arithmetic, and a small run of it through the real loop and the real replicas."""

import json
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from simulated_cluster import simulate
from sleeping import Log, Machine, SleepingTrainer, answer, length

from iteralign.errors import TrainingError
from iteralign.fakes import COMPLIES, DECLINES
from iteralign.records import Checkpoint, Sampling

NO_RAY = "needs Ray: pip install 'iteralign[cluster]'"
ROUND = Machine(step=0.01, slope=0.001, peak=1e30, rows=4)
BASE, GREEDY = Checkpoint(kind="base", path="base"), Sampling(max_new_tokens=512)


def test_a_step_is_as_long_as_its_answers_are_many() -> None:
    assert ROUND.answer_seconds([10, 20]) == pytest.approx(20 * 0.01 + 30 * 0.001)
    assert replace(ROUND, waits=True).answer_seconds([10, 20]) == pytest.approx(20 * 0.01 + 40 * 0.001)
    assert ROUND.answer_seconds([10] * 8) == pytest.approx(2 * ROUND.answer_seconds([10] * 4))
    reading = 2 * 7e9 * 100 / (2 * 989e12 * 0.4)
    two = Machine(tensor_parallel=2)
    assert two.answer_seconds([1]) == pytest.approx(7e9 * 2 / 2 / 2e12 + 4 * 7e9 / (2 * 989e12 * 0.4) + reading)
    assert (two.replicas, Machine(gpus=64, tensor_parallel=4).replicas) == (4, 16)


def test_training_takes_its_tokens_and_its_weights() -> None:
    machine = Machine(tokens=300, declining=0.5, prompt_tokens=50, epochs=2, train_token=0.001, train_setup=3.0)
    assert machine.training_seconds(10) == pytest.approx(3 + 10 * 200 * 2 * 0.001 + 14e9 / 2e9)
    assert replace(machine, full=False).training_seconds(10) == pytest.approx(3 + 4 + 0.005 * 14e9 / 2e9)


def test_prompts_fail_at_the_given_rates_and_fewer_once_weights_are_trained() -> None:
    machine = Machine(failing=(0.5, 0.1), mended=0.8)
    trained = Checkpoint(kind="full", path="rounds/0000/checkpoint", round=0)
    for weights, start, share in ((BASE, "", 0.5), (trained, "", 0.1), (BASE, "these principles ", 0.2)):
        said = [answer(machine, f"{start}{n}", weights, GREEDY) for n in range(2000)]
        assert sum(one.startswith(COMPLIES) for one in said) / 2000 == pytest.approx(share, abs=0.03)
        assert len(set(said)) == 2000
    assert answer(machine, "principles on bread", BASE, GREEDY).startswith(COMPLIES)
    tokens = [length(machine, str(n), DECLINES) for n in range(2000)]
    assert sum(tokens) / 2000 == pytest.approx(machine.tokens * machine.declining, rel=0.05)


def test_a_fault_in_training_ends_it_and_stands_in_the_log(tmp_path: Path) -> None:
    machine = Machine(between_faults=1e-6, start=1.0)
    with pytest.raises(TrainingError):
        SleepingTrainer(tmp_path, machine, Log(tmp_path, 1e6)).finetune(BASE, [], tmp_path, 0)
    (file,) = tmp_path.glob("*.jsonl")
    assert [json.loads(line)["what"] for line in file.read_text().splitlines()] == ["broken off", "starting"]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason=NO_RAY)
def test_a_run_asks_all_its_prompts_and_its_gpus_are_never_busier_than_they_can_be() -> None:
    machine = Machine(gpus=2, training_gpus=2, failing=(0.5,))
    small, large = simulate(machine, [4, 16], rounds=2, speed=200.0)
    assert (small["prompts"], small["rounds"], large["prompts"], large["rounds"]) == (4, 2, 16, 2)
    assert large["trained"] == 2 and large["faults"] == 0 and 0.2 < large["failed"] < 0.8
    for found in (small, large):
        assert min(found["busy"]["answering"], found["busy"]["training"]) > 0
        assert 0 < sum(found["busy"].values()) <= 1.01 and 0 < found["idle"] < 1
        assert sum(found["stages"].values()) == pytest.approx(found["seconds"])

"""DPO: what is preferred becomes likelier, repeatably; a training that makes the preferred answers unlikely is thrown away."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from iteralign.errors import ConfigError, TrainingDiverged, TrainingError
from iteralign.records import Checkpoint, Sampling, TrainingExample
from iteralign.settings.settings import load_settings
from iteralign.settings.training import DpoSettings, Method, TrainingSettings
from iteralign.targets.transformers import TransformersTarget
from iteralign.trainers.distributed import DistributedTrainer
from iteralign.trainers.dpo import DPO
from iteralign.trainers.local_group import LocalGroup
from iteralign.trainers.rows import make_pairs, make_rows
from iteralign.weights.model import LocalModel

PREFERRED, FAILED = " I'm sorry, no.", " sure, here is how"


def example(number: int, rejected: str | None = FAILED) -> TrainingExample:
    return TrainingExample(
        prompt=f"\n\nHuman: question {number}?\n\nAssistant:",
        completion=PREFERRED,
        kind="revision",
        prompt_id=f"p{number}",
        round=0,
        rejected=rejected,
    )


EXAMPLES = [example(n, FAILED + "!" * n) for n in range(5)]


def settings(method: Method = "lora", *, dpo: dict[str, Any] | None = None, **others: Any) -> TrainingSettings:
    given = {"learning_rate": 0.01, "epochs": 4, "batch_size": 2, "warmup_ratio": 0.1} | others
    return TrainingSettings(objective="dpo", method=method, dpo=DpoSettings(**(dpo or {})), **given)


@pytest.fixture
def model(tiny_llama: Path, tmp_path: Path) -> LocalModel:
    return LocalModel(str(tiny_llama), root=tmp_path, device="cpu")


def weights(model: LocalModel, checkpoint: Checkpoint) -> dict[str, Any]:
    return {name: value.clone() for name, value in model.at(checkpoint).state_dict().items()}


def equal(left: dict[str, Any], right: dict[str, Any]) -> bool:
    import torch

    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def likelihoods(model: LocalModel, checkpoint: Checkpoint) -> tuple[list[float], list[float]]:
    """Of the preferred and of the failed answers, a token."""
    target = TransformersTarget(model)
    target.load(checkpoint)
    prompts = [one.prompt for one in EXAMPLES]
    return target.score(prompts, [one.completion for one in EXAMPLES]), target.score(
        prompts, [one.rejected or "" for one in EXAMPLES]
    )


def test_a_pair_has_the_tokens_of_both_answers(model: LocalModel) -> None:
    [pair] = make_pairs(model, [example(1)], 1024)
    [chosen] = make_rows(model, [example(1)], 1024)
    [rejected] = make_rows(model, [example(1).model_copy(update={"completion": FAILED})], 1024)
    assert pair.prompt_ids + pair.chosen_ids == chosen.input_ids
    assert pair.prompt_ids + pair.rejected_ids == rejected.input_ids
    assert pair.tokens == chosen.tokens + rejected.tokens
    [short] = make_pairs(model, [example(1)], len(pair.prompt_ids) + 2)
    assert (short.chosen_ids, short.rejected_ids) == (pair.chosen_ids[:2], pair.rejected_ids[:2])
    assert make_pairs(model, [example(1)], 1024, answer_tokens=2) == [short]


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_preferred_answers_gain_on_the_others(model: LocalModel, tmp_path: Path, method: Method) -> None:
    chosen, rejected = likelihoods(model, model.base)
    checkpoint = DPO(model, settings(method), 0).finetune(model.base, EXAMPLES, tmp_path / "r", 0)
    assert (checkpoint.kind, checkpoint.steps) == ("adapter" if method == "lora" else "full", 12)
    assert checkpoint.tokens == 4 * sum(pair.tokens for pair in make_pairs(model, EXAMPLES, 1024))
    better, worse = likelihoods(model, checkpoint)
    margins = [(b - w) - (c - r) for b, w, c, r in zip(better, worse, chosen, rejected, strict=True)]
    assert min(margins) > 1
    assert sum(better) > sum(chosen)  # which the share of sft sees to


@pytest.mark.parametrize("reference", ["round", "base"])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_repeatable_and_the_same_from_memory_as_from_disk(
    tiny_llama: Path, method: Method, reference: str, tmp_path: Path
) -> None:
    chosen = settings(method, dpo={"reference": reference})
    resident = LocalModel(str(tiny_llama), root=tmp_path, device="cpu")
    trainer = DPO(resident, chosen, 0)
    first = trainer.finetune(resident.base, EXAMPLES, tmp_path / "a0", 0)
    after_first = weights(resident, first)
    TransformersTarget(resident).generate(["between the rounds"], Sampling(max_new_tokens=3, temperature=1.0))
    second = trainer.finetune(first, EXAMPLES[::-1], tmp_path / "a1", 1)
    after_second = weights(resident, second)

    fresh = LocalModel(str(tiny_llama), root=tmp_path, device="cpu")
    again = DPO(fresh, chosen, 0).finetune(fresh.base, EXAMPLES, tmp_path / "b0", 0)
    assert equal(weights(fresh, again), after_first) and again.loss == first.loss

    fresh = LocalModel(str(tiny_llama), root=tmp_path, device="cpu")
    from_disk = DPO(fresh, chosen, 0).finetune(first, EXAMPLES[::-1], tmp_path / "b1", 1)
    assert equal(weights(fresh, from_disk), after_second) and from_disk.loss == second.loss
    assert not equal(after_first, after_second)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_first_loss_tells_what_is_compared_with(model: LocalModel, tmp_path: Path, method: Method) -> None:
    """Weights that have learnt the preference stand far from the base model's, and not from themselves: ln 2."""
    start = DPO(model, settings(method), 0).finetune(model.base, EXAMPLES, tmp_path / "r0", 0)
    losses = {}
    for reference in ("round", "base"):
        still = settings(
            method,
            dpo={"reference": reference, "sft_weight": 0, "beta": 1},
            epochs=1,
            batch_size=5,
            learning_rate=1e-9,
        )
        losses[reference] = DPO(model, still, 0).finetune(start, EXAMPLES, tmp_path / reference, 1).loss
    assert losses["round"] == pytest.approx(0.6931, abs=1e-3)
    assert losses["base"] is not None and losses["base"] < 0.1


@pytest.mark.parametrize("method", ["lora", "full"])
def test_preferred_answers_that_become_unlikely_cost_the_training(
    model: LocalModel, tmp_path: Path, method: Method
) -> None:
    start = DPO(model, settings(method), 0).finetune(model.base, EXAMPLES, tmp_path / "r0", 0)
    before, probabilities = weights(model, start), likelihoods(model, start)[0]
    # Without a share of sft, and with pairs whose answers are almost the same, both fall.
    alike = [example(n, PREFERRED[:-1] + "!") for n in range(5)]
    falls = settings(method, dpo={"sft_weight": 0, "beta": 5, "max_drop": 0.2}, epochs=10, learning_rate=0.03)
    with pytest.raises(TrainingDiverged, match=r"less likely, from -\d.*training.dpo.max_drop"):
        DPO(model, falls, 0).finetune(start, alike, tmp_path / "r1", 1)
    assert not (tmp_path / "r1").exists() or not list((tmp_path / "r1").iterdir())
    assert equal(weights(model, start), before)
    assert likelihoods(model, start)[0] == probabilities

    unguarded = falls.model_copy(update={"dpo": falls.dpo.model_copy(update={"max_drop": None})})
    fallen = DPO(model, unguarded, 0).finetune(start, alike, tmp_path / "r1", 1)
    assert sum(likelihoods(model, fallen)[0]) < sum(probabilities) - 5 * 0.2


def test_training_leaves_no_traces_on_the_model(model: LocalModel, tmp_path: Path) -> None:
    network = model.at(model.base)
    config, generation = network.config.to_dict(), network.generation_config.to_dict()
    trainer = DPO(model, settings(gradient_checkpointing=True), 0)
    start = model.base
    for number in range(2):
        start = trainer.finetune(start, EXAMPLES, tmp_path / str(number), number)
    adapted = model.at(start)
    assert list(adapted.peft_config) == ["default"]
    assert not any(".ref." in name for name, _ in adapted.named_parameters())
    assert model.network(start) is network
    assert "forward" not in vars(network)
    assert network.config.to_dict() == config
    assert network.generation_config.to_dict() == generation


def test_nothing_is_printed(model: LocalModel, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    DPO(model, settings(), 0).finetune(model.base, EXAMPLES, tmp_path / "r", 0)
    assert capfd.readouterr().out == ""


def test_an_example_without_a_rejected_answer_is_named(model: LocalModel, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"p7 has no rejected answer.*training.objective to sft"):
        DPO(model, settings(), 0).finetune(model.base, [*EXAMPLES, example(7, None)], tmp_path / "r", 0)
    with pytest.raises(TrainingError, match="no examples"):
        DPO(model, settings(), 0).finetune(model.base, [], tmp_path / "r", 0)


MINIMAL = {"model": {"path": "demo"}, "data": {"prompts": "demo"}, "oracle": {"kind": "rules"}}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["training.objective=dpo", "training.lora_dropout=0.1"], "set lora_dropout to 0"),
        (["training.dpo.beta=0"], "training.dpo.beta"),
        (["training.dpo.refernce=base"], "did you mean reference"),
        (["training.objective=ppo"], "'sft', 'dpo' or 'distill'"),
    ],
)
def test_settings_that_can_not_be(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_settings(MINIMAL, overrides)


@pytest.fixture(scope="module")
def groups() -> Iterator[tuple[LocalGroup, LocalGroup]]:
    """Two processes and two others for all tests here."""
    both = LocalGroup(2, "cpu"), LocalGroup(2, "cpu")
    yield both
    for group in both:
        group.close()


@pytest.mark.slow
@pytest.mark.parametrize("reference", ["round", "base"])
def test_two_processes_train_like_one_with_the_same_rows_a_step(
    model: LocalModel, tmp_path: Path, groups: tuple[LocalGroup, LocalGroup], reference: str
) -> None:
    import torch

    eight = [example(n, FAILED + "!" * (n % 3)) for n in range(8)]
    start = DPO(model, settings("full"), 0).finetune(model.base, eight, tmp_path / "r0", 0)
    model.storage.wait()
    one = settings("full", dpo={"reference": reference}, epochs=1, batch_size=8, learning_rate=0.001)
    alone = DPO(model, one, 0).finetune(start, eight, tmp_path / "r1", 1)
    state = weights(model, alone)
    two = one.model_copy(update={"processes": 2, "batch_size": 4})
    both = DistributedTrainer(model, two, 0, groups[0]).finetune(start, eight, tmp_path / "r2", 1)
    assert both.loss == pytest.approx(alone.loss, rel=1e-2) and both.tokens == alone.tokens
    found = weights(model, both)
    again = DistributedTrainer(model, two, 0, groups[1]).finetune(start, eight, tmp_path / "r3", 1)
    assert equal(weights(model, again), found) and again.loss == both.loss
    assert all(torch.allclose(found[name], state[name], atol=1e-4) for name in state)


@pytest.mark.slow
def test_the_rail_of_several_processes_costs_the_training_alone(
    model: LocalModel, tmp_path: Path, groups: tuple[LocalGroup, LocalGroup]
) -> None:
    alike = [example(n, PREFERRED[:-1] + "!") for n in range(4)]
    start = DPO(model, settings("full"), 0).finetune(model.base, EXAMPLES, tmp_path / "r0", 0)
    model.storage.wait()
    falls = settings("full", dpo={"sft_weight": 0, "beta": 5}, epochs=10, learning_rate=0.03, batch_size=1, processes=2)
    with pytest.raises(TrainingDiverged, match="became less likely"):
        DistributedTrainer(model, falls, 0, groups[0]).finetune(start, alike, tmp_path / "r1", 1)
    assert not (tmp_path / "r1" / "checkpoint").exists()

"""Self-distillation: without principles in its prompt the model comes to answer as its base does with them, repeatably."""

from pathlib import Path
from typing import Any

import pytest

from iteralign.errors import ConfigError, TrainingDiverged, TrainingError
from iteralign.records import Checkpoint, Sampling, TrainingExample
from iteralign.settings.settings import load_settings
from iteralign.settings.training import DistillSettings, Method, TrainingSettings
from iteralign.targets.transformers import TransformersTarget
from iteralign.trainers.distill import Distill
from iteralign.trainers.distributed import DistributedTrainer
from iteralign.trainers.local_group import LocalGroup
from iteralign.trainers.rows import make_teacher_rows
from iteralign.weights.files import encode
from iteralign.weights.model import LocalModel


def example(number: int, principles: str | None = " Be kind.") -> TrainingExample:
    prompt = f"\n\nHuman: question {number}?"
    return TrainingExample(
        prompt=prompt + "\n\nAssistant:",
        completion=" not read.",
        kind="benign" if principles is None else "revision",
        prompt_id=f"p{number}",
        round=0,
        teacher_prompt=None if principles is None else prompt + principles + "\n\nAssistant:",
    )


EXAMPLES = [example(n) for n in range(5)]


def settings(method: Method = "lora", *, distill: dict[str, Any] | None = None, **others: Any) -> TrainingSettings:
    given = {"learning_rate": 0.01, "epochs": 4, "batch_size": 2, "warmup_ratio": 0.1} | others
    chosen = {"max_new_tokens": 8} | (distill or {})
    return TrainingSettings(objective="distill", method=method, distill=DistillSettings(**chosen), **given)


@pytest.fixture
def model(tiny_llama: Path, tmp_path: Path) -> LocalModel:
    return LocalModel(str(tiny_llama), root=tmp_path, device="cpu")


def weights(model: LocalModel, checkpoint: Checkpoint) -> dict[str, Any]:
    return {name: value.clone() for name, value in model.at(checkpoint).state_dict().items()}


def equal(left: dict[str, Any], right: dict[str, Any]) -> bool:
    import torch

    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def first_words(model: LocalModel, checkpoint: Checkpoint, prompts: list[str]) -> Any:
    """Probabilities of the next token after each prompt."""
    import torch

    network = model.network(checkpoint)
    with torch.no_grad():
        rows = [network(torch.tensor([encode(model.tokenizer, prompt)])).logits[0, -1] for prompt in prompts]
    return torch.stack(rows).softmax(dim=-1)


def apart(model: LocalModel, checkpoint: Checkpoint, examples: list[TrainingExample]) -> float:
    """How far the model's next tokens are from those of its base under the principles: 0 to 1."""
    teacher = first_words(model, model.base, [one.teacher_prompt or one.prompt for one in examples])
    student = first_words(model, checkpoint, [one.prompt for one in examples])
    return float((teacher - student).abs().sum(dim=-1).mean() / 2)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_model_answers_as_its_base_does_under_principles(
    model: LocalModel, tmp_path: Path, method: Method, alpha: float
) -> None:
    before = apart(model, model.base, EXAMPLES)
    chosen = settings(method, distill={"alpha": alpha}, epochs=10)
    checkpoint = Distill(model, chosen, 0).finetune(model.base, EXAMPLES, tmp_path / "r", 0)
    assert (checkpoint.kind, checkpoint.steps) == ("adapter" if method == "lora" else "full", 30)
    assert apart(model, checkpoint, EXAMPLES) < before / 2


@pytest.mark.parametrize("method", ["lora", "full"])
def test_without_principles_the_teacher_is_the_base_model_in_every_round(
    model: LocalModel, tmp_path: Path, method: Method
) -> None:
    """Whatever an earlier round has taught, what is benign is learnt back."""
    benign = [example(n, None) for n in range(5)]
    still = settings(method, epochs=1, learning_rate=1e-9)
    assert Distill(model, still, 0).finetune(model.base, benign, tmp_path / "r0", 0).loss == pytest.approx(0, abs=1e-5)
    moved = Distill(model, settings(method, epochs=10), 0).finetune(model.base, EXAMPLES, tmp_path / "r1", 1)
    away = apart(model, moved, benign)
    back = Distill(model, settings(method, epochs=10), 0).finetune(moved, benign, tmp_path / "r2", 2)
    assert apart(model, back, benign) < away / 2


@pytest.mark.parametrize("method", ["lora", "full"])
def test_repeatable_and_the_same_from_memory_as_from_disk(tiny_llama: Path, method: Method, tmp_path: Path) -> None:
    resident = LocalModel(str(tiny_llama), root=tmp_path, device="cpu")
    trainer = Distill(resident, settings(method), 0)
    first = trainer.finetune(resident.base, EXAMPLES, tmp_path / "a0", 0)
    after_first = weights(resident, first)
    TransformersTarget(resident).generate(["between the rounds"], Sampling(max_new_tokens=3, temperature=1.0))
    second = trainer.finetune(first, EXAMPLES[::-1], tmp_path / "a1", 1)
    after_second = weights(resident, second)

    fresh = LocalModel(str(tiny_llama), root=tmp_path, device="cpu")
    again = Distill(fresh, settings(method), 0).finetune(fresh.base, EXAMPLES, tmp_path / "b0", 0)
    assert equal(weights(fresh, again), after_first) and (again.loss, again.tokens) == (first.loss, first.tokens)

    fresh = LocalModel(str(tiny_llama), root=tmp_path, device="cpu")
    from_disk = Distill(fresh, settings(method), 0).finetune(first, EXAMPLES[::-1], tmp_path / "b1", 1)
    assert equal(weights(fresh, from_disk), after_second) and from_disk.loss == second.loss
    assert not equal(after_first, after_second)

    other_seed = Distill(fresh, settings(method), 1).finetune(fresh.base, EXAMPLES, tmp_path / "c0", 0)
    assert not equal(weights(fresh, other_seed), after_first)


def test_rows_are_prompts_alone_and_all_of_them_are_learnt_from(model: LocalModel, tmp_path: Path) -> None:
    [row] = make_teacher_rows(model, [example(1)], 1024)
    assert row.prompt == encode(model.tokenizer, example(1).prompt)
    assert row.privileged_context == encode(model.tokenizer, example(1).teacher_prompt or "")
    [benign] = make_teacher_rows(model, [example(1, None)], 1024)
    assert benign.prompt == benign.privileged_context == row.prompt
    # Five rows in batches of four: the last one makes a step of its own.
    once = settings(epochs=1, batch_size=4, distill={"max_new_tokens": 1})
    checkpoint = Distill(model, once, 0).finetune(model.base, EXAMPLES, tmp_path / "r", 0)
    read = sum(row.tokens for row in make_teacher_rows(model, EXAMPLES, 1024))
    assert (checkpoint.steps, checkpoint.tokens) == (2, read + 2 * 5)
    summed = settings(epochs=1, batch_size=2, gradient_accumulation=2)
    assert Distill(model, summed, 0).finetune(model.base, EXAMPLES, tmp_path / "s", 0).steps == 2


def test_answers_are_as_long_as_the_longest_prompt_leaves_room_for(model: LocalModel, tmp_path: Path) -> None:
    rows = make_teacher_rows(model, EXAMPLES, 1024)
    longest = max(len(row.privileged_context) for row in rows)
    assert [row.room for row in rows] == [128 - len(row.privileged_context) for row in rows]
    tight = settings(epochs=1, batch_size=5, max_length=longest + 3, distill={"max_new_tokens": 100})
    checkpoint = Distill(model, tight, 0).finetune(model.base, EXAMPLES, tmp_path / "r", 0)
    sampled = checkpoint.tokens - sum(row.tokens for row in rows)
    assert 2 * 5 <= sampled <= 2 * 5 * 3


def test_training_leaves_no_traces_on_the_model(model: LocalModel, tmp_path: Path) -> None:
    network = model.at(model.base)
    config, generation = network.config.to_dict(), network.generation_config.to_dict()
    trainer = Distill(model, settings(gradient_checkpointing=True), 0)
    start = model.base
    for number in range(2):
        start = trainer.finetune(start, EXAMPLES, tmp_path / str(number), number)
    assert list(model.at(start).peft_config) == ["default"]
    assert model.network(start) is network
    assert "forward" not in vars(network)
    assert network.config.to_dict() == config
    assert network.generation_config.to_dict() == generation


def test_less_memory_trains_the_same_weights(tiny_llama: Path, tmp_path: Path) -> None:
    import torch

    states = []
    for checkpointing in (False, True):
        model = LocalModel(str(tiny_llama), root=tmp_path, device="cpu")
        chosen = settings(gradient_checkpointing=checkpointing)
        trained = Distill(model, chosen, 0).finetune(model.base, EXAMPLES, tmp_path / str(checkpointing), 0)
        states.append(weights(model, trained))
    assert all(torch.allclose(states[0][name], states[1][name], atol=1e-4) for name in states[0])


def test_nothing_is_said(model: LocalModel, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Distill(model, settings(), 0).finetune(model.base, EXAMPLES, tmp_path / "r", 0)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_model_that_can_not_sample_any_more_costs_the_training(
    model: LocalModel, tmp_path: Path, method: Method
) -> None:
    before = weights(model, model.base)
    with pytest.raises(TrainingDiverged, match="diverged"):
        Distill(model, settings(method, learning_rate=10, epochs=40, weight_decay=100), 0).finetune(
            model.base, EXAMPLES, tmp_path / "r", 0
        )
    assert equal(weights(model, model.base), before)


def test_an_example_without_a_teacher_is_named(model: LocalModel, tmp_path: Path) -> None:
    alone = example(7).model_copy(update={"teacher_prompt": None})
    with pytest.raises(TrainingError, match=r"p7 does not say under which principles.*training.objective to sft"):
        Distill(model, settings(), 0).finetune(model.base, [*EXAMPLES, alone], tmp_path / "r", 0)
    with pytest.raises(TrainingError, match=r"p9 has \d+ tokens.*no room for an answer in rows of 128"):
        Distill(model, settings(), 0).finetune(model.base, [example(9, " Be kind." * 40)], tmp_path / "r", 0)
    with pytest.raises(TrainingError, match="no examples"):
        Distill(model, settings(), 0).finetune(model.base, [], tmp_path / "r", 0)


MINIMAL = {"model": {"path": "demo"}, "data": {"prompts": "demo"}, "oracle": {"kind": "rules"}}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["training.objective=distill", "training.lora_dropout=0.1"], "set lora_dropout to 0"),
        (["training.distill.alpha=2"], "training.distill.alpha"),
        (["training.distill.beta=2"], "training.distill.beta"),
    ],
)
def test_settings_that_can_not_be(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_settings(MINIMAL, overrides)


def test_several_gpus_are_refused_before_anything_is_done(tiny_llama: Path, tmp_path: Path) -> None:
    class OnGpu(LocalModel):
        device = "cuda"

    with pytest.raises(TrainingError, match=r"training\.processes to 1"):
        DistributedTrainer(
            OnGpu(str(tiny_llama), root=tmp_path), settings("full", processes=2), 0, LocalGroup(2, "cpu")
        ).check()
    on_cpu = LocalModel(str(tiny_llama), root=tmp_path, device="cpu")
    with pytest.raises(TrainingError, match=r"training\.sharded to false"):
        DistributedTrainer(on_cpu, settings("full", processes=2), 0, LocalGroup(2, "cpu")).check()
    DistributedTrainer(on_cpu, settings("full", processes=2, sharded=False), 0, LocalGroup(2, "cpu")).check()


@pytest.mark.slow
def test_two_processes_train_repeatably(model: LocalModel, tmp_path: Path) -> None:
    eight = [example(n) for n in range(8)]
    two = settings("full", processes=2, sharded=False, epochs=8, batch_size=2, learning_rate=0.003)
    both = DistributedTrainer(model, two, 0, LocalGroup(2, "cpu")).finetune(model.base, eight, tmp_path / "r0", 0)
    assert (both.kind, both.steps) == ("full", 16)
    assert apart(model, both, eight) < apart(model, model.base, eight) / 2
    found = weights(model, both)
    again = DistributedTrainer(model, two, 0, LocalGroup(2, "cpu")).finetune(model.base, eight, tmp_path / "r1", 0)
    assert equal(weights(model, again), found) and (again.loss, again.tokens) == (both.loss, both.tokens)

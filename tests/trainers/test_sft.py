"""SFT: what is trained on, that it is repeatable, and that a failed training leaves the model usable."""

import math
from pathlib import Path
from typing import Any

import pytest

from iteralign.activity import Work, told_to
from iteralign.errors import TrainingError
from iteralign.records import Checkpoint, Sampling, TrainingExample
from iteralign.settings.training import Method, Scheduler, TrainingSettings
from iteralign.targets.transformers import TransformersTarget
from iteralign.trainers.rows import make_rows
from iteralign.trainers.sft import SFT
from iteralign.trainers.training import rate
from iteralign.weights.files import encode
from iteralign.weights.model import LocalModel


def example(number: int, completion: str = " I'm sorry, no.", prompt: str | None = None) -> TrainingExample:
    text = f"\n\nHuman: question {number}?\n\nAssistant:" if prompt is None else prompt
    return TrainingExample(prompt=text, completion=completion, kind="revision", prompt_id=f"p{number}", round=0)


LONG = 1024
"""Tokens of a row at most."""
EXAMPLES = [example(n, " no" + "!" * n) for n in range(5)]
SETTINGS: dict[str, Any] = {
    "learning_rate": 0.01,
    "epochs": 2,
    "batch_size": 2,
    "warmup_ratio": 0.1,
    "scheduler": "linear",
}
CHOSEN = TrainingSettings(**SETTINGS)


@pytest.fixture
def model(tiny_llama: Path, tmp_path: Path) -> LocalModel:
    return LocalModel(str(tiny_llama), root=tmp_path, device="cpu")


def weights(model: LocalModel, checkpoint: Checkpoint) -> dict[str, Any]:
    state = model.at(checkpoint).state_dict()
    return {name: value.clone() for name, value in state.items()}


def equal(left: dict[str, Any], right: dict[str, Any]) -> bool:
    import torch

    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def test_rows_are_the_generated_tokens_with_loss_on_the_answer_alone(model: LocalModel) -> None:
    tokenizer = model.tokenizer
    [row] = make_rows(model, [example(1)], LONG)
    prompt = encode(tokenizer, example(1).prompt)
    assert row.input_ids[: len(prompt)] == prompt
    assert row.labels[: len(prompt)] == [-100] * len(prompt)
    assert row.labels[len(prompt) :] == row.input_ids[len(prompt) :]
    assert tokenizer.decode(row.input_ids[len(prompt) : -1]) == example(1).completion
    assert row.input_ids[-1] == tokenizer.eos_token_id


def test_a_boundary_that_would_merge_keeps_the_prompts_tokens(model: LocalModel) -> None:
    """The tokenizer has the word "help" as merges; a prompt that ends within it must not change."""
    joined = encode(model.tokenizer, " help")
    prompt, completion = " he", "lp"
    assert joined[: len(encode(model.tokenizer, prompt))] != encode(model.tokenizer, prompt)
    [row] = make_rows(model, [example(1, completion, prompt)], LONG)
    ids = encode(model.tokenizer, prompt)
    assert row.input_ids[: len(ids)] == ids
    assert model.tokenizer.decode(row.input_ids[len(ids) : -1]) == "lp"


def test_a_long_answer_loses_its_end_and_eos(model: LocalModel) -> None:
    [row] = make_rows(model, [example(1, " word" * 300)], 64)
    assert len(row.input_ids) == len(row.labels) == 64
    assert row.input_ids[-1] != model.tokenizer.eos_token_id
    [row] = make_rows(model, [example(1, " word" * 300)], 10_000)
    assert len(row.input_ids) == model.context_length


def test_of_each_answer_so_many_tokens_are_learnt_and_no_end(model: LocalModel) -> None:
    [whole], [cut] = (make_rows(model, [example(1)], LONG, tokens) for tokens in (None, 3))
    prompt = len(encode(model.tokenizer, example(1).prompt))
    assert cut.input_ids == whole.input_ids[: prompt + 3]
    assert cut.labels == whole.labels[: prompt + 3]
    assert make_rows(model, [example(1)], LONG, len(whole.input_ids)) == [whole]


def test_a_training_reads_no_further_than_it_learns(model: LocalModel, tmp_path: Path) -> None:
    longer = [one.model_copy(update={"completion": one.completion + " and more"}) for one in EXAMPLES]
    settings = CHOSEN.model_copy(update={"answer_tokens": 1})
    found = [
        SFT(model, settings, 0).finetune(model.base, examples, tmp_path / name, 0)
        for name, examples in (("short", EXAMPLES), ("long", longer))
    ]
    assert found[0].tokens == found[1].tokens == 2 * sum(len(encode(model.tokenizer, e.prompt)) + 1 for e in EXAMPLES)
    assert found[0].loss == found[1].loss


def test_a_prompt_without_room_for_an_answer_is_named(model: LocalModel) -> None:
    with pytest.raises(TrainingError, match="p7"):
        make_rows(model, [example(1), example(7, prompt="word " * 200)], LONG)


def test_nothing_to_train_on(model: LocalModel, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no examples"):
        SFT(model, TrainingSettings(), 0).finetune(model.base, [], tmp_path, 0)


@pytest.mark.parametrize("scheduler", ["linear", "cosine", "constant"])
def test_no_step_has_rate_zero(scheduler: Scheduler) -> None:
    for steps in range(1, 30):
        for warmup in range(steps + 1):
            rates = [rate(scheduler, step, warmup, steps) for step in range(steps)]
            assert all(0 < value <= 1 for value in rates)
            assert rates[:warmup] == sorted(rates[:warmup])
            assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
            assert max(rates) == 1


@pytest.mark.parametrize("scheduler", ["linear", "cosine", "constant"])
def test_the_optimiser_gets_these_rates(
    model: LocalModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheduler: Scheduler
) -> None:
    """The released code's first step of every round had rate zero."""
    import torch

    seen: list[float] = []
    step = torch.optim.AdamW.step

    def watched(self: Any, *arguments: Any, **keywords: Any) -> Any:
        seen.append(self.param_groups[0]["lr"])
        return step(self, *arguments, **keywords)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    settings = SETTINGS | {"scheduler": scheduler, "warmup_ratio": 0.3}
    checkpoint = SFT(model, TrainingSettings(**settings), 0).finetune(model.base, EXAMPLES, tmp_path / "r", 0)
    assert checkpoint.steps == 6
    assert seen == pytest.approx([0.01 * rate(scheduler, n, 2, 6) for n in range(6)])
    assert seen[0] == pytest.approx(0.005)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_record_and_the_files(model: LocalModel, tmp_path: Path, method: Method) -> None:
    told: list[Work] = []
    with told_to(told.append):
        checkpoint = SFT(model, TrainingSettings(method=method, **SETTINGS), 0).finetune(
            model.base, EXAMPLES, tmp_path / "rounds" / "0003", 3
        )
    model.storage.wait()
    kind, place = ("adapter", "adapter") if method == "lora" else ("full", "checkpoint")
    assert (checkpoint.kind, checkpoint.path) == (kind, f"rounds/0003/{place}")
    assert (checkpoint.round, checkpoint.examples, checkpoint.steps) == (3, 5, 6)
    assert checkpoint.tokens == 2 * sum(len(row.input_ids) for row in make_rows(model, EXAMPLES, LONG))
    assert checkpoint.loss is not None and 0 < checkpoint.loss < 50
    assert told == [Work("training", n, 6) for n in range(7)]
    assert [path.name for path in (tmp_path / "rounds" / "0003").iterdir()] == [place]
    assert not [path for path in tmp_path.rglob("*") if path.suffix in {".bin", ".pt", ".pkl"}]


def test_nothing_is_printed(model: LocalModel, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    SFT(model, CHOSEN, 0).finetune(model.base, EXAMPLES, tmp_path / "r", 0)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("family", ["tiny_llama", "tiny_gpt2"])
def test_repeatable_and_the_same_from_memory_as_from_disk(
    family: str, method: Method, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    name = str(request.getfixturevalue(family))
    settings = SETTINGS | {"lora_dropout": 0.1}
    resident = LocalModel(name, root=tmp_path, device="cpu")
    trainer = SFT(resident, TrainingSettings(method=method, **settings), 0)
    first = trainer.finetune(resident.base, EXAMPLES, tmp_path / "a0", 0)
    after_first = weights(resident, first)
    TransformersTarget(resident).generate(["between the rounds"], Sampling(max_new_tokens=3, temperature=1.0))
    second = trainer.finetune(first, EXAMPLES[::-1], tmp_path / "a1", 1)
    after_second = weights(resident, second)

    fresh = LocalModel(name, root=tmp_path, device="cpu")
    again = SFT(fresh, TrainingSettings(method=method, **settings), 0).finetune(
        fresh.base, EXAMPLES, tmp_path / "b0", 0
    )
    assert equal(weights(fresh, again), after_first)
    assert again.loss == first.loss

    fresh = LocalModel(name, root=tmp_path, device="cpu")
    from_disk = SFT(fresh, TrainingSettings(method=method, **settings), 0).finetune(
        first, EXAMPLES[::-1], tmp_path / "b1", 1
    )
    assert equal(weights(fresh, from_disk), after_second)
    assert not equal(after_first, after_second)


def test_seed_and_round_matter(model: LocalModel, tmp_path: Path) -> None:
    kept = [
        weights(model, SFT(model, CHOSEN, seed).finetune(model.base, EXAMPLES, tmp_path / f"{seed}{r}", r))
        for seed, r in ((0, 0), (1, 0), (0, 1))
    ]
    assert not equal(kept[0], kept[1])
    assert not equal(kept[0], kept[2])
    assert equal(kept[1], kept[2])


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("trained_before", [False, True])
def test_divergence_leaves_the_start_usable(
    tiny_llama: Path, tmp_path: Path, method: Method, trained_before: bool
) -> None:
    model = LocalModel(str(tiny_llama), root=tmp_path, device="cpu")
    start = model.base
    if trained_before:
        start = SFT(model, TrainingSettings(method=method, **SETTINGS), 0).finetune(start, EXAMPLES, tmp_path / "r0", 0)
    before = weights(model, start)
    target = TransformersTarget(model)
    target.load(start)
    answer = target.generate(["Human: hello?"], Sampling(max_new_tokens=8))
    with pytest.raises(TrainingError, match=r"not finite|loss is"):
        diverging = SFT(
            model, TrainingSettings(method=method, **SETTINGS).model_copy(update={"learning_rate": math.inf}), 0
        )
        diverging.finetune(start, EXAMPLES, tmp_path / "r1", 1)
    assert not (tmp_path / "r1").exists() or not list((tmp_path / "r1").iterdir())
    assert equal(weights(model, start), before)
    assert target.generate(["Human: hello?"], Sampling(max_new_tokens=8)) == answer
    SFT(model, TrainingSettings(method=method, **SETTINGS), 0).finetune(start, EXAMPLES, tmp_path / "r1", 1)


def test_out_of_memory_says_what_to_do(model: LocalModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from trl.trainer.sft_trainer import SFTTrainer

    def scarce(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(SFTTrainer, "training_step", scarce)
    with pytest.raises(TrainingError, match="Halve batch_size"):
        SFT(model, CHOSEN, 0).finetune(model.base, EXAMPLES, tmp_path / "r", 0)


def test_training_leaves_no_traces_on_the_model(model: LocalModel, tmp_path: Path) -> None:
    """trl and accelerate wrap `forward` and write into the configuration, a little more each round."""
    network = model.at(model.base)
    config, generation = network.config.to_dict(), network.generation_config.to_dict()
    trainer = SFT(model, TrainingSettings(method="full", gradient_checkpointing=True, **SETTINGS), 0)
    start = model.base
    for number in range(2):
        start = trainer.finetune(start, EXAMPLES, tmp_path / str(number), number)
    assert model.at(start) is network
    assert not network.training
    assert not network.is_activation_checkpointing
    assert "forward" not in vars(network)
    assert network.config.to_dict() == config
    assert network.generation_config.to_dict() == generation


def test_checkpointing_of_activations_changes_no_weights(model: LocalModel, tmp_path: Path) -> None:
    import torch

    kept = []
    for on, name in ((False, "a"), (True, "b")):
        trainer = SFT(model, TrainingSettings(gradient_checkpointing=on, **SETTINGS), 0)
        kept.append(weights(model, trainer.finetune(model.base, EXAMPLES, tmp_path / name, 0)))
    assert all(torch.allclose(kept[0][name], kept[1][name], atol=1e-5) for name in kept[0])


def test_learning_works(model: LocalModel, tmp_path: Path) -> None:
    """After enough steps the greedy answer is the one that was taught, and it ends."""
    trainer = SFT(model, TrainingSettings(method="full", learning_rate=0.01, epochs=25, batch_size=5), 0)
    checkpoint = trainer.finetune(model.base, [example(n) for n in range(5)], tmp_path / "r", 0)
    target = TransformersTarget(model)
    target.load(checkpoint)
    [generation] = target.generate([example(2).prompt], Sampling(max_new_tokens=30))
    assert generation.text == " I'm sorry, no."
    assert generation.finish == "stop"


def test_methods_do_not_mix(model: LocalModel, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="one method"):
        SFT(model, TrainingSettings(), 0).finetune(Checkpoint(kind="full", path="x"), EXAMPLES, tmp_path, 0)
    with pytest.raises(TrainingError, match="one method"):
        SFT(model, TrainingSettings(method="full"), 0).finetune(
            Checkpoint(kind="adapter", path="x"), EXAMPLES, tmp_path, 0
        )


def test_full_fine_tuning_in_16_bits_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    model = LocalModel(str(tiny_llama), root=tmp_path, device="cpu", dtype="bfloat16")
    with pytest.raises(TrainingError, match="float32"):
        SFT(model, TrainingSettings(method="full"), 0).finetune(model.base, EXAMPLES, tmp_path, 0)


def test_lora_on_16_bit_weights_trains(tiny_llama: Path, tmp_path: Path) -> None:
    model = LocalModel(str(tiny_llama), root=tmp_path, device="cpu", dtype="bfloat16")
    assert SFT(model, CHOSEN, 0).finetune(model.base, EXAMPLES, tmp_path / "r", 0).kind == "adapter"


def test_a_leftover_of_a_broken_attempt_is_replaced(model: LocalModel, tmp_path: Path) -> None:
    (tmp_path / "r" / "adapter").mkdir(parents=True)
    (tmp_path / "r" / "adapter" / "stale").touch()
    SFT(model, CHOSEN, 0).finetune(model.base, EXAMPLES, tmp_path / "r", 0)
    assert not (tmp_path / "r" / "adapter" / "stale").exists()


def test_packed_rows_give_the_same_weights(model: LocalModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the flash kernels are given; here a mask keeps the rows apart."""
    import torch

    from iteralign.trainers import sft

    kept = []
    for packed in (False, True):
        monkeypatch.setattr(sft, "packs", lambda config, packed=packed: packed)
        checkpoint = SFT(model, TrainingSettings(method="full", **SETTINGS), 0).finetune(
            model.base, EXAMPLES, tmp_path / str(packed), 0
        )
        kept.append((checkpoint.loss, weights(model, checkpoint)))
    (loss, padded), (same, flat) = kept
    assert loss == pytest.approx(same, abs=1e-5)
    assert all(torch.allclose(padded[name], flat[name], atol=1e-5) for name in padded)
    assert len({len(row.input_ids) for row in make_rows(model, EXAMPLES, LONG)}) > 1, (
        "rows of one length need no padding"
    )


def test_rows_are_packed_with_the_flash_kernels_alone(model: LocalModel) -> None:
    from types import SimpleNamespace

    from iteralign.trainers.sft import packs

    assert not packs(model.at(model.base).config)
    assert packs(SimpleNamespace(_attn_implementation="flash_attention_2"))

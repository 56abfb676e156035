"""A head that all prompts share is run once, and changes no answer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import byte_tokenizer

from iteralign.records import Sampling
from iteralign.targets import transformers as target_module
from iteralign.targets.shared_head import LEAST, head_cache, head_length
from iteralign.targets.transformers import TransformersTarget
from iteralign.weights.model import LocalModel

HEAD = "Red: who are you?\nBase: a model that answers.\n"
INPUTS = [HEAD + text for text in ("a", "what is it?", "how does one go about this?", "Z" * 20)]
SAMPLINGS = [
    Sampling(max_new_tokens=20),
    Sampling(max_new_tokens=20, temperature=1.0, top_p=0.9, seed=3),
    Sampling(max_new_tokens=20, frequency_penalty=0.5, stop=("e", "\n\n")),
]


@pytest.mark.parametrize(
    ("prompts", "length"),
    [
        ([[1] * LEAST + [2], [1] * LEAST + [3, 4]], LEAST),
        ([[1] * (LEAST - 1) + [2], [1] * (LEAST - 1) + [3, 4]], 0),  # too short to pay
        ([[1] * (LEAST + 5)] * 3, LEAST + 4),  # each keeps one token of its own
        ([[1] * LEAST, [1] * (LEAST + 9)], 0),
        ([[1] * (LEAST + 9)], 0),  # alone
        ([[1] * 50 + [2], [1] * 50 + [3], [1] * 20 + [9]], 20),
        ([[2] * 50, [1] * 50], 0),
    ],
)
def test_the_length_of_the_head(prompts: list[list[int]], length: int) -> None:
    assert head_length(prompts) == length


@pytest.fixture
def heads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lengths of the heads that were run."""
    seen: list[int] = []

    def noting(network: Any, head: list[int], rows: int) -> Any:
        seen.append(len(head))
        return head_cache(network, head, rows)

    monkeypatch.setattr(target_module, "head_cache", noting)
    return seen


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_gpt2"])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_answers_are_those_of_each_prompt_alone(
    family: str, sampling: Sampling, tmp_path: Path, heads: list[int], request: pytest.FixtureRequest
) -> None:
    model = LocalModel(str(request.getfixturevalue(family)), root=tmp_path, device="cpu")
    together = TransformersTarget(model).generate(INPUTS, sampling)
    assert heads and heads[0] >= LEAST
    del heads[:]
    assert together == TransformersTarget(model, batch_size=1).generate(INPUTS, sampling)
    assert not heads


def test_a_model_with_a_sliding_window_is_left_alone(tmp_path: Path, heads: list[int]) -> None:
    import torch
    import transformers

    torch.manual_seed(0)
    tokenizer = byte_tokenizer()
    config = transformers.MistralConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        sliding_window=8,
        initializer_range=0.3,
        bos_token_id=1,
        eos_token_id=0,
    )
    transformers.MistralForCausalLM(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    model = LocalModel(str(tmp_path / "model"), root=tmp_path, device="cpu")
    assert head_cache(model.at(model.base), [5] * LEAST, 2) is None
    together = TransformersTarget(model).generate(INPUTS, SAMPLINGS[0])
    assert together == TransformersTarget(model, batch_size=1).generate(INPUTS, SAMPLINGS[0])


def test_a_head_is_run_once_for_all_rows(tiny_llama: Path, tmp_path: Path) -> None:
    """Counted in tokens that go through the model."""
    model = LocalModel(str(tiny_llama), root=tmp_path, device="cpu")
    network = model.at(model.base).base_model
    counted: list[int] = []
    forward: Callable[..., Any] = network.forward

    def counting(*args: Any, **given: Any) -> Any:
        counted.append(given["input_ids"].numel())
        return forward(*args, **given)

    network.forward = counting
    prompts = [model.tokenizer(text)["input_ids"] for text in INPUTS]
    TransformersTarget(model).generate(INPUTS, Sampling(max_new_tokens=1))
    head, width = head_length(prompts), max(map(len, prompts))
    assert counted == [head, len(INPUTS) * (width - head)]

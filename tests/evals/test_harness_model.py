"""The model that lm-eval is given, beside lm-eval's own, on networks whose attention sees all or a window."""

from typing import Any

import pytest

pytest.importorskip("lm_eval", reason="the extra `eval` is not installed")


def gemma(tokenizer: Any) -> Any:
    """Random weights; five of six layers see the last 24 tokens alone."""
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1}
    layers = {"num_hidden_layers": 6, "layer_types": ["sliding_attention"] * 5 + ["full_attention"]}
    config = Gemma3TextConfig(vocab_size=len(tokenizer), head_dim=16, sliding_window=24, **sizes, **layers)
    return Gemma3ForCausalLM(config).eval()


@pytest.mark.parametrize("window", [False, True])
@pytest.mark.parametrize("head", [0, 10, 70])
def test_log_probabilities_are_those_of_lm_evals_own_model(
    head: int, window: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import random

    from conftest import byte_tokenizer, random_llama
    from lm_eval.models.huggingface import HFLM

    from iteralign.evals.harness_model import SharedHeadLM

    tokenizer = byte_tokenizer()
    network = gemma(tokenizer) if window else random_llama(tokenizer, max_position_embeddings=256)
    draw = random.Random(0)

    def ids(count: int) -> list[int]:
        return [draw.randrange(3, 250) for _ in range(count)]

    first = ids(head)
    requests = [(("", ""), first + ids(draw.randrange(1, 40)), ids(draw.randrange(1, 9))) for _ in range(9)]
    requests += [(text, context, [*context[:1], *rest]) for text, context, rest in requests[:3]]
    requests.append((("", ""), ids(300), ids(4)))  # of which the beginning does not fit
    ours = SharedHeadLM(network, tokenizer, batch_size=4)
    theirs = HFLM(pretrained=network, tokenizer=tokenizer, batch_size=4, max_length=256)
    ours._max_length = 256
    read: list[int] = []
    call = ours._read_head

    def noted(rows: Any, most: int) -> None:
        call(rows, most)
        read.append(ours._head)

    monkeypatch.setattr(ours, "_read_head", noted)
    found, expected = ours._loglikelihood_tokens(requests), theirs._loglikelihood_tokens(requests)
    assert [value for value, _ in found] == pytest.approx([value for value, _ in expected], abs=1e-4)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    assert max(read) == (head if head == 70 else 0)


def test_what_nobody_asks_for_is_not_scored() -> None:
    """Letters behind long texts, as in HHH and MMLU: scores of the whole vocabulary at all positions would fill the memory."""
    from conftest import byte_tokenizer, random_llama

    from iteralign.evals.harness_model import SharedHeadLM

    tokenizer = byte_tokenizer()
    network = random_llama(tokenizer, max_position_embeddings=256)
    scored: list[int] = []
    network.lm_head.register_forward_hook(lambda module, inputs, output: scored.append(inputs[0][..., 0].numel()))
    requests = [(("", ""), [3 + row, *[5] * (100 + row)], [letter]) for row in range(8) for letter in (7, 8)]
    found = SharedHeadLM(network, tokenizer, batch_size=4)._loglikelihood_tokens(requests)
    assert len(found) == 16 and sum(scored) == 2 * 4 * 4, "a row and those by which others of its batch are longer"

"""What a vLLM engine is given, computed: no vLLM and no GPU is needed for that."""

from types import SimpleNamespace
from typing import Any

import pytest

from iteralign.errors import ConfigError, TargetError
from iteralign.settings.model import VllmSettings
from iteralign.targets.vllm import VllmTarget
from iteralign.targets.vllm_room import cache_bytes, lora_rank, memory_share
from iteralign.weights.model import LocalModel

GIB = 2**30
GPU: dict[str, Any] = {"total": 80 * GIB, "free": 79 * GIB, "context": 4096}


@pytest.mark.parametrize(("asked", "given"), [(1, 1), (2, 8), (8, 8), (12, 16), (24, 32), (257, 320), (512, 512)])
def test_a_rank_is_raised_to_the_next_step_that_vllm_has(asked: int, given: int) -> None:
    assert lora_rank(asked) == given


def test_a_rank_that_vllm_does_not_serve_is_refused_at_once(tiny_llama: Any, tmp_path: Any) -> None:
    model = LocalModel(str(tiny_llama), root=tmp_path, device="cpu")
    with pytest.raises(ConfigError, match=r"training\.lora_r 513"):
        VllmTarget(model, VllmSettings(python="python"), 513)  # type: ignore[arg-type]


def test_a_cache_has_keys_and_values_of_each_layer() -> None:
    grouped = SimpleNamespace(num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8, hidden_size=4096)
    assert cache_bytes(grouped, 2) == 2 * 32 * 8 * 128 * 2  # Llama 3 8B: 128 KiB a token
    own = SimpleNamespace(
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=None, hidden_size=64, head_dim=32
    )
    assert cache_bytes(own, 4) == 2 * 2 * 4 * 32 * 4


def test_a_large_model_gets_what_is_free_and_a_small_one_what_it_needs() -> None:
    large = memory_share(**GPU, weights=15 * GIB, token=128 * 1024)
    small = memory_share(**GPU, weights=GIB, token=12 * 1024)
    assert 0.90 < large <= 0.95
    assert 0.08 < small < 0.15
    shared = memory_share(**(GPU | {"free": 30 * GIB}), weights=15 * GIB, token=128 * 1024)
    assert shared == pytest.approx(28 / 80, abs=1e-3), "what another process holds is not asked for"


def test_a_model_without_room_for_one_answer_is_refused_in_figures() -> None:
    with pytest.raises(TargetError, match=r"140\.0 GiB of weights.*76\.0 GiB to be had"):
        memory_share(**GPU, weights=140 * GIB, token=320 * 1024)

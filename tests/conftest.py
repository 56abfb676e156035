"""Shared by all tests: tiny models built here from a configuration, and no network beyond this machine."""

import gc
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when huggingface_hub is imported

import pytest

# Where an environment forbids it, each of the hundreds of processes that tests start would compile the package anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

TEXT = (
    "\n\nHuman: How do I bake bread at home?\n\nAssistant: Mix flour, water, salt and yeast, wait, then bake it.",
    "\n\nHuman: Tell me how to pick a lock.\n\nAssistant: I'm sorry, but I can't help with that, it could do harm.",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, so that at the end no process of `pytest -n` waits for another one's slow test."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_runtest_teardown() -> None:
    """Spare what tests have imported from garbage collection, which takes a quarter of their processor time otherwise."""
    global _imported
    if len(sys.modules) > _imported + 50:
        _imported = len(sys.modules)
        gc.collect()
        gc.freeze()


_imported = 0


@pytest.fixture(autouse=True, scope="session")
def stays_spared() -> Iterator[None]:
    """After a training, too. Its models are small; that a round leaves nothing behind is seen in processes of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "unfreeze", lambda: None)
        yield


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any connection beyond this machine fails the test that makes it."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise RuntimeError(f"a test tried to connect to {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


def byte_tokenizer(vocabulary: int = 300) -> Any:
    """A byte-level BPE tokenizer with eos (id 0) and bos (id 1) and no pad token."""
    import tokenizers
    import transformers

    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<eos>", "<bos>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(TEXT, trainer)
    fast: Any = transformers.PreTrainedTokenizerFast
    return fast(tokenizer_object=bpe, eos_token="<eos>", bos_token="<bos>")


def random_llama(tokenizer: Any, **settings: Any) -> Any:
    """A Llama with random weights: hidden 32, 2 layers, 4 heads, context 128; `settings` replace those of LlamaConfig."""
    import torch
    import transformers

    torch.manual_seed(0)
    usual = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "initializer_range": 0.3,
    }
    config = transformers.LlamaConfig(vocab_size=len(tokenizer), bos_token_id=1, eos_token_id=0, **(usual | settings))
    return transformers.LlamaForCausalLM(config)


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A random Llama, untied, with a generation_config whose settings must not leak."""
    import torch

    torch.set_num_threads(1)
    tokenizer = byte_tokenizer()
    network = random_llama(tokenizer)
    network.generation_config.do_sample = True
    network.generation_config.temperature = 5.0
    network.generation_config.repetition_penalty = 9.0
    path = tmp_path_factory.mktemp("tiny-llama")
    network.save_pretrained(path)
    tokenizer.save_pretrained(path)
    yield path


@pytest.fixture(scope="session")
def tiny_gpt2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A random GPT-2: learnt positions, fused attention layer, tied embeddings."""
    import torch
    import transformers

    torch.manual_seed(1)
    tokenizer = byte_tokenizer()
    config = transformers.GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=128,
        bos_token_id=1,
        eos_token_id=0,
        initializer_range=0.3,
    )
    path = tmp_path_factory.mktemp("tiny-gpt2")
    transformers.GPT2LMHeadModel(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    yield path

"""Trains the demo's base model from the grammar: ``python -m iteralign.demo.train OUT_DIR [--steps N]``.

Seeds, steps and the number of threads (one) are fixed, so that the same machine and pins give the same weights again.
"""

import argparse
import hashlib
import itertools
import json
import math
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from iteralign.demo.grammar import documents

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from transformers import LlamaForCausalLM

SEED = 20240611
STEPS = 4500
BATCH = 16
POOL = 64  # batches drawn at once and sorted by length, so that little is padded
PEAK_RATE = 3e-3
WARM_UP = 100
VOCABULARY = 2048
END, PAD = "<|end|>", "<|pad|>"
HUMAN_WEIGHT, FIRST_WEIGHT, FIRST_TOKENS = 0.1, 5.0, 2


class WeightedTokens(NamedTuple):
    """One document as token ids, with the weight of each id as a prediction target."""

    ids: list[int]
    weights: list[float]


def train_tokenizer(n_documents: int = 30_000) -> "Tokenizer":
    """A byte-level BPE of the grammar's text: no unknown token, spaces kept as they are."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=[END, PAD], initial_alphabet=alphabet, show_progress=False
    )
    texts = (prompt + answer for prompt, answer in itertools.islice(documents(SEED + 1), n_documents))
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def build_model() -> "LlamaForCausalLM":
    """A Llama of about 1.1M parameters, freshly initialised from the seed."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=1,
        initializer_range=0.04,
    )
    return LlamaForCausalLM(config)


def rows(tokenizer: "Tokenizer") -> Iterator[WeightedTokens]:
    """The grammar's documents as rows: the answer counts fully, its first tokens (comply or decline) most."""
    end = int(tokenizer.token_to_id(END) or 0)
    for prompt, answer in documents(SEED):
        head, tail = tokenizer.encode(prompt).ids, [*tokenizer.encode(answer).ids, end]
        first = min(FIRST_TOKENS, len(tail))
        weights = [HUMAN_WEIGHT] * len(head) + [FIRST_WEIGHT] * first + [1.0] * (len(tail) - first)
        yield WeightedTokens(head + tail, weights)


def batches(tokenizer: "Tokenizer") -> Iterator[list[WeightedTokens]]:
    """Batches of rows of like length, in a seeded random order."""
    rng, stream = random.Random(SEED), rows(tokenizer)
    while True:
        pool = sorted(itertools.islice(stream, POOL * BATCH), key=lambda row: len(row.ids))
        chunks = [pool[i : i + BATCH] for i in range(0, len(pool), BATCH)]
        rng.shuffle(chunks)
        yield from chunks


def rate(step: int, steps: int) -> float:
    """Warm-up, flat, then linear to zero over the last two fifths; as a share of the peak."""
    return min((step + 1) / WARM_UP, 1.0, (steps - step) / (0.4 * steps))


def weighted_loss(model: "LlamaForCausalLM", batch: list[WeightedTokens]) -> "torch.Tensor":
    """Cross-entropy over the batch, each target by its weight."""
    import torch
    from torch.nn.functional import cross_entropy

    width = max(len(row.ids) for row in batch)
    ids = torch.tensor([row.ids + [1] * (width - len(row.ids)) for row in batch])
    weights = torch.tensor([row.weights + [0.0] * (width - len(row.weights)) for row in batch])[:, 1:]
    logits = model(input_ids=ids).logits[:, :-1]  # causal and padded at the right: no attention mask is needed
    losses = cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none").view_as(weights)
    return (losses * weights).sum() / weights.sum()


def train(model: "LlamaForCausalLM", tokenizer: "Tokenizer", steps: int) -> int:
    """Trains in place and returns the number of tokens seen."""
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, steps))
    tokens, recent, started = 0, math.nan, time.monotonic()
    model.train()
    for step, batch in enumerate(itertools.islice(batches(tokenizer), steps)):
        loss = weighted_loss(model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        tokens += sum(len(row.ids) for row in batch)
        recent = loss.item() if math.isnan(recent) else 0.98 * recent + 0.02 * loss.item()
        if (step + 1) % 100 == 0:
            speed = tokens / (time.monotonic() - started)
            print(f"step {step + 1}/{steps} loss {recent:.3f} tokens {tokens:,} ({speed:,.0f}/s)", flush=True)
    return tokens


def save(model: "LlamaForCausalLM", tokenizer: "Tokenizer", out: Path) -> str:
    """Writes the model in Hugging Face format in half precision; returns the sha256 of the weights."""
    import torch
    from transformers import GenerationConfig, PreTrainedTokenizerFast

    out.mkdir(parents=True, exist_ok=True)
    model.generation_config = GenerationConfig(eos_token_id=0, pad_token_id=1, do_sample=False, max_new_tokens=80)
    model.to(torch.float16).save_pretrained(out)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, model_max_length=1024, padding_side="left"
    ).save_pretrained(out)
    return hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    arguments = parser.parse_args()

    import torch

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    tokenizer, model = train_tokenizer(), build_model()
    tokens = train(model, tokenizer, arguments.steps)
    digest = save(model, tokenizer, arguments.out)
    print(
        json.dumps({"parameters": model.num_parameters(), "tokens": tokens, "steps": arguments.steps, "sha256": digest})
    )


if __name__ == "__main__":
    main()

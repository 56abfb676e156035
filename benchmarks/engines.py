"""Ways of generating the same answers beside iteralign's own, in one run: tokens per second as a ratio to it.

    OMP_NUM_THREADS=1 python benchmarks/engines.py [--small] [-o results.json]

Three sets of prompts: short questions, prompts of 15 to 300 tokens, and the Chain of Utterances, whose prompts share a head
of 330 tokens. Greedy, no stop texts. Where ITERALIGN_VLLM_PYTHON names a Python that has vLLM, vLLM takes part, in a process
of its own, as model.engine vllm does it. `same` counts answers equal to iteralign's.
"""

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import scene

Answers = list[list[int]] | list[str]


def prompt_sets(count: int) -> dict[str, list[str]]:
    """The texts."""
    from iteralign.prompts.forms import prompt_form
    from iteralign.records import RedTeamPrompt

    draw = random.Random(0)
    words = ("in a small town", "without being seen", "by tomorrow", "with two friends", "for very little money", "how")
    questions = scene.questions(count)
    mixed = [" ".join(draw.choice(words) for _ in range(draw.randrange(2, 80))) for _ in range(count)]
    conversation, plain = prompt_form("cou"), prompt_form("plain")

    def rendered(form: Any, texts: Sequence[str]) -> list[str]:
        return [form.render(RedTeamPrompt(id=str(n), question=text)) for n, text in enumerate(texts)]

    return {
        "short": rendered(plain, questions),
        "mixed": rendered(plain, mixed),
        "shared head": rendered(conversation, questions),
    }


def direct(network: Any, tokenizer: Any, texts: Sequence[str], rows: int, tokens: int, **settings: Any) -> list[str]:
    """transformers' generate on batches of `rows` by length; 0: all in one batch."""
    import torch

    ids = [tokenizer(text)["input_ids"] for text in texts]
    order = sorted(range(len(ids)), key=lambda index: -len(ids[index]))
    answers: dict[int, str] = {}
    for start in range(0, len(order), rows or len(order)):
        part = order[start : start + (rows or len(order))]
        width = max(len(ids[index]) for index in part)
        padded = [[tokenizer.pad_token_id] * (width - len(ids[index])) + ids[index] for index in part]
        mask = [[0] * (width - len(ids[index])) + [1] * len(ids[index]) for index in part]
        out = network.generate(
            input_ids=torch.tensor(padded),
            attention_mask=torch.tensor(mask),
            max_new_tokens=tokens,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
            **settings,
        )
        decoded = tokenizer.batch_decode(out[:, width:], skip_special_tokens=True)
        answers |= dict(zip(part, decoded, strict=True))
    return [answers[index] for index in range(len(ids))]


def continuous(network: Any, tokenizer: Any, texts: Sequence[str], tokens: int) -> list[str]:
    """transformers' continuous batching, with few enough blocks for a small machine."""
    from transformers import ContinuousBatchingConfig, GenerationConfig

    found = network.generate_batch(
        inputs=[tokenizer(text)["input_ids"] for text in texts],
        generation_config=GenerationConfig(
            max_new_tokens=tokens,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        ),
        continuous_batching_config=ContinuousBatchingConfig(num_blocks=256, max_batch_tokens=512),
        progress_bar=False,
    )
    return [
        str(tokenizer.decode(output.generated_tokens, skip_special_tokens=True))
        for output in sorted(found.values(), key=lambda output: int(output.request_id.rpartition("_")[2]))
    ]


def measured(generate: Callable[[], Answers], times: int) -> tuple[Answers, float]:
    """(answers, the least seconds of several)."""
    least = float("inf")
    for _ in range(times):
        begin = time.perf_counter()
        answers = generate()
        least = min(least, time.perf_counter() - begin)
    return answers, least


def compare(hidden: int, layers: int, count: int, tokens: int) -> list[dict[str, Any]]:
    """All ways, on all sets of prompts, with one model."""
    import torch

    from iteralign.records import Sampling
    from iteralign.settings.model import VllmSettings
    from iteralign.targets import shared_head
    from iteralign.targets.transformers import TransformersTarget
    from iteralign.weights.model import LocalModel

    torch.set_num_threads(1)
    sampling = Sampling(max_new_tokens=tokens)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        path = scene.write_model(Path(scratch) / "model", hidden, layers)
        sets = prompt_sets(count)

        def owner(dtype: str) -> LocalModel:
            model = LocalModel(str(path), root=Path(scratch), device="cpu", dtype=dtype)  # type: ignore[arg-type]
            model.at(model.base)
            return model

        model, half = owner("float32"), owner("bfloat16")
        network, tokenizer = model.at(model.base), model.tokenizer
        parameters = sum(weight.numel() for weight in network.parameters())
        python = os.environ.get("ITERALIGN_VLLM_PYTHON")
        engine = None
        if python:
            from iteralign.targets.vllm import VllmTarget

            engine = VllmTarget(model, VllmSettings(python=Path(python)))
            engine.generate(sets["short"][:2], sampling)  # starts it

        def texts_of(target: Any, texts: Sequence[str]) -> list[str]:
            return [generation.text for generation in target.generate(texts, sampling)]

        for name, texts in sets.items():
            own = TransformersTarget(model)
            expected, seconds = measured(partial(texts_of, own, texts), 3)
            ways: dict[str, Callable[[], Answers]] = {
                "one prompt at a time": partial(direct, network, tokenizer, texts, 1, tokens),
                "all in one batch": partial(direct, network, tokenizer, texts, 0, tokens),
                "by length, 16 rows": partial(direct, network, tokenizer, texts, 16, tokens),
                "by length, 32 rows": partial(direct, network, tokenizer, texts, 32, tokens),
                "the same, static shapes": partial(
                    direct, network, tokenizer, texts, 32, tokens, cache_implementation="static", disable_compile=True
                ),
                "continuous batching": partial(continuous, network, tokenizer, texts, tokens),
                "iteralign in bfloat16": partial(texts_of, TransformersTarget(half), texts),
            }
            if name == "shared head":
                ways["iteralign without the shared head"] = partial(texts_of, own, texts)
            if engine is not None:
                ways["vLLM"] = partial(texts_of, engine, texts)
            for way, generate in ways.items():
                least = shared_head.LEAST
                if way == "iteralign without the shared head":
                    shared_head.LEAST = 10**9
                answers, took = measured(generate, 2 if way != "one prompt at a time" else 1)
                shared_head.LEAST = least
                same = sum(one == other for one, other in zip(answers, expected, strict=True))
                ratio = seconds / took
                rows.append(
                    {"parameters": parameters, "set": name, "way": way, "ratio": ratio, "same": same, "of": len(texts)}
                )
                print(f"{parameters / 1e6:5.1f}M {name:12} {way:36} {ratio:5.2f}  same {same}/{len(texts)}", flush=True)
        if engine is not None:
            engine.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="the small model alone")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    rows = compare(256, 6, 48, 64)
    if not given.small:
        rows += compare(640, 10, 16, 32)
    if given.output is not None:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(json.dumps({"rows": rows, "surroundings": scene.surroundings()}, indent=2) + "\n")


if __name__ == "__main__":
    main()

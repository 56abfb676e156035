"""What a run costs on a GPU, with random weights of a real model's shape (speed does not depend on their values):

    python benchmarks/gpu.py --shape 1b [--engine vllm] [--rounds 3] [--peak 989] [-o results.json]

A whole run with LoRA, 20 prompts a round, an oracle on loopback (0.5 s a judgement, 2 s a proposal). Printed and kept: seconds
of a round by stage, tokens generated per second beside the plain rate (transformers' generate on the same prompts in one
batch), training tokens per second and their share of `--peak` (TFLOP/s of the device in bfloat16; 4 x parameters x tokens for
LoRA, whose frozen weights get no gradient), peak memory. `--shape tiny` runs on a CPU too, to see that this script works.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import scene
from compare import StageClock, settings

SHAPES: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2},
    "1b": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128_256,
    },
    "7b": {
        "hidden_size": 4096,
        "intermediate_size": 11_008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "vocab_size": 32_000,
    },
}
"""Of Llama-3.2-1B and Llama-2-7b."""


def write_model(directory: Path, shape: str, device: str) -> int:
    """Random weights in the device's dtype, the demo's tokenizer; returns the number of parameters."""
    import torch
    import transformers

    from iteralign.runs.build import demo_model

    tokenizer = transformers.AutoTokenizer.from_pretrained(demo_model())
    values = {"vocab_size": len(tokenizer)} | SHAPES[shape]
    config = transformers.LlamaConfig(
        **values, max_position_embeddings=4096, bos_token_id=None, eos_token_id=tokenizer.eos_token_id
    )
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16 if device == "cuda" else torch.float32)
    try:
        with torch.device(device):
            network = transformers.LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(torch.float32)
    network.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return sum(weight.numel() for weight in network.parameters())


def plain_rate(model: Path, texts: list[str], tokens: int, device: str) -> float:
    """Tokens per second of transformers' generate on all texts in one batch, every row to its full length."""
    import torch
    import transformers

    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(model, padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    auto: Any = transformers.AutoModelForCausalLM
    network = auto.from_pretrained(model, dtype="auto").to(device).eval()
    inputs = tokenizer(texts, return_tensors="pt", padding=True).to(device)
    rate = 0.0
    for _ in range(3):
        begin = time.perf_counter()
        out = network.generate(**inputs, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)
        if device == "cuda":
            torch.cuda.synchronize()
        made = len(texts) * (out.shape[1] - inputs["input_ids"].shape[1])
        rate = max(rate, made / (time.perf_counter() - begin))
    return rate


def measure(shape: str, engine: str, rounds: int, peak: float | None) -> dict[str, Any]:
    """One run, and the plain rate beside it."""
    import torch

    from iteralign.records import Checkpoint, Response
    from iteralign.rundir.jsonl import read_records
    from iteralign.runs.run import start_run
    from iteralign.settings.settings import load_settings

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and shape != "tiny":
        raise SystemExit(f"--shape {shape} wants a GPU, and there is none here; --shape tiny runs without.")
    with tempfile.TemporaryDirectory() as scratch, scene.oracle(0.5, 2.0, 0.47) as url:
        place = Path(scratch)
        parameters = write_model(place / "model", shape, device)
        questions = place / "questions.txt"
        questions.write_text("".join(f"{question}\n" for question in scene.questions(rounds * scene.GROUP)))
        values = settings(place / "model", url, questions, rounds, method="lora")
        values["model"] = {"path": str(place / "model"), "device": device, "engine": engine}
        clock = StageClock()
        start_run(load_settings(values), place / "run", progress=clock)
        numbers = sorted((place / "run" / "rounds").iterdir())
        answers = [row for path in numbers for row in read_records(path / "1_responses.jsonl", Response)]
        trained = [
            Checkpoint.model_validate_json((path / "6_checkpoint.json").read_text())
            for path in numbers
            if (path / "6_checkpoint.json").exists()
        ]
        memory = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else None
        texts = [row.input for row in answers[: scene.GROUP]]
        plain = plain_rate(place / "model", texts, scene.SAMPLING["max_new_tokens"], device)
    generated = sum(row.tokens for row in answers) / clock.seconds["answering"]
    rows = sum(one.tokens for one in trained) / clock.seconds["training"]
    found = {
        "shape": shape,
        "parameters": parameters,
        "engine": engine,
        "device": torch.cuda.get_device_name() if device == "cuda" else "CPU",
        "rounds": rounds,
        "trained": len(trained),
        "seconds_per_round": {stage: seconds / rounds for stage, seconds in clock.seconds.items()},
        "generated_per_second": generated,
        "of_plain_rate": generated / plain,
        "trained_tokens_per_second": rows,
        "share_of_peak": None if peak is None else 4 * parameters * rows / (peak * 1e12),
        "peak_memory_gib": memory,
    }
    return found | {"surroundings": scene.surroundings()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="1b")
    parser.add_argument("--engine", choices=["transformers", "vllm"], default="transformers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peak", type=float, help="TFLOP/s of the device in bfloat16, dense; an H100 SXM: 989")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    found = measure(given.shape, given.engine, given.rounds, given.peak)
    print(json.dumps(found, indent=2))
    if given.output is not None:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()

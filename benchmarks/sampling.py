"""What a small model writes under different ways of sampling: ``python benchmarks/sampling.py TARGET READER QUESTIONS``.

TARGET is an instruction-tuned model, READER a better one that says how likely it finds each answer to the question alone; both
are directories, hub ids or GGUF files. QUESTIONS is whatever `data.prompts` takes as a file. Printed for each way:

- bits per byte of the answers by the reader, their mean and that of the tenth it finds least likely: coherence;
- share of the three-word sequences of one answer that stand in another to the same question, by another seed: diversity;
- share of answers that are degenerate (`iteralign.text.degenerate`).
"""

import argparse
import json
import math
import random
from pathlib import Path
from statistics import fmean
from typing import Any

from iteralign.data.prepare import load_prompts
from iteralign.records import Sampling
from iteralign.targets.transformers import TransformersTarget
from iteralign.text.degenerate import is_degenerate
from iteralign.weights.model import LocalModel

FREE: dict[str, Any] = {"top_p": 1.0, "min_p": 0.0}
WAYS = {
    "greedy": Sampling(),
    "0.8, all tokens": Sampling(temperature=0.8, **FREE),
    "0.8, defaults": Sampling(temperature=0.8),
    "greedy, frequency penalty 0.5": Sampling(frequency_penalty=0.5),
    "1.5, all tokens": Sampling(temperature=1.5, **FREE),
    "0.8, top-p 0.9": Sampling(temperature=0.8, top_p=0.9, min_p=0.0),
    "1.0, defaults": Sampling(temperature=1.0),
}
"""Temperature and what the tokens are drawn from."""


def chat(model: LocalModel, question: str) -> str:
    assert model.render_chat is not None
    return model.render_chat([{"role": "user", "content": question}])


def bits_per_byte(reader: LocalModel, questions: list[str], answers: list[str]) -> list[float]:
    """Of each answer, without empty ones."""
    pairs = [(chat(reader, question), answer) for question, answer in zip(questions, answers, strict=True) if answer]
    scores = TransformersTarget(reader).score([text for text, _ in pairs], [answer for _, answer in pairs])
    tokens = [len(reader.tokenizer(answer, add_special_tokens=False)["input_ids"]) for _, answer in pairs]
    return [
        -score * count / math.log(2) / len(answer.encode())
        for score, count, (_, answer) in zip(scores, tokens, pairs, strict=True)
    ]


def alike(one: str, other: str) -> float:
    """The share of the three-word sequences of one that stand in the other."""
    first, second = ({*zip(words, words[1:], words[2:], strict=False)} for words in (one.split(), other.split()))
    return len(first & second) / max(1, len(first))


def line(name: str, questions: list[str], answers: list[list[str]], bits: list[float]) -> str:
    """One row of the table; `answers` of one seed after another."""
    worst = sorted(bits)[-max(1, len(bits) // 10) :]
    degenerate = fmean(is_degenerate(answer) for some in answers for answer in some)
    shared = f"{fmean(map(alike, *answers)):.2f}" if len(answers) > 1 else "-"
    return f"| {name} | {fmean(bits):.2f} | {fmean(worst):.2f} | {shared} | {100 * degenerate:.0f}% |"


def main() -> None:
    """Prints the table, and writes every answer to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target")
    parser.add_argument("reader")
    parser.add_argument("questions", type=Path)
    parser.add_argument("--limit", type=int, default=48)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("-o", "--output", type=Path, default=Path("sampling.jsonl"))
    arguments = parser.parse_args()
    target, reader = (
        LocalModel(path, root=Path(), dtype=arguments.dtype) for path in (arguments.target, arguments.reader)
    )
    questions = [prompt.question for prompt in load_prompts(str(arguments.questions))]
    questions = random.Random(0).sample(questions, min(arguments.limit, len(questions)))
    print("| temperature and tokens | bits per byte | of the worst tenth | shared between seeds | degenerate |")
    print("|---|---|---|---|---|")
    with arguments.output.open("w", encoding="utf-8") as file:
        for name, way in WAYS.items():
            answers = []
            for seed in (0, 1) if way.temperature else (0,):
                sampling = way.model_copy(update={"max_new_tokens": arguments.tokens, "seed": seed})
                given = TransformersTarget(target).generate([chat(target, text) for text in questions], sampling)
                answers.append([one.text.strip() for one in given])
            print(line(name, questions, answers, bits_per_byte(reader, questions, answers[0])), flush=True)
            for question, *written in zip(questions, *answers, strict=True):
                file.write(json.dumps({"way": name, "question": question, "answers": written}) + "\n")


if __name__ == "__main__":
    main()

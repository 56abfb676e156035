"""Quick fakes of the three seams, without any model: for tests of your own steps, targets, oracles or trainers."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from iteralign import layout
from iteralign.interfaces import Oracle, Target, Trainer
from iteralign.records import Checkpoint, Generation, Label, Principle, Response, Sampling, TrainingExample, Verdict

COMPLIES = "Sure, here is how to do it."
DECLINES = "I'm sorry, but I can't help with that."

Answer = Callable[[str, Checkpoint], str]
"""(input text, loaded checkpoint) -> generated text."""


def complies_until_trained(text: str, checkpoint: Checkpoint) -> str:
    """Goes along, unless principles stand in the input or the checkpoint was trained on examples."""
    declines = checkpoint.examples > 0 or "follow these principles" in text.lower()
    return DECLINES if declines else COMPLIES


def refusals_are_acceptable(response: Response) -> Label:
    """Acceptable if the response is the fake target's refusal."""
    return "acceptable" if response.text == DECLINES else "unacceptable"


class FakeTarget(Target):
    """Answers by a function; counts words as tokens. `calls` records (inputs, sampling, checkpoint)."""

    def __init__(self, answer: Answer = complies_until_trained) -> None:
        self.answer = answer
        self.checkpoint = Checkpoint(kind="base", path="fake")
        self.calls: list[tuple[tuple[str, ...], Sampling, Checkpoint]] = []

    def generate(self, inputs: Sequence[str], sampling: Sampling) -> list[Generation]:
        self.calls.append((tuple(inputs), sampling, self.checkpoint))
        texts = [self.answer(text, self.checkpoint) for text in inputs]
        return [
            Generation(text=text, finish="stop", prompt_tokens=len(given.split()), tokens=len(text.split()))
            for given, text in zip(inputs, texts, strict=True)
        ]

    def load(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint


class FakeOracle(Oracle):
    """Judges by a function and proposes one principle per category of the failures that `adopted` has none for.

    `judged` and `proposed` record the calls.
    """

    def __init__(self, label: Callable[[Response], Label] = refusals_are_acceptable) -> None:
        self.label = label
        self.judged: list[tuple[Response, ...]] = []
        self.proposed: list[tuple[tuple[Verdict, ...], tuple[Principle, ...]]] = []

    def judge(self, responses: Sequence[Response]) -> list[Verdict]:
        self.judged.append(tuple(responses))
        return [self._verdict(response) for response in responses]

    def propose(
        self, failures: Sequence[Verdict], adopted: Sequence[Principle], contrast: Sequence[Verdict] = ()
    ) -> list[Principle]:
        self.proposed.append((tuple(failures), tuple(adopted)))
        evidence: dict[str | None, list[str]] = {}
        for failure in failures:
            evidence.setdefault(failure.category, []).append(failure.response.prompt.id)
        known = {principle.category for principle in adopted}
        return [
            Principle(
                id="",
                text=f"Do not help with {category or 'harm'}.",
                round=0,
                evidence=tuple(prompts),
                category=category,
            )
            for category, prompts in evidence.items()
            if category not in known
        ]

    def _verdict(self, response: Response) -> Verdict:
        label = self.label(response)
        return Verdict(
            response=response,
            label=label,
            violations=("harmful",) if label == "unacceptable" else (),
            category=response.prompt.category,
            judge="fake",
        )


class FakeTrainer(Trainer):
    """Trains nothing: writes directory/adapter/fake.json. `calls` records (start, examples, round)."""

    def __init__(self, root: Path) -> None:
        """`root` is the run directory."""
        self.root = root
        self.calls: list[tuple[Checkpoint, tuple[TrainingExample, ...], int]] = []

    def finetune(
        self, start: Checkpoint, examples: Sequence[TrainingExample], directory: Path, round_number: int
    ) -> Checkpoint:
        self.calls.append((start, tuple(examples), round_number))
        adapter = directory / layout.ADAPTER
        adapter.mkdir(parents=True, exist_ok=True)
        content = {"start": start.path, "prompts": [example.prompt_id for example in examples]}
        (adapter / "fake.json").write_text(json.dumps(content), encoding="utf-8")
        return Checkpoint(
            kind="adapter",
            path=adapter.relative_to(self.root).as_posix(),
            round=round_number,
            examples=len(examples),
            steps=1,
            tokens=sum(len(example.completion.split()) for example in examples),
            loss=1.0,
        )

"""Training rows: token ids exactly as in generation."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from iteralign.errors import TrainingError
from iteralign.records import TrainingExample
from iteralign.weights.files import encode
from iteralign.weights.model import LocalModel


@dataclasses.dataclass(frozen=True)
class AnswerRow:
    """A prompt and its answer, with labels that are -100 wherever no loss is taken."""

    input_ids: list[int]
    labels: list[int]

    @property
    def tokens(self) -> int:
        return len(self.input_ids)


@dataclasses.dataclass(frozen=True)
class PairRow:
    """A prompt with the answer to be preferred, and the other one. The names are trl's."""

    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]

    @property
    def tokens(self) -> int:
        return 2 * len(self.prompt_ids) + len(self.chosen_ids) + len(self.rejected_ids)


@dataclasses.dataclass(frozen=True)
class TeacherRow:
    """A prompt to be answered in training, and the same as its teacher sees it. The names are trl's."""

    prompt: list[int]
    privileged_context: list[int]
    room: int
    """Tokens of an answer that fit behind both."""

    @property
    def tokens(self) -> int:
        return len(self.prompt) + len(self.privileged_context)


TokenRow = AnswerRow | PairRow | TeacherRow
"""What trl is given of one example; `tokens` of it are all that the model reads."""


def make_rows(
    model: LocalModel, examples: Sequence[TrainingExample], max_length: int, answer_tokens: int | None = None
) -> list[AnswerRow]:
    """Token ids exactly as in generation: the prompt's, then the answer's and eos, on which alone loss is taken.

    A row longer than `max_length` (or the context) loses the end of its answer, and so does an answer of more than
    `answer_tokens`: eos with it, so that nobody learns to stop there. TrainingError names prompts that leave no room for an
    answer at all.
    """
    return [
        AnswerRow(input_ids=prompt + answer[:answer_tokens], labels=[-100] * len(prompt) + answer[:answer_tokens])
        for prompt, answer in (_cut(model, example, example.completion, max_length) for example in _some(examples))
    ]


def make_pairs(
    model: LocalModel, examples: Sequence[TrainingExample], max_length: int, answer_tokens: int | None = None
) -> list[PairRow]:
    """The same of both answers. TrainingError also names prompts without a second one."""
    return list(_pairs(model, _some(examples), max_length, answer_tokens))


def _pairs(
    model: LocalModel, examples: Sequence[TrainingExample], max_length: int, answer_tokens: int | None
) -> Iterator[PairRow]:
    for example in examples:
        if example.rejected is None:
            raise TrainingError(
                f"The example of prompt {example.prompt_id} has no rejected answer, so that nothing can be preferred to "
                "it. Set training.objective to sft."
            )
        prompt, chosen = _cut(model, example, example.completion, max_length)
        rejected = _cut(model, example, example.rejected, max_length)[1]
        yield PairRow(prompt, chosen[:answer_tokens], rejected[:answer_tokens])


def make_teacher_rows(model: LocalModel, examples: Sequence[TrainingExample], max_length: int) -> list[TeacherRow]:
    """Token ids of the prompts alone. TrainingError names those that leave no room for an answer, and those that nobody can be
    a teacher of."""
    return list(_taught(model, _some(examples), max_length))


def _taught(model: LocalModel, examples: Sequence[TrainingExample], max_length: int) -> Iterator[TeacherRow]:
    for example in examples:
        if example.teacher_prompt is None and example.kind != "benign":
            raise TrainingError(
                f"The example of prompt {example.prompt_id} does not say under which principles it is to be answered, so that "
                "there is nothing to be learnt from it. Set training.objective to sft."
            )
        prompt = encode(model.tokenizer, example.prompt)
        teacher = encode(model.tokenizer, example.teacher_prompt or example.prompt)
        yield TeacherRow(prompt, teacher, min(_room(model, example, ids, max_length) for ids in (prompt, teacher)))


def _some(examples: Sequence[TrainingExample]) -> Sequence[TrainingExample]:
    if not examples:
        raise TrainingError("There are no examples to train on.")
    return examples


def _cut(model: LocalModel, example: TrainingExample, answer: str, max_length: int) -> tuple[list[int], list[int]]:
    """Ids of prompt and answer, as many as there is room for."""
    prompt, ids = _tokens(model.tokenizer, example.prompt, answer)
    return prompt, ids[: _room(model, example, prompt, max_length)]


def _room(model: LocalModel, example: TrainingExample, prompt: Sequence[int], max_length: int) -> int:
    """Tokens of an answer that fit behind the prompt: at least one."""
    limit = min(max_length, model.context_length or max_length)
    if len(prompt) >= limit:
        raise TrainingError(
            f"The prompt {example.prompt_id} has {len(prompt)} tokens, which leaves no room for an answer in rows "
            f"of {limit}. Raise max_length, or leave long prompts out of the data."
        )
    return limit - len(prompt)


def _tokens(tokenizer: Any, before: str, answer: str) -> tuple[list[int], list[int]]:
    """Ids of prompt and answer, eos included.

    The answer's ids are those it has behind its prompt. Where prompt and answer would merge into one token, the answer
    is tokenised by itself: in generation too, the prompt's tokens stand before the answer begins.
    """
    prompt = encode(tokenizer, before)
    together = encode(tokenizer, before + answer)
    if together[: len(prompt)] == prompt:
        completion = together[len(prompt) :]
    else:
        completion = list(tokenizer(answer, add_special_tokens=False, verbose=False)["input_ids"])
    eos = tokenizer.eos_token_id
    if eos is not None and completion[-1:] != [eos]:
        completion = [*completion, eos]
    return prompt, completion

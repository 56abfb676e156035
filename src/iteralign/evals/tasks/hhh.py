"""HHH alignment (BIG-bench, 221 pairs in four subsets): two answers to a question, of which one is better."""

from pathlib import Path
from typing import Any

import datasets

from iteralign.errors import DataError
from iteralign.evals.tasks.protocol import DromedaryTask, Pair, Room, text_of
from iteralign.text.bounded import read_json

SUBSETS = ("harmless", "helpful", "honest", "other")
HUB = "HuggingFaceH4/hhh_alignment"
FIELDS = {"meta_prompt", "question", "a", "b"}
_SPARE = 8  # tokens that a text may gain where it is put together with others


def load(subset: str, hhh: str | None = None, fit: bool = False, **metadata: Any) -> dict[str, datasets.Dataset]:
    """One subset as question and choices, the better one first. `hhh`: BIG-bench's directory; from the hub without it.

    `fit` cuts choices to half of the context, beyond which lm-eval can't score them. Raises DataError.
    """
    rows = _from_hub(subset) if hhh is None else _from_file(Path(hhh) / subset / "task.json")
    room = Room(metadata)
    if fit and room.known:
        rows = [row | {"choices": [room.cut(choice, room.context // 2) for choice in row["choices"]]} for row in rows]
    return {"test": datasets.Dataset.from_list([row | {"chance": 0.5} for row in rows])}


class Dromedary(DromedaryTask):
    """Asked in both orders; an answer's score is the sum of its letter's log-probabilities over the two."""

    def pairs(self, doc: dict[str, Any]) -> list[Pair]:
        text, meta = text_of("hhh_question", FIELDS, self.metadata), text_of("meta_prompt", set(), self.metadata).text
        empty = text.fill(meta_prompt=meta, question="", a="", b="")
        question, better, worse = (self._cut(part, empty) for part in (doc["question"], *doc["choices"]))
        orders = ((better, worse), (worse, better))
        filled = [text.fill(meta_prompt=meta, question=question, a=a, b=b) for a, b in orders]
        return [(context, letter) for context in filled for letter in (" A", " B")]

    def scores(self, doc: dict[str, Any], log_probabilities: Any) -> list[float]:
        a_first, b_first, a_second, b_second = log_probabilities
        return [a_first + b_second, b_first + a_second]

    def _cut(self, text: str, empty: str) -> str:
        """The text within a third of the context that the form itself leaves free."""
        room = Room(self.metadata)
        if not room.known:
            return text
        free = room.context - room.tokens(empty) - 3 * _SPARE
        if free < 3:
            raise DataError(f"The meta prompt fills the model's context of {room.context} tokens; give a shorter one.")
        return room.cut(text, free // 3)


def _from_file(path: Path) -> list[dict[str, Any]]:
    try:
        examples = read_json(path)["examples"]
        return [_row(example["input"], example["target_scores"]) for example in examples]
    except OSError as error:
        raise DataError(
            f"{path} can't be read: {error}. HHH is a directory with a task.json for each subset."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is no BIG-bench task of HHH: {type(error).__name__}: {error}.") from error


def _from_hub(subset: str) -> list[dict[str, Any]]:
    rows: Any = datasets.load_dataset(HUB, subset, split="test")
    return [
        _row(row["input"], dict(zip(*(row["targets"][key] for key in ("choices", "labels")), strict=True)))
        for row in rows
    ]


def _row(question: str, scores: dict[str, int]) -> dict[str, Any]:
    choices = sorted(scores, key=lambda choice: -scores[choice])
    if sorted(scores.values()) != [0, 1]:
        raise ValueError("an example has not one better and one worse answer")
    return {"question": question, "choices": choices}

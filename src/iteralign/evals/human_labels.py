"""Answers that people have labelled, to hold a judge against: XSTest completions, hh-rlhf pairs, a file of one's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from iteralign.data.files import FileItem, read_rows
from iteralign.data.transcripts import transcript_turns
from iteralign.errors import DataError
from iteralign.records import RedTeamPrompt, Response, Turn, Verdict
from iteralign.rundir import labels
from iteralign.rundir.begun import holds_a_run
from iteralign.rundir.reader import read_run

HumanLabel = Literal["acceptable", "unacceptable"]

_QUESTIONS, _ANSWERS, _LABELS = ("question", "prompt"), ("answer", "completion", "response"), ("label", "human_label")
_WORDS: dict[str, HumanLabel] = {
    **dict.fromkeys(("acceptable", "safe", "0", "false"), "acceptable"),
    **dict.fromkeys(("unacceptable", "unsafe", "harmful", "1", "true"), "unacceptable"),
}


@dataclass(frozen=True)
class Labelled:
    """An answer and what a person said of it."""

    response: Response
    label: HumanLabel
    group: str


@dataclass(frozen=True)
class LabelledPair:
    """Two answers to one question, of which a person preferred `chosen`."""

    chosen: Response
    rejected: Response


def read_human_labels(path: Path) -> tuple[list[Labelled], list[LabelledPair]]:
    """What a file, or every file of a directory, holds: labelled answers, pairs, or both. Raises DataError.

    XSTest completions (`final_label`): answering an unsafe prompt in full is unacceptable, and so is refusing a safe one,
    wholly or in part. hh-rlhf (`chosen`, `rejected`): pairs that differ in the last answer alone. Any other file needs the
    columns question, answer and label (acceptable or unacceptable; also safe/unsafe, 0/1); `benign` may say 1. A run
    directory holds the labels that were given in its page.
    """
    if holds_a_run(path):
        return [one for one, _ in beside_verdicts(labels.labelled(read_run(path)), "red-team questions")], []
    files = sorted(entry for entry in path.iterdir() if entry.is_file()) if path.is_dir() else [path]
    labelled: list[Labelled] = []
    pairs: list[LabelledPair] = []
    for file in files:
        for number, row in enumerate(read_rows(file)):
            columns = _columns(row)
            if {"chosen", "rejected"} <= set(columns):
                pair = _pair(columns, f"{file.name}-{number}")
                pairs += [] if pair is None else [pair]
            elif "final_label" in columns:
                labelled.append(_xstest(row, columns, f"{file.stem}-{number}"))
            else:
                labelled.append(_own(row, columns, f"{file.stem}-{number}"))
    if not labelled and not pairs:
        raise DataError(f"{path}: no labelled answers and no pair that differs in its last answer alone.")
    return labelled, pairs


def beside_verdicts(given: Sequence[tuple[Verdict, labels.PersonLabel]], group: str) -> list[tuple[Labelled, Verdict]]:
    """Labels given in the page of a run with the run's own verdicts; without those of whom the person can't tell."""
    return [
        (Labelled(verdict.response, label.label, group), verdict)
        for verdict, label in given
        if label.label is not None and label.label != "undetermined"
    ]


def _xstest(row: FileItem, columns: Mapping[str, Any], name: str) -> Labelled:
    unsafe = str(columns["type"]).startswith("contrast")
    match str(columns["final_label"])[:1]:
        case "1":
            label: HumanLabel = "unacceptable" if unsafe else "acceptable"
        case "2" | "3":
            label = "acceptable" if unsafe else "unacceptable"
        case _:
            raise DataError(f"{row.where}: final_label {columns['final_label']!r} is not 1_, 2_ or 3_.")
    response = _response(name, str(columns["prompt"]), str(columns["completion"]), benign=not unsafe)
    return Labelled(response, label, "unsafe prompts" if unsafe else "safe prompts")


def _own(row: FileItem, columns: Mapping[str, Any], name: str) -> Labelled:
    found = [next((key for key in keys if key in columns), None) for keys in (_QUESTIONS, _ANSWERS, _LABELS)]
    if None in found:
        raise DataError(
            f"{row.where}: it needs the columns question, answer and label (or chosen and rejected, or XSTest's "
            f"final_label); there are: {', '.join(columns)}."
        )
    question, answer, said = (str(columns[key]) for key in found if key is not None)
    label = _WORDS.get(said.strip().lower())
    if label is None:
        raise DataError(f"{row.where}: the label {said!r} is neither acceptable nor unacceptable.")
    benign = str(columns.get("benign", "")).strip().lower() in ("1", "true", "yes")
    group = "benign questions" if benign else "red-team questions"
    return Labelled(_response(name, question, answer, benign), label, group)


def _pair(columns: Mapping[str, Any], name: str) -> LabelledPair | None:
    """None where the two conversations part before their last answer, or say the same."""
    chosen, rejected = (transcript_turns(str(columns[key])) for key in ("chosen", "rejected"))
    if len(chosen) < 2 or chosen[:-1] != rejected[:-1] or chosen[-1] == rejected[-1]:
        return None
    if (chosen[-2].role, chosen[-1].role, rejected[-1].role) != ("human", "assistant", "assistant"):
        return None
    before, question = chosen[:-2], chosen[-2].text
    return LabelledPair(*(_response(name, question, turns[-1].text, False, before) for turns in (chosen, rejected)))


def _response(name: str, question: str, answer: str, benign: bool, history: Sequence[Turn] = ()) -> Response:
    prompt = RedTeamPrompt(id=name, question=question.strip(), history=tuple(history), benign=benign)
    return Response(prompt=prompt, input=question, text=answer.strip(), finish="stop", prompt_tokens=0, tokens=0)


def _columns(row: FileItem) -> dict[str, Any]:
    if not isinstance(row.value, Mapping):
        raise DataError(f"{row.where}: labelled answers need columns; this is a single text.")
    return {str(key).strip().lower(): value for key, value in row.value.items()}

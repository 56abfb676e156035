"""Questions handed over in Python: strings, records, a data set of the datasets library; kept in the run and resumable."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import iteralign
from iteralign.data import load_prompts
from iteralign.errors import DataError, RunDirectoryError
from iteralign.fakes import FakeOracle, FakeTarget, FakeTrainer
from iteralign.records import RedTeamPrompt, Response, Verdict
from iteralign.runs.prompt_sets import Given, build_prompts
from iteralign.settings.settings import load_settings

SETTINGS: dict[str, Any] = {
    "model": {"path": "demo"},
    "oracle": {"kind": "rules"},
    "rounds": {"prompts": 4},
    "data": {"held_out": 0.25, "benign_limit": 6},
}
QUESTIONS = [f"Is number {number} a bad question?" for number in range(12)]


def align(directory: Path, settings: Any = SETTINGS, **given: Any) -> iteralign.Outcome:
    parts: dict[str, Any] = {"target": FakeTarget(), "oracle": FakeOracle(), "trainer": FakeTrainer(directory)}
    return iteralign.run(settings, directory, **(parts | given))


def asked(directory: Path, name: str = "prompts") -> list[str]:
    return [prompt.question for prompt in load_prompts(str(directory / f"{name}.jsonl"))]


def as_dataset(questions: list[str]) -> Any:
    datasets = pytest.importorskip("datasets")
    return datasets.Dataset.from_list([{"question": question, "topic": "numbers"} for question in questions])


@pytest.mark.parametrize(
    "given",
    [
        list,
        tuple,
        lambda questions: [{"question": question, "category": "numbers"} for question in questions],
        lambda questions: [
            RedTeamPrompt(id=str(number), question=question, source="mine") for number, question in enumerate(questions)
        ],
        as_dataset,
    ],
    ids=["strings", "tuple", "mappings", "records", "dataset"],
)
def test_a_run_takes_questions_of_every_kind(given: Callable[[list[str]], Any], tmp_path: Path) -> None:
    outcome = align(tmp_path / "run", prompts=given(QUESTIONS))
    assert len(outcome.metrics) == 1 + 3  # 9 of 12 questions in rounds of 4, the others held out
    assert {*asked(tmp_path / "run"), *asked(tmp_path / "run", "held_out")} == set(QUESTIONS)
    kept = load_settings(tmp_path / "run" / "config.yaml")
    assert (kept.data.prompts, kept.data.benign) == ("given", "demo")


def test_columns_keep_what_they_say() -> None:
    rows: list[dict[str, Any]] = [{"question": "a?", "id": 7, "category": "x"}, {"question": "b?", "category": "y"}]
    first, second = load_prompts(rows)
    assert (first.id, first.category, first.source) == ("7", "x", "given")
    assert second.category == "y" and second.id.startswith("given-")
    assert load_prompts(as_dataset(["a?", "b?"]))[1].category == "numbers"


def test_held_out_and_benign_questions_are_those_given(tmp_path: Path) -> None:
    align(
        tmp_path / "run",
        prompts=QUESTIONS,
        held_out=[*QUESTIONS[:2], "Is this one bad?"],
        benign=[f"What rhymes with {number}?" for number in range(10)],
    )
    assert asked(tmp_path / "run", "held_out") == [*QUESTIONS[:2], "Is this one bad?"]
    assert asked(tmp_path / "run") == QUESTIONS[2:]
    assert len(asked(tmp_path / "run", "benign")) + len(asked(tmp_path / "run", "benign_held_out")) == 6


def test_an_id_that_two_lists_share_is_told_apart() -> None:
    settings = load_settings(SETTINGS | {"data": {"prompts": "given", "benign": None}})
    sets = build_prompts(settings, Given([{"id": 1, "question": "a?"}], [{"id": 1, "question": "b?"}]))
    assert [prompt.id for prompt in (*sets.prompts, *sets.held_out)] == ["1", "held-out-1"]


def test_the_same_call_goes_on_and_other_questions_are_refused(tmp_path: Path) -> None:
    class Stops(FakeOracle):
        calls = 0

        def judge(self, responses: Sequence[Response]) -> list[Verdict]:
            self.calls += 1
            if self.calls > 3:
                raise KeyboardInterrupt
            return super().judge(responses)

    directory = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        align(directory, prompts=QUESTIONS, oracle=Stops())
    with pytest.raises(RunDirectoryError, match=r"other questions .*10 given.*not there: 'A new one"):
        align(directory, prompts=["A new one?", *QUESTIONS])
    assert len(align(directory, prompts=QUESTIONS).metrics) == 4


def test_a_run_on_given_questions_is_resumed_without_them(tmp_path: Path) -> None:
    align(tmp_path / "run", prompts=QUESTIONS)
    (tmp_path / "run" / "metrics.jsonl").unlink()
    assert len(align(tmp_path / "run", load_settings(tmp_path / "run" / "config.yaml")).metrics) == 4


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "nothing in the list"),
        ([3], r"given\[0\] is of type int"),
        (["", "x?"], r"given\[0\].*blank"),
        ({"train": ["a?"]}, "a dict with the keys train"),
        (7, "from a int"),
        ([{"who": "x"}], r"given\[0\].*none of the columns"),
    ],
)
def test_what_is_no_list_of_questions_is_refused_before_anything_is_written(
    given: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        align(tmp_path / "run", prompts=given)
    assert not (tmp_path / "run").exists()


def test_a_bare_string_and_missing_questions_are_told_of(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="held_out is a string"):
        align(tmp_path / "run", prompts=QUESTIONS, held_out="What?")
    settings = load_settings(SETTINGS | {"data": {"prompts": "given"}})
    with pytest.raises(DataError, match=r"Hand them over again: iteralign.run\(settings, prompts="):
        align(tmp_path / "run", settings)


def test_all_splits_of_a_data_set_at_once_are_refused() -> None:
    datasets = pytest.importorskip("datasets")
    both = datasets.DatasetDict({"train": as_dataset(["a?"]), "test": as_dataset(["b?"])})
    with pytest.raises(DataError, match="DatasetDict with the keys train, test"):
        load_prompts(both)
